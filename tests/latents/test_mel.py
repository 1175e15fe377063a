from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from opencodi.latents.mel import MelSpectrogram, prepare_waveform

from .speech import spoken

GOLDENS = Path(__file__).parents[1] / "goldens" / "audioldm_small"
REFERENCE = MelSpectrogram(hop_length=160)


@pytest.mark.parametrize(("case", "frames"), [("mel.fbank", 102), ("mel.fbank_208", 208)])
def test_log_mel_equals_the_reference_front_end(case: str, frames: int):
    cases = load_file(GOLDENS / "cases.safetensors")
    waveform = prepare_waveform(cases["in.wav"], 0.5, frames * 160)
    torch.testing.assert_close(REFERENCE(waveform), cases[case].squeeze(1), atol=1e-4, rtol=0)


def test_frames_are_whole_hops_and_silence_is_the_floor():
    mel = MelSpectrogram()(torch.zeros(2, 32768))
    assert mel.shape == (2, 128, 64)
    torch.testing.assert_close(mel, torch.full_like(mel, 1e-5).log())


def test_log_mel_is_computed_in_float32_under_autocast():
    waveform = torch.randn(1, 8192, generator=torch.Generator().manual_seed(0))
    expected = MelSpectrogram()(waveform)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(MelSpectrogram()(waveform), expected, atol=0, rtol=0)


def test_a_quiet_and_a_loud_recording_become_the_same_waveform():
    recording = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    quiet, loud = prepare_waveform(0.01 * recording, 0.9), prepare_waveform(0.8 * recording + 0.1, 0.9)
    torch.testing.assert_close(quiet, loud, atol=1e-5, rtol=0)
    assert quiet.abs().max() == pytest.approx(0.9)


def test_silence_is_not_amplified_and_length_is_cut_or_padded():
    assert prepare_waveform(torch.full((10,), 1e-6), 0.9).abs().max() < 1e-6
    recording = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    longer = prepare_waveform(recording, 0.9, 1500)
    assert longer.shape == (1500,) and longer[1000:].abs().max() == 0
    torch.testing.assert_close(prepare_waveform(recording, 0.9, 400), longer[:400])


def test_griffin_lim_finds_a_waveform_of_that_spectrogram_and_repeats_with_a_seed():
    mel_spectrogram = MelSpectrogram()
    mel = mel_spectrogram(spoken(1, 16384))
    sounds = [mel_spectrogram.griffin_lim(mel, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert sounds[0].shape == (1, 16384)
    assert torch.equal(sounds[0], sounds[1]) and not torch.equal(sounds[0], sounds[2])
    for sound in (sounds[0], mel_spectrogram.griffin_lim(mel)):
        assert (mel_spectrogram(sound) - mel).abs().mean() < 0.15
