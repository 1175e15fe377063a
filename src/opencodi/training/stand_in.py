"""Random data in the shapes of the real, for planning a run without reading any."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..data.chunks import Joined, packed_texts
from ..data.evidence import EvidenceItems, EvidenceSets
from ..data.joint import JointItems
from ..data.paired import THING, PairedSet, Prompts
from ..data.prompted import PromptedLatents
from ..data.shards import AUDIO_SAMPLES
from ..denoisers import CaptionBank
from ..latents.audio import AudioAutoencoder, AudioCodec
from ..latents.image import ImageAutoencoder
from ..latents.text import TextAutoencoder
from ..modality import MODALITIES, Modality, parse_modalities
from ..prompts import TextPromptEncoder
from ..prompts.vision_network import class_names
from ..sampling.plans import CAPTION_BANK
from .components import ModelFolder

ITEMS, FRAMES, WORDS = 128, 16, 10
"""How many items there are; frames of a clip; words of a caption."""

TOKENS, NAMES, CAPTION_BYTES = 17, 1600, 192
"""Tokens of an item as a prompt; names of things; bytes of a caption."""


def stand_in(task: str) -> Callable[[Any, ModelFolder, Any], Any] | None:
    """(checked data values, earlier components, checked settings) → data of the kind that ``task`` is given.

    None: nothing is known of what this task is given.
    """
    return _MAKERS.get(task)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _pictures(side: int, *more: int) -> np.ndarray:
    return _rng().integers(0, 256, (ITEMS, *more, side, side, 4), dtype=np.uint8)


def _sounds() -> np.ndarray:
    return _rng().integers(-8000, 8000, (ITEMS, AUDIO_SAMPLES), dtype=np.int16)


def _captions(vocabulary: int) -> list[str]:
    """Sentences of so many words that a tokenizer of this size has something to learn."""
    rng = _rng()
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, 5)) for _ in range(vocabulary // 4)]
    return [" ".join(rng.choice(words, WORDS)) for _ in range(vocabulary)]


def _side(parts: ModelFolder, name: str = "image_autoencoder", default: int = 64) -> int:
    return parts.load(ImageAutoencoder, name).config.sample_size if parts.has(name) else default


def _image_autoencoder(wanted: Any, parts: ModelFolder, settings: Any) -> Any:
    from .tasks.autoencoders import Pictures

    return Pictures(_pictures(64), _pictures(64))


class _Drawn:
    """What ``TransparentPictures`` is, of random pictures."""

    def __init__(self, side: int):
        self.pixels = _pictures(side)
        self.held = {"single": self.pixels}

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One picture [H, W, 4]."""
        return self.pixels[rng.integers(len(self.pixels))]


def _transparent(wanted: Any, parts: ModelFolder, settings: Any) -> _Drawn:
    return _Drawn(getattr(settings, "sample_size", None) or _side(parts, default=128))


def _recordings(wanted: Any, parts: ModelFolder, settings: Any) -> Any:
    from .tasks.autoencoders import Recordings

    return Recordings(_sounds(), _sounds(), np.arange(ITEMS) % 2 == 0)


def _sentences(wanted: Any, parts: ModelFolder, settings: Any) -> Any:
    from .tasks.text_autoencoder import Sentences

    captions = _captions(settings.vocab_size)
    return Sentences(captions[:ITEMS], captions)


def _captioned(wanted: Any, parts: ModelFolder, settings: Any) -> Any:
    from .tasks.bridging import Captioned, CaptionedItems

    frames = settings.network.get("num_frames", FRAMES)
    side = settings.network.get("sample_size", 64)
    media = {"image": lambda: _pictures(side), "audio": _sounds, "video": lambda: _pictures(64, frames)}
    captions = [[caption] for caption in _captions(4 * ITEMS)[:ITEMS]]
    shares = tuple(getattr(wanted, "shards", {}).values()) or (1.0,)
    items = CaptionedItems(
        media[settings.modality](),
        captions,
        torch.arange(ITEMS),
        np.zeros(ITEMS, bool),
        np.arange(ITEMS) % len(shares),
    )
    classes = class_names() if settings.class_weight else ()
    return Captioned(items, items, shares, [caption[0] for caption in captions], classes=classes)


def _latent_shape(modality: Modality, parts: ModelFolder, settings: Any) -> tuple[int, ...]:
    if modality == Modality.TEXT:
        return (parts.load(TextAutoencoder, "text_autoencoder").config.latent_dim,)
    if modality == Modality.AUDIO:
        return AudioCodec(parts.load(AudioAutoencoder, "audio_autoencoder")).latent_shape(1)[1:]
    autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
    side = autoencoder.config.sample_size // autoencoder.downsampling
    frames = () if modality == Modality.IMAGE else (autoencoder.config.sample_frames,)
    return (autoencoder.config.latent_channels, *frames, side, side)


