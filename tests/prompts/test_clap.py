"""CLAP gives what the reference gives (stored outputs of the reference, README of the goldens: 1e-4)."""

import numpy as np
import pytest
import torch

from opencodi.convert.clap import convert_clap
from opencodi.media import Audio
from opencodi.prompts import ClapAudioPromptEncoder
from opencodi.prompts.clap import upsample
from tests.published import CLAP, cases, load, weights

CASES = cases("clap_small")


@pytest.fixture(scope="module")
def encoder() -> ClapAudioPromptEncoder:
    net = ClapAudioPromptEncoder(**CLAP)
    return load(net, convert_clap(weights("clap_small"), net))


def sounds(name: str) -> list[Audio]:
    return [Audio(samples.numpy().squeeze(0), 16000) for samples in CASES[name]]


@pytest.mark.parametrize(("sound", "context"), [("in.wav16k", "out.context"), ("in.wav16k_3p1s", "out.context_3p1s")])
def test_sounds_are_embedded_as_by_the_reference(encoder, sound, context):
    torch.testing.assert_close(encoder.encode(sounds(sound)).tokens, CASES[context], atol=1e-4, rtol=0)


def test_no_sound_is_the_references_silence(encoder):
    silence = CASES["silence.context"].expand(2, -1, -1)
    torch.testing.assert_close(encoder.unconditional(2).tokens, silence, atol=1e-4, rtol=0)


def test_the_log_mel_is_the_references(encoder):
    features = encoder.preprocess(sounds("in.wav16k"))["input_features"]
    difference = (features - CASES["logmel_of_repeatpadded"]).abs()
    # Above 8 kHz there is only what the upsampling's rounding leaves, 80 dB down.
    assert difference[CASES["logmel_of_repeatpadded"] > -60].max() < 1e-3
    assert difference.max() < 0.05


def test_upsampling_is_the_references():
    for sound, expected in zip(CASES["in.wav16k"], CASES["resampled48k_first_4800"]):
        torch.testing.assert_close(upsample(sound[0])[:4800], expected[0], atol=1e-5, rtol=0)


def test_the_middle_of_a_long_sound_is_heard(encoder):
    samples = np.zeros(16000 * 30, np.float32)
    samples[16000 * 10 : 16000 * 20] = CASES["in.wav16k"][0, 0].numpy().repeat(5)
    features = encoder.preprocess([Audio(samples, 16000), Audio(samples[16000 * 10 : 16000 * 20], 16000)])
    long, middle = features["input_features"]
    # Upsampling sees a few samples beyond the cut.
    torch.testing.assert_close(long[:, 2:-2], middle[:, 2:-2], atol=1e-3, rtol=0)
