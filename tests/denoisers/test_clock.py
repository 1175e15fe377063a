"""Environment tokens along time: what happens when in one modality is seen at its time in another."""

import math
from functools import cache

import pytest
import torch

from opencodi.denoisers import (
    ComposedDenoiser,
    Context,
    environment_seconds,
    environment_tokens,
    exchanged,
    joint_forward,
)
from opencodi.denoisers.clock import TimeQuery, centres, position_seconds, time_sinusoids
from opencodi.errors import ConfigurationError
from opencodi.modality import Modality
from opencodi.training.composed import changed
from tests.denoisers.tiny_nets import (
    alignment_for,
    audio_net,
    image_net,
    noise,
    prompt,
    randomise,
    temporal_for,
    text_net,
)

T = torch.tensor([100.0, 700.0])
IN_TIME = {
    Modality.VIDEO: {"environment_tokens": 4},
    Modality.AUDIO: {"environment_tokens": 4, "seconds_per_row": 0.128},
}


@cache
def image():
    return image_net()


def composed(net, temporal=None, **alignment):
    sizes = {} if temporal is None else {"temporal": temporal.config}
    return ComposedDenoiser(net, temporal, alignment_for(net, **sizes, **alignment))


def video(**alignment):
    return composed(image(), temporal_for(image(), max_frames=16, seconds_per_frame=0.125), **alignment)


@cache
def nets():
    seen = randomise(video(**IN_TIME[Modality.VIDEO]), 1)
    audio = randomise(composed(audio_net(), **IN_TIME[Modality.AUDIO]), 3)
    text = randomise(composed(text_net()), 2)
    return {Modality.TEXT: text, Modality.IMAGE: seen, Modality.VIDEO: seen, Modality.AUDIO: audio}


def clip(frames=8, seed=0):
    return torch.randn(2, 3, frames, 8, 8, generator=torch.Generator().manual_seed(seed))


