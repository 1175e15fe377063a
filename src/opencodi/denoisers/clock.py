"""Time in seconds, so that features and tokens of different modalities know what happens together."""

import math

import torch
from torch import Tensor, nn

PERIODS = (0.25, 16.0)
"""Seconds: shortest and longest period of the sinusoids. The shortest tells apart what is two frames of 8 per second apart."""

NUM_PERIODS = 8

FIRST_LOGIT = 3.0
"""What a new ``TimeQuery`` adds to the attention logit of a token of the same time."""

FIRST_ALWAYS = 2.0
"""What it adds to that of a token without time: about the mean over the tokens of two seconds, before the softmax."""


def time_sinusoids(seconds: Tensor) -> Tensor:
    """Seconds [...] → cosines and sines [..., 2 * NUM_PERIODS] of geometrically spaced periods; NaN (no time) gives zeros."""
    shortest, longest = PERIODS
    steps = torch.arange(NUM_PERIODS, device=seconds.device, dtype=torch.float32) / (NUM_PERIODS - 1)
    angles = seconds.float()[..., None] * (2 * math.pi / (shortest * (longest / shortest) ** steps))
    return torch.cat([angles.cos(), angles.sin()], dim=-1).nan_to_num(0.0)


def centres(duration: float, count: int, device: torch.device | None = None) -> Tensor:
    """The middle [count], in seconds, of each of ``count`` equal parts of ``duration``."""
    return (torch.arange(count, device=device, dtype=torch.float32) + 0.5) * (duration / count)


def position_seconds(x: Tensor, duration: float, num_frames: int | None) -> Tensor:
    """When each position of a feature map is.

    Args:
        x: [B, C, rows, columns]; the frames of a video are folded into the batch.
        duration: seconds that the frames, or else the rows, cover.
        num_frames: frames of each video; None if the rows are what follows in time, as in a spectrogram.

    Returns:
        [B, 1] for a video, else [1, rows * columns].
    """
    if num_frames is not None:
        return centres(duration, num_frames, x.device).repeat(x.shape[0] // num_frames)[:, None]
    return centres(duration, x.shape[2], x.device).repeat_interleave(x.shape[3])[None]


class TimeQuery(nn.Module):
    """What time adds to an attention: to its queries, its keys, and the logits of tokens that are about all of a sample.

    Values are left alone: time says where to look, not what is there. Queries and keys start as one random projection, so
    that each position at first looks mostly at what happens at its own time, and at what has no time about as much as
    at all moments together.

    Args:
        width: of queries and keys.
        num_heads: heads of the attention.
    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.query = nn.Linear(2 * NUM_PERIODS, width, bias=False)
        self.key = nn.Linear(2 * NUM_PERIODS, width, bias=False)
        # |sinusoids|² is NUM_PERIODS, and the dot product over a head is divided by the root of its size.
        nn.init.normal_(self.query.weight, std=(FIRST_LOGIT / NUM_PERIODS / (width // num_heads) ** 0.5) ** 0.5)
        self.key.load_state_dict(self.query.state_dict())
        self.always = nn.Parameter(torch.full((num_heads,), FIRST_ALWAYS))

    def forward(self, query_seconds: Tensor, key_seconds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Seconds [B or 1, positions or 1] of queries and [N] of keys, NaN for none → what is added.

        Returns:
            To queries [B or 1, positions or 1, width], to keys [N, width] and to logits [1, heads, 1, N].
        """
        query, key = (time_sinusoids(seconds).to(self.always.dtype) for seconds in (query_seconds, key_seconds))
        return self.query(query), self.key(key), self.always[None, :, None, None] * key_seconds.isnan()
