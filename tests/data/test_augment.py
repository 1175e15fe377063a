"""What a network sees of a stored item."""

from pathlib import Path

import numpy as np
import pytest
import torch

from opencodi.data.augment import audio_batch, over_white, played, random_affine
from opencodi.data.shards import load_audio

DATA = Path(__file__).parent


def test_transparent_is_white_and_opaque_keeps_its_colour():
    rgba = np.zeros((1, 2, 1, 4), np.uint8)
    rgba[0, 1, 0] = (255, 0, 0, 255)
    pixels = over_white(rgba)
    assert pixels.shape == (1, 3, 2, 1) and pixels.is_contiguous()
    assert pixels[0, :, 0, 0].tolist() == [1, 1, 1]
    assert pixels[0, :, 1, 0].tolist() == [1, -1, -1]


def test_moved_pictures_have_white_borders_and_the_same_range():
    dark = -torch.ones(8, 3, 16, 16)
    moved = random_affine(dark, np.random.default_rng(0), scale=0.3, shift=0.3)
    assert moved.max() == 1 and moved.min() >= -1.001
    again = random_affine(dark, np.random.default_rng(0), scale=0.3, shift=0.3)
    assert torch.equal(moved, again)


def test_waveforms_have_one_loudness_and_vary_only_with_a_generator():
    media = load_audio(DATA).media[:4]
    plain = audio_batch(media)
    torch.testing.assert_close(plain.abs().amax(1), torch.full((4,), 0.9))
    assert torch.equal(plain, audio_batch(media))
    varied = audio_batch(media, np.random.default_rng(0))
    assert varied.shape == plain.shape and not torch.allclose(varied, plain)


def test_a_sound_played_faster_is_shorter_and_higher_and_silence_follows():
    time = torch.arange(16_000) / 16_000
    sound = torch.sin(2 * torch.pi * 440 * time)[None]
    fast = played(sound, torch.tensor([[2.0]]), torch.tensor([[1000]]))
    assert fast.shape == sound.shape
    assert not fast[0, :1000].any() and not fast[0, 9001:].any()
    spectrum = torch.fft.rfft(fast[0, 1000:9000]).abs()
    assert spectrum.argmax() * 2 == pytest.approx(880, abs=4)
    torch.testing.assert_close(played(sound, torch.ones(1, 1), torch.zeros(1, 1))[0, :-1], sound[0, :-1])