def _paired(modality: Modality, parts: ModelFolder, settings: Any) -> PairedSet:
    generator = torch.Generator().manual_seed(0)
    width = parts.load(TextPromptEncoder, MODALITIES[Modality.TEXT].prompt_encoder).config.projection_dim
    tokens = F.normalize(torch.randn(ITEMS, width, generator=generator), dim=-1)
    rows = [np.array([i]) for i in range(ITEMS)]
    codes = [f"thing {i}" for i in range(ITEMS)]
    return PairedSet(
        latents=torch.randn(ITEMS, *_latent_shape(modality, parts, settings), generator=generator).half(),
        names=codes,
        concepts=codes,
        prompts={kind: Prompts(tokens, rows) for kind in {"text", THING, *settings.prompt_shares}},
        name_share=0.5,
    )


class _InMemory:
    """What ``Chunks`` is, of tensors."""

    def __init__(self, **tensors: torch.Tensor):
        self._tensors = tensors

    def __len__(self) -> int:
        return ITEMS

    def rows(self, name: str, places: np.ndarray) -> torch.Tensor:
        """Rows of a tensor."""
        return self._tensors[name][torch.as_tensor(places)]


def _prompted(modality: Modality, parts: ModelFolder, settings: Any) -> PromptedLatents:
    """Latents with captions, which are encoded as they are drawn, and themselves as prompts of several tokens."""
    generator = torch.Generator().manual_seed(0)
    encoder = parts.load(TextPromptEncoder, MODALITIES[Modality.TEXT].prompt_encoder).to("cpu")
    rows = _InMemory(
        latents=torch.randn(ITEMS, *_latent_shape(modality, parts, settings), generator=generator).half(),
        captions=packed_texts([[caption] for caption in _captions(4 * ITEMS)[:ITEMS]], CAPTION_BYTES),
        seen=torch.randn(ITEMS, TOKENS, encoder.config.projection_dim, generator=generator).half(),
    )
    kind = "own" if modality == Modality.TEXT else str(modality)
    return PromptedLatents(Joined([rows]), encoder, [1.0], kind, name_share=0.5, detail_share=0.85)


def _evidence(wanted: Any, parts: ModelFolder, settings: Any) -> EvidenceSets:
    items = _prompted(Modality(settings.modality), parts, settings)
    names = [f"thing {i}" for i in range(NAMES)]
    known = _InMemory(
        things=packed_texts([[names[i]] for i in range(ITEMS)], CAPTION_BYTES),
        beats=torch.zeros(ITEMS, FRAMES, dtype=torch.int8),
    )
    both = EvidenceItems(items, Joined([known]), names, settings.network.get("num_tokens", 4) - 1)
    is_new = not parts.has(CAPTION_BANK)
    if is_new:
        width, texts = items.text_encoder.config.projection_dim, wanted.bank_captions + wanted.bank_moving
        bank = CaptionBank.of(torch.randn(NAMES + texts, width), NAMES)
    else:
        bank = parts.load(CaptionBank, CAPTION_BANK)
    return EvidenceSets(both, both, bank, is_new)


def _joint(wanted: Any, parts: ModelFolder, settings: Any) -> tuple[JointItems, JointItems]:
    pair = [Modality(name) for name in parse_modalities(settings.pair, "pair")]
    items = JointItems({modality: _prompted(modality, parts, settings) for modality in pair})
    return items, items


def _set(modality: Modality) -> Callable[[Any, ModelFolder, Any], tuple[Any, Any]]:
    def make(wanted: Any, parts: ModelFolder, settings: Any) -> tuple[Any, Any]:
        made = (_prompted if getattr(wanted, "scenes", 0) else _paired)(modality, parts, settings)
        return made, made

    return make


def _pairs(wanted: Any, parts: ModelFolder, settings: Any) -> Any:
    from .tasks.alignment import Pairs

    sets = {modality: _paired(modality, parts, settings) for modality in parse_modalities(settings.pair, "pair")}
    return Pairs(sets, sets, (sets, sets) if settings.synchronous_share else ())


_MAKERS: dict[str, Callable[[Any, ModelFolder, Any], Any]] = {
    "image_autoencoder": _image_autoencoder,
    "transparent_image_autoencoder": _transparent,
    "transparent_image_decoder": _transparent,
    "audio_autoencoder": _recordings,
    "audio_vocoder": _recordings,
    "text_autoencoder": _sentences,
    "bridging": _captioned,
    **{f"{modality}_diffuser": _set(modality) for modality in Modality},
    "image_lora": _set(Modality.IMAGE),
    "audio_lora": _set(Modality.AUDIO),
    "evidence": _evidence,
    "distillation": _joint,
    "alignment": _pairs,
}
