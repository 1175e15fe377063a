"""AutoKL, the AudioLDM autoencoder and HiFi-GAN give what the reference gives (stored outputs, README of the goldens)."""

import pytest
import torch
from einops import rearrange
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from opencodi.convert.autoencoders import convert_audio_autoencoder, convert_image_autoencoder, convert_vocoder
from opencodi.latents import AudioAutoencoder, AudioCodec, ImageAutoencoder, prepare_waveform
from tests.published import AUDIOLDM, AUTOKL, VOCODER, assert_close, cases, load, weights

PICTURES, SOUNDS = cases("autokl_small"), cases("audioldm_small")


@pytest.fixture(scope="module")
def autokl() -> ImageAutoencoder:
    net = ImageAutoencoder(**AUTOKL, scaling_factor=0.18215)
    return load(net, convert_image_autoencoder(weights("autokl_small"), net))


@pytest.fixture(scope="module")
def audioldm() -> AudioAutoencoder:
    net = AudioAutoencoder(**AUDIOLDM, scaling_factor=0.9228)
    return load(net, convert_audio_autoencoder(weights("audioldm_small"), net))


@pytest.fixture(scope="module")
def vocoder() -> SpeechT5HifiGan:
    net = SpeechT5HifiGan(SpeechT5HifiGanConfig(**VOCODER))
    return load(net, convert_vocoder(weights("audioldm_small", "vocoder."), net))


def test_pictures_become_the_references_latents_and_back(autokl):
    posterior = autokl.posterior(PICTURES["in.image"])
    assert_close(posterior.mean, PICTURES["enc.mean"])
    assert_close(posterior.logvar, PICTURES["enc.logvar"])
    assert_close(autokl.reconstruct(PICTURES["in.z"]), PICTURES["dec.out"])
    assert_close(autokl.reconstruct(PICTURES["enc.mean"]), PICTURES["dec.out_from_mean"])
    assert_close(autokl.encode(PICTURES["in.image"]), PICTURES["enc.mean"] * 0.18215)
    assert_close(autokl.decode(PICTURES["enc.mean"] * 0.18215), PICTURES["dec.out_from_mean"].clamp(-1, 1))


def test_a_clip_is_its_frames_as_in_the_reference(autokl):
    mean = autokl.posterior(rearrange(PICTURES["in.video"], "b c f h w -> (b f) c h w")).mean
    assert_close(rearrange(mean, "(b f) c h w -> b c f h w", f=3), PICTURES["enc.video_mean"])
    out = autokl.reconstruct(rearrange(PICTURES["enc.video_mean"], "b c f h w -> (b f) c h w"))
    assert_close(rearrange(out, "(b f) c h w -> b c f h w", f=3), PICTURES["dec.video_out"])


def test_sounds_become_the_references_latents_and_mel_again(audioldm):
    posterior = audioldm.posterior(audioldm.mel(prepare_waveform(SOUNDS["in.wav"], 0.5, 128 * 160)))
    assert_close(posterior.mean, SOUNDS["enc.mean"])
    assert_close(posterior.logvar, SOUNDS["enc.logvar"])
    assert_close(audioldm.reconstruct(SOUNDS["enc.mean"]), SOUNDS["dec.mel"])
    assert_close(audioldm.reconstruct(SOUNDS["in.z"]), SOUNDS["dec.mel_from_z"])


def test_mel_filters_are_the_references(audioldm):
    assert_close(audioldm.mel_spectrogram.filters().T, SOUNDS["mel.basis"])


def test_mel_becomes_the_references_waveform(vocoder):
    assert_close(vocoder(SOUNDS["in.voc_mel"].transpose(1, 2)), SOUNDS["voc.out"].squeeze(1))


def test_latents_become_the_references_sounds_without_the_vocoders_tail(audioldm, vocoder):
    sounds = AudioCodec(audioldm, vocoder).decode(SOUNDS["in.z"] * 0.9228)
    for sound, expected in zip(sounds, SOUNDS["voc.chain"]):
        assert len(sound.samples) == 32 * 160 and sound.sample_rate == 16000
        assert_close(torch.from_numpy(sound.samples), expected[0, : 32 * 160])
