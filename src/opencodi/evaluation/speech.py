"""Which name is spoken: pocketsphinx with a closed vocabulary. It brings its own acoustic model, trained elsewhere."""

import re
import unicodedata
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from ..errors import ConfigurationError
from ..media import Audio, resample

SAMPLE_RATE = 16_000
MARGIN = 1600
"""Samples of silence before and after what is heard: the recogniser expects some."""


def speech_is_installed() -> bool:
    """Whether spoken names can be judged here."""
    return find_spec("pocketsphinx") is not None


def spoken_words(name: str) -> tuple[str, ...]:
    """The words of a name as they are said: lower case, no accents, no punctuation. ``man: beard`` → man, beard."""
    plain = unicodedata.normalize("NFKD", name.lower().replace("’", "'").replace("&", " and "))
    return tuple(re.findall(r"[a-z0-9']+", plain.encode("ascii", "ignore").decode()))


class SpokenWordJudge:
    """Recognises one of a closed list of names.

    Args:
        names: what may be said. A name with a word that is not in the dictionary cannot be recognised; see ``unknown``.

    Attributes:
        names: the names that can be recognised; of several that are said alike, the first.
        unknown: the names that cannot.

    Raises:
        ConfigurationError: if pocketsphinx is not installed, or no name is known.
    """

    def __init__(self, names: Sequence[str]):
        if not speech_is_installed():
            raise ConfigurationError("spoken names need pocketsphinx: pip install 'opencodi[evaluate]'")
        from pocketsphinx import Decoder

        self.decoder = Decoder(lm=None, loglevel="FATAL", samprate=float(SAMPLE_RATE))
        self._said: dict[tuple[str, ...], str] = {}
        self.unknown: list[str] = []
        for name in names:
            words = spoken_words(name)
            if words and all(self.decoder.lookup_word(word) for word in words):
                self._said.setdefault(words, name)
            else:
                self.unknown.append(name)
        if not self._said:
            raise ConfigurationError("SpokenWordJudge: no name has only words of the dictionary; give other names")
        self.names = list(self._said.values())
        choices = " | ".join(" ".join(words) for words in self._said)
        self.decoder.add_jsgf_string("names", f"#JSGF V1.0; grammar names; public <name> = {choices};")
        self.decoder.activate_search("names")

    def recognise(self, audio: Audio) -> str | None:
        """The name that is said, or None if it sounds like none of them. Loudness does not matter."""
        samples = resample(audio, SAMPLE_RATE).samples
        peak = float(np.abs(samples).max())
        if peak < 1e-4:
            return None
        padded = np.pad(samples * (0.9 / peak), MARGIN)
        self.decoder.start_utt()
        self.decoder.process_raw((padded * 32767).astype(np.int16).tobytes(), no_search=False, full_utt=True)
        self.decoder.end_utt()
        heard = self.decoder.hyp()
        return self._said.get(tuple(heard.hypstr.split())) if heard else None
