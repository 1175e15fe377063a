"""The temporal block and its parts against the reference's (goldens ``sub.*``), and what it does at its start."""

import pytest
import torch
from einops import rearrange

from opencodi.denoisers.temporal import FrameShift, TemporalBlock, shift_later
from opencodi.errors import ArgumentError
from tests.denoisers.reference import cases, network
from tests.published import assert_close


@pytest.fixture
def block() -> TemporalBlock:
    return network("image").temporal.blocks[0]


@pytest.fixture
def video() -> torch.Tensor:
    return cases()["sub.sta.in"]  # [B, C, F, h, w]


def folded(video: torch.Tensor) -> torch.Tensor:
    return rearrange(video, "b c f h w -> (b f) c h w")


def tokens(video: torch.Tensor) -> torch.Tensor:
    return rearrange(video, "b c f h w -> b f (h w) c")


def test_the_whole_block(block, video):
    assert_close(block(folded(video), num_frames=4), folded(cases()["sub.sta.out"]))


def test_relative_position_bias(block):
    assert_close(block.position_bias(4), cases()["sub.sta.rel_pos_bias"], 1e-5)


def test_temporal_attention(block, video):
    expected = rearrange(cases()["sub.sta.temporal_attn.out"], "(b n) f c -> b f n c", b=len(video))
    assert_close(block.attention(tokens(video), block.position_bias(4)), expected)


def test_feed_forward(block, video):
    assert_close(block.feed_forward(tokens(video)), tokens(cases()["sub.sta.ff.out"]))


def test_frame_shift(block, video):
    ours = folded(video) + block.frame_shift(folded(video), 4)
    assert_close(ours, folded(cases()["sub.sta.frameshiftblock.out"]))


def test_channel_chunks_move_later_by_their_number():
    frames, expected = (rearrange(cases()[f"sub.frame_shift.{end}"], "b c f h w -> b f c h w") for end in ("in", "out"))
    assert torch.equal(FrameShift(16, 8).shift(frames), expected)


def test_a_shift_longer_than_the_video_leaves_nothing():
    assert not shift_later(torch.ones(1, 3), 3, dim=1).any()


def test_a_new_block_changes_nothing():
    new = TemporalBlock(32, 4, 2.0, 8 / 3, max_frames=6, frame_rate=4, norm_num_groups=8)
    x = torch.randn(2 * 6, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(new(x, num_frames=6), x)


def test_a_video_longer_than_the_position_table_is_refused():
    new = TemporalBlock(32, 4, 2.0, 8 / 3, max_frames=6, frame_rate=4, norm_num_groups=8)
    with pytest.raises(ArgumentError, match="num_frames: 7"):
        new(torch.zeros(7, 32, 4, 4), num_frames=7)
