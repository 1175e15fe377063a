import numpy as np
import pytest
import torch

from opencodi.errors import ArgumentError
from opencodi.media import Audio
from opencodi.prompts import AudioPromptEncoder


def tone(frequency: float, seconds: float = 0.256, rate: int = 16000, peak: float = 0.5) -> Audio:
    time = np.arange(round(seconds * rate)) / rate
    return Audio((peak * np.sin(2 * np.pi * frequency * time)).astype(np.float32), rate)


def test_sounds_become_unit_tokens_and_pitch_is_heard(make_audio):
    tokens = make_audio().encode([tone(300), tone(3000)]).tokens
    assert tokens.shape == (2, 1, 16)
    torch.testing.assert_close(tokens.norm(dim=-1), torch.ones(2, 1))
    assert (tokens[0] - tokens[1]).abs().max() > 1e-3


def test_loudness_is_not_heard(make_audio):
    encoder = make_audio()
    torch.testing.assert_close(
        encoder.encode([tone(500, peak=0.01)]).tokens, encoder.encode([tone(500)]).tokens, atol=1e-3, rtol=0
    )


def test_a_sound_at_another_sample_rate_is_heard_alike(make_audio):
    encoder = make_audio()
    one, other = encoder.encode([tone(440), tone(440, rate=44100)]).tokens[:, 0]
    assert one @ other > 0.99


def test_the_loudest_stretch_of_a_long_sound_is_heard(make_audio):
    encoder, sound = make_audio(), tone(440)
    samples = np.concatenate([np.zeros(9000, np.float32), sound.samples, np.zeros(9000, np.float32)])
    heard = encoder.preprocess([Audio(samples, 16000)])["waveform"][0].numpy()
    assert np.square(heard).sum() == pytest.approx(np.square(sound.samples).sum(), rel=1e-3)


def test_the_order_of_sounds_is_heard(make_audio):
    low, high = tone(300, 0.128).samples, tone(3000, 0.128).samples
    one, other = (
        make_audio()
        .encode([Audio(np.concatenate([low, high]), 16000), Audio(np.concatenate([high, low]), 16000)])
        .tokens
    )
    assert (one - other).abs().max() > 1e-4


def test_a_mel_made_before_gives_the_same_condition(make_audio):
    encoder = make_audio()
    waveform = encoder.preprocess([tone(700)])["waveform"]
    torch.testing.assert_close(encoder(mel=encoder.mel(waveform)).tokens, encoder(waveform=waveform).tokens)
    with pytest.raises(ArgumentError, match="waveform or mel"):
        encoder()


def test_a_saved_encoder_returns_and_runs_in_half_precision(make_audio, tmp_path):
    encoder = make_audio()
    encoder.save_pretrained(tmp_path)
    again = AudioPromptEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(again.encode([tone(440)]).tokens, encoder.encode([tone(440)]).tokens)
    half = AudioPromptEncoder.from_pretrained(tmp_path, torch_dtype=torch.bfloat16).encode([tone(440)]).tokens
    torch.testing.assert_close(half.float(), encoder.encode([tone(440)]).tokens, atol=0.05, rtol=0)
