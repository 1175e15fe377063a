"""Spoken names, recognised by pocketsphinx among a closed list."""

from pathlib import Path

import numpy as np
import pytest

from opencodi.data.shards import load_audio, load_concepts
from opencodi.errors import ConfigurationError
from opencodi.evaluation.speech import SpokenWordJudge, spoken_words
from opencodi.media import Audio

DATA = Path(__file__).parents[1] / "data"


def test_a_name_is_taken_as_it_is_said():
    assert spoken_words("man: beard") == ("man", "beard")
    assert spoken_words("woman’s hat") == ("woman's", "hat")
    assert spoken_words("Piñata & T-Rex") == ("pinata", "and", "t", "rex")


@pytest.fixture(scope="module")
def judge() -> SpokenWordJudge:
    pytest.importorskip("pocketsphinx")
    return SpokenWordJudge([concept["name"] for concept in load_concepts(DATA).values()])


def test_spoken_names_are_recognised_at_any_loudness(judge):
    speech = load_audio(DATA, ["speech"])
    chosen = [i for i, record in enumerate(speech.records) if record["voice"] == "joe"]
    heard = [judge.recognise(Audio(speech.media[i].astype(np.float32) / 65536, 16000)) for i in chosen]
    right = sum(name == speech.records[i]["name"] for i, name in zip(chosen, heard))
    assert right >= 0.8 * len(chosen), heard
    assert set(heard) <= {*judge.names, None}


def test_silence_is_no_name(judge):
    assert judge.recognise(Audio(np.zeros(16000, np.float32), 16000)) is None


def test_names_with_words_nobody_wrote_down_are_counted():
    pytest.importorskip("pocketsphinx")
    judge = SpokenWordJudge(["rooster", "qwrtz bird", "Rooster!"])
    assert judge.names == ["rooster"] and judge.unknown == ["qwrtz bird"]
    with pytest.raises(ConfigurationError, match="other names"):
        SpokenWordJudge(["qwrtz"])