def spectrogram(rows=16, seed=0):
    return torch.randn(2, 2, rows, 4, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_tokens_have_unit_length_and_lie_in_the_middle_of_their_time():
    latents = {Modality.VIDEO: clip(), Modality.AUDIO: spectrogram()}
    tokens = environment_tokens(nets(), latents, dict.fromkeys(latents, T))
    seconds = environment_seconds(nets(), latents)
    for modality in latents:
        assert tokens[modality].shape == (2, 4, 10)
        torch.testing.assert_close(tokens[modality].norm(dim=-1), torch.ones(2, 4))
    torch.testing.assert_close(seconds[Modality.VIDEO], torch.tensor([0.125, 0.375, 0.625, 0.875]))
    torch.testing.assert_close(seconds[Modality.AUDIO], torch.tensor([1, 3, 5, 7]) * 0.256)


@torch.no_grad()
def test_a_token_sees_most_of_what_happens_at_its_time():
    before, after = spectrogram(), spectrogram()
    after[:, :, 12:] = spectrogram(seed=1)[:, :, 12:]
    change = (nets()[Modality.AUDIO].environment(after, T) - nets()[Modality.AUDIO].environment(before, T)).norm(dim=-1)
    assert (change.argmax(dim=1) == 3).all()


@torch.no_grad()
def test_other_lengths_have_tokens_in_their_own_seconds():
    audio, video = nets()[Modality.AUDIO], nets()[Modality.VIDEO]
    assert audio.environment(spectrogram(64), T).shape == (2, 4, 10)
    torch.testing.assert_close(audio.environment_seconds(spectrogram(64))[-1].item(), 7 / 8 * 64 * 0.128)
    assert video.environment(clip(3), T).shape == (2, 3, 10)
    assert len(video.environment_seconds(clip(3))) == 3


@torch.no_grad()
@pytest.mark.parametrize("watched", [Modality.VIDEO, Modality.AUDIO])
def test_the_prediction_changes_when_only_the_time_of_the_others_tokens_changes(watched):
    other = Modality.AUDIO if watched is Modality.VIDEO else Modality.VIDEO
    latents = {Modality.VIDEO: clip(), Modality.AUDIO: spectrogram()}
    tokens = environment_tokens(nets(), latents, dict.fromkeys(latents, T))[other]
    seconds = environment_seconds(nets(), latents)[other]

    def predict(tokens, seconds):
        return nets()[watched](latents[watched], T, prompt(), Context(tokens, seconds=seconds))

    own = predict(tokens, seconds)
    assert (predict(tokens, seconds.flip(0)) - own).abs().max() > 1e-3
    # The order in which tokens are listed says nothing, and without seconds there is no when at all.
    torch.testing.assert_close(predict(tokens.flip(1), seconds.flip(0)), own, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(predict(tokens.flip(1), None), predict(tokens, None), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_joint_denoising_sees_when_the_other_changes():
    latents = {Modality.VIDEO: clip(), Modality.AUDIO: spectrogram()}
    late = {**latents, Modality.AUDIO: latents[Modality.AUDIO].roll(8, dims=2)}
    before, after = (joint_forward(nets(), each, dict.fromkeys(each, T), prompt()) for each in (latents, late))
    assert (before[Modality.VIDEO] - after[Modality.VIDEO]).abs().max() > 1e-3


@torch.no_grad()
def test_all_four_together_have_times_where_there_is_time():
    latents = {**noise(Modality.TEXT, Modality.IMAGE), Modality.VIDEO: clip(), Modality.AUDIO: spectrogram()}
    tokens = environment_tokens(nets(), latents, dict.fromkeys(latents, T))
    seen = exchanged(tokens, "others", environment_seconds(nets(), latents))
    assert seen[Modality.VIDEO].tokens.shape == (2, 6, 10)
    assert seen[Modality.VIDEO].seconds.isnan().tolist() == [True, True, False, False, False, False]
    # Four tokens of a sound weigh as much as the one of a text.
    torch.testing.assert_close(seen[Modality.VIDEO].bias.exp(), torch.tensor([1, 1, 0.25, 0.25, 0.25, 0.25]))
    out = joint_forward(nets(), latents, dict.fromkeys(latents, T), prompt())
    assert all(out[m].shape == x.shape and out[m].isfinite().all() for m, x in latents.items())


@torch.no_grad()
def test_a_picture_has_one_token_and_the_same_bits_as_without_time():
    timed, plain = nets()[Modality.IMAGE], video().eval()
    weights = {k: v for k, v in timed.alignment.state_dict().items() if ".time." not in k}
    plain.alignment.load_state_dict(weights)
    x, seen = noise(Modality.IMAGE)[Modality.IMAGE], torch.randn(2, 1, 10, generator=torch.Generator().manual_seed(4))
    assert timed.environment_seconds(x).isnan().all()
    assert torch.equal(timed.environment(x, T), plain.environment(x, T))
    seconds = torch.tensor([torch.nan])
    assert torch.equal(timed(x, T, prompt(), Context(seen, seconds=seconds)), plain(x, T, prompt(), seen))


def test_each_frame_and_each_row_knows_its_time():
    frames = position_seconds(torch.zeros(2 * 4, 3, 5, 6), 0.5, num_frames=4)
    torch.testing.assert_close(frames[:, 0], torch.tensor([1, 3, 5, 7] * 2) / 16)
    rows = position_seconds(torch.zeros(2, 3, 4, 5), 2.0, num_frames=None)
    torch.testing.assert_close(rows[0, ::5], torch.tensor([0.25, 0.75, 1.25, 1.75]))
    assert rows[0, 5] == rows[0, 9]


@torch.no_grad()
def test_attention_starts_by_looking_at_its_own_time_and_as_much_at_what_has_none():
    seconds, weights = centres(2.0, 8), torch.zeros(8, 9)
    for seed in range(64):
        torch.manual_seed(seed)
        query, key, bias = TimeQuery(24, 3)(seconds, torch.cat([seconds, torch.tensor([torch.nan])]))
        query, key = (x.unflatten(1, (3, 8)).transpose(0, 1) for x in (query, key))
        logits = query @ key.transpose(1, 2) / 8**0.5 + bias[0]
        logits[..., :8] -= math.log(8)  # as ``exchanged`` makes eight tokens weigh as much as one
        weights += logits.softmax(-1).mean(0) / 64
    assert torch.equal(weights[:, :8].argmax(dim=1), torch.arange(8))
    torch.testing.assert_close(weights[:, 8], torch.full((8,), 0.5), atol=0.15, rtol=0)


def test_no_time_is_no_sinusoid():
    assert not time_sinusoids(torch.tensor([torch.nan])).any()


def test_an_earlier_adapter_gains_time_and_keeps_every_weight():
    plain = randomise(alignment_for(audio_net()), 1)
    timed = changed(plain, IN_TIME[Modality.AUDIO])
    added = set(timed.state_dict()) - set(plain.state_dict())
    assert added and all(".time." in name for name in added)
    assert all(torch.equal(value, timed.state_dict()[name]) for name, value in plain.state_dict().items())
    assert changed(timed, IN_TIME[Modality.AUDIO]) is timed
    with pytest.raises(ConfigurationError, match="environment_dim: would drop or change"):
        changed(plain, {"environment_dim": 12})
