from pathlib import Path

import torch

from opencodi.latents.vocoder import Vocoder

from .speech import spoken

TINY = {"n_fft": 256, "win_length": 256, "hop_length": 64, "num_mel_bins": 32, "dim": 16, "intermediate_dim": 32}


def tiny(**changes) -> Vocoder:
    torch.manual_seed(0)
    return Vocoder(**{**TINY, "num_blocks": 2, **changes}).eval()


@torch.no_grad()
def test_a_waveform_has_one_hop_per_frame_with_or_without_a_batch():
    vocoder = tiny()
    mel = torch.randn(2, 10, 32, generator=torch.Generator().manual_seed(0)) - 5
    waveform = vocoder(mel)
    assert waveform.shape == (2, 640) and waveform.dtype == torch.float32
    torch.testing.assert_close(vocoder(mel[0]), waveform[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_silence_stays_silence_and_nothing_is_ever_infinite():
    vocoder = tiny()
    silence = torch.full((1, 8, 32), 1e-5).log()
    assert vocoder(silence).abs().max() < 1e-3
    for parameter in vocoder.parameters():
        parameter.zero_()
    for extreme in (silence, torch.full_like(silence, -1e9), torch.full_like(silence, 100.0)):
        assert vocoder(extreme).isfinite().all()


@torch.no_grad()
def test_an_untrained_vocoder_already_has_the_loudness_and_colour_of_speech():
    vocoder = Vocoder(num_blocks=1, dim=16, intermediate_dim=16).eval()
    mel = vocoder.mel_spectrogram(spoken(3))
    assert (vocoder.mel_spectrogram(vocoder(mel)) - mel).abs().mean() < 0.25


def test_training_brings_the_spectrogram_nearer():
    vocoder = tiny().train()
    mel = vocoder.mel_spectrogram(spoken(1, 8192))
    optimizer = torch.optim.AdamW(vocoder.parameters(), 5e-3)
    errors = []
    for _ in range(40):
        error = (vocoder.mel_spectrogram(vocoder(mel)) - mel).abs().mean()
        error.backward()
        optimizer.step()
        optimizer.zero_grad()
        errors.append(error.item())
    assert errors[-1] < 0.7 * errors[0]


@torch.no_grad()
def test_it_runs_in_bfloat16_and_survives_saving(tmp_path: Path):
    vocoder = tiny()
    mel = vocoder.mel_spectrogram(spoken(1, 2048))
    vocoder.save_pretrained(tmp_path)
    loaded = Vocoder.from_pretrained(tmp_path, torch_dtype=torch.float32)
    torch.testing.assert_close(loaded(mel), vocoder(mel), atol=1e-6, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert vocoder(mel).dtype == torch.float32
    half = vocoder.to(torch.bfloat16)(mel)
    assert half.dtype == torch.float32 and half.isfinite().all()
