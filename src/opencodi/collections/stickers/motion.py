"""Procedural motion: a still becomes a clip of two seconds that loops, with the moments of its visible impacts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

NUM_FRAMES = 16
FRAMES_PER_SECOND = 8

GROUND = 0.94
"""Where a bouncing picture lands, in the coordinates of ``Trajectory``: two rows above the lower edge."""

MARGIN = 0.98


@dataclass(frozen=True)
class Outline:
    """Where a still is opaque, in coordinates from -1 (left, top edge) to 1 (right, bottom edge)."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def centre(self) -> np.ndarray:
        """[2], x and y."""
        return np.array([self.left + self.right, self.top + self.bottom]) / 2


@dataclass(frozen=True)
class Trajectory:
    """How a still moves in each of ``NUM_FRAMES`` frames.

    Attributes:
        shift: [frames, 2], where the pivot moves, x to the right and y down, 2 being the side of the picture.
        scale: [frames, 2], width and height as shares of the still's.
        angle: [frames], radians, clockwise on the screen.
        pivot: [2], the point that scale and angle leave in place.
    """

    shift: np.ndarray
    scale: np.ndarray
    angle: np.ndarray
    pivot: np.ndarray


@dataclass(frozen=True)
class Beat:
    """Impacts at equal distances that repeat when the clip does.

    Attributes:
        period: frames from one impact to the next; divides ``NUM_FRAMES``.
        phase: frame of the first one, below ``period``.
    """

    period: int
    phase: int

    @property
    def impacts(self) -> np.ndarray:
        """Seconds of the impacts, rising; each is when a frame begins to be shown."""
        return np.arange(self.phase, NUM_FRAMES, self.period) / FRAMES_PER_SECOND

    @property
    def frames_since(self) -> np.ndarray:
        """[frames], whole frames since the last impact, 0 at an impact."""
        return (np.arange(NUM_FRAMES) - self.phase) % self.period

    @property
    def count_since(self) -> np.ndarray:
        """[frames], which impact was the last one: …, -1 before the first of the clip, 0, 1, …"""
        return (np.arange(NUM_FRAMES) - self.phase) // self.period


def bounce(beat: Beat, outline: Outline, rng: np.random.Generator) -> Trajectory:
    """Falls on the ground at every impact, is squashed there and thrown back."""
    size = rng.uniform(0.7, 0.8)
    passed = beat.frames_since / beat.period
    squash = np.where(beat.frames_since == 0, rng.uniform(0.1, 0.2), 0.0)
    scale = size * np.stack([1 + squash / 2, 1 - squash], axis=1)
    room = GROUND + MARGIN - size * (outline.bottom - outline.top)
    height = rng.uniform(0.7, 1.0) * max(room, 0.3) * 4 * passed * (1 - passed)
    shift = np.stack([np.full(NUM_FRAMES, -outline.centre[0]), GROUND - height - outline.bottom], axis=1)
    return Trajectory(shift, scale, np.zeros(NUM_FRAMES), np.array([outline.centre[0], outline.bottom]))


def slide(beat: Beat, outline: Outline, rng: np.random.Generator) -> Trajectory:
    """Runs from one side to the other and turns round where it hits."""
    size = rng.uniform(0.65, 0.75)
    way = beat.frames_since / beat.period * 2 - 1
    side = rng.choice([-1, 1]) * np.where(beat.count_since % 2, -1, 1)
    reach = max(MARGIN - size * (outline.right - outline.left) / 2, 0.2)
    shift = np.stack([side * way * reach, np.zeros(NUM_FRAMES)], axis=1) - outline.centre
    return Trajectory(shift, np.full((NUM_FRAMES, 2), size), np.zeros(NUM_FRAMES), outline.centre)


def spin(beat: Beat, outline: Outline, rng: np.random.Generator) -> Trajectory:
    """Turns round and round, fastest at every impact and nearly resting between two."""
    beats = NUM_FRAMES / beat.period
    turns = rng.choice([-1, 1]) * (1 if beats < 2 else rng.integers(1, 3)) / beats
    passed = beat.count_since + beat.frames_since / beat.period
    angle = 2 * np.pi * turns * (passed + 0.9 * np.sin(2 * np.pi * passed) / (2 * np.pi))
    return _in_place(outline, size=rng.uniform(0.75, 0.85), angle=angle)


def shake(beat: Beat, outline: Outline, rng: np.random.Generator) -> Trajectory:
    """Starts at every impact to tremble from side to side, less and less."""
    strength = rng.choice([-1, 1]) * np.where(beat.frames_since % 2, -1, 1) * rng.uniform(0.5, 0.7) ** beat.frames_since
    trajectory = _in_place(outline, size=rng.uniform(0.75, 0.85), angle=strength * rng.uniform(0.1, 0.3))
    trajectory.shift[:, 0] += strength * rng.uniform(0.15, 0.25)
    return trajectory


def zoom(beat: Beat, outline: Outline, rng: np.random.Generator) -> Trajectory:
    """Is suddenly large at every impact and shrinks until the next."""
    small, large = rng.uniform(0.55, 0.65), rng.uniform(0.9, 1.0)
    fading = rng.uniform(0.5, 0.7) ** beat.frames_since
    return _in_place(outline, size=small + (large - small) * fading)


def swing(beat: Beat, outline: Outline, rng: np.random.Generator) -> Trajectory:
    """Hangs from its top like a pendulum and is lowest, and fastest, at every impact."""
    size = rng.uniform(0.75, 0.85)
    passed = beat.count_since + beat.frames_since / beat.period
    angle = rng.choice([-1, 1]) * rng.uniform(0.4, 0.6) * np.sin(np.pi * passed)
    pivot = np.array([outline.centre[0], outline.top])
    shift = np.array([0.0, -MARGIN]) - pivot
    return Trajectory(np.tile(shift, (NUM_FRAMES, 1)), np.full((NUM_FRAMES, 2), size), angle, pivot)


def _in_place(outline: Outline, size: float | np.ndarray, angle: float | np.ndarray = 0.0) -> Trajectory:
    """Around its own centre, in the middle of the frame."""
    scale = np.broadcast_to(size, NUM_FRAMES)
    return Trajectory(
        shift=np.tile(-outline.centre, (NUM_FRAMES, 1)),
        scale=np.stack([scale, scale], axis=1),
        angle=np.broadcast_to(angle, NUM_FRAMES),
        pivot=outline.centre,
    )


@dataclass(frozen=True)
class Motion:
    """One way to move.

    Attributes:
        doing: the word for it in captions.
        trajectory: (beat, outline, rng) → ``Trajectory``.
        periods: frames between impacts to draw from; a motion to and fro needs an even number of impacts.
    """

    doing: str
    trajectory: Callable[[Beat, Outline, np.random.Generator], Trajectory]
    periods: tuple[int, ...]


MOTIONS = {
    "bounce": Motion("bouncing", bounce, (4, 8, 16)),
    "spin": Motion("spinning", spin, (4, 8, 16)),
    "slide": Motion("sliding", slide, (4, 8)),
    "shake": Motion("shaking", shake, (4, 8, 16)),
    "zoom": Motion("zooming", zoom, (4, 8, 16)),
    "swing": Motion("swinging", swing, (4, 8)),
}
"""Every motion by name."""


def draw_beat(motion: str, rng: np.random.Generator, other_than: Beat | None = None) -> Beat:
    """A beat that suits the motion, each period equally likely; with ``other_than``, one that differs from it."""
    while True:
        period = int(rng.choice(MOTIONS[motion].periods))
        beat = Beat(period, int(rng.integers(0, period)))
        if beat != other_than:
            return beat


def animate(
    still: np.ndarray, motion: str, rng: np.random.Generator, beat: Beat | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A still in motion.

    Args:
        still: uint8 RGBA [H, W, 4].
        motion: a name in ``MOTIONS``.
        rng: draws the beat, if none is given, then sizes and amplitudes.
        beat: when the impacts are.

    Returns:
        (uint8 RGBA [16, H, W, 4] at 8 frames per second, transparent where the picture is not; seconds [K] of the
        impacts, rising). The clip loops.
    """
    beat = beat or draw_beat(motion, rng)
    trajectory = MOTIONS[motion].trajectory(beat, _outline(still), rng)
    return _render(still, affine_maps(trajectory)), beat.impacts


def course(still: np.ndarray, motion: str, rng: np.random.Generator) -> np.ndarray:
    """The affine maps [16, 2, 3] through which ``animate`` shows the still, drawn from the same ``rng``."""
    beat = draw_beat(motion, rng)
    return affine_maps(MOTIONS[motion].trajectory(beat, _outline(still), rng))


def _outline(still: np.ndarray) -> Outline:
    opaque = still[..., 3] > 127
    if not opaque.any():
        return Outline(-1.0, -1.0, 1.0, 1.0)
    (top, bottom), (left, right) = (
        (indices[0] / len(line) * 2 - 1, (indices[-1] + 1) / len(line) * 2 - 1)
        for line in (opaque.any(1), opaque.any(0))
        for indices in [np.flatnonzero(line)]
    )
    return Outline(float(left), float(top), float(right), float(bottom))


def affine_maps(trajectory: Trajectory) -> np.ndarray:
    """[16, 2, 3], from each place in a frame to the place in the still: the inverse of every frame's transform."""
    cos, sin = np.cos(trajectory.angle), np.sin(trajectory.angle)
    turn_back = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)
    inverse = turn_back / trajectory.scale[:, :, None]
    offset = trajectory.pivot - (inverse @ (trajectory.pivot + trajectory.shift)[:, :, None])[:, :, 0]
    return np.concatenate([inverse, offset[:, :, None]], axis=2)


def _render(still: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Sample the still through affine maps [16, 2, 3], colours weighted by opacity: edges stay clean."""
    theta = torch.from_numpy(maps).float()
    pixels = torch.from_numpy(still).float() / 255
    weighted = torch.cat([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], dim=-1).permute(2, 0, 1)
    frames = weighted.expand(NUM_FRAMES, *weighted.shape)
    grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
    sampled = F.grid_sample(frames, grid, align_corners=False).permute(0, 2, 3, 1)
    alpha = sampled[..., 3:]
    rgba = torch.cat([sampled[..., :3] / alpha.clamp_min(1 / 255), alpha], dim=-1)
    return (rgba.clamp(0, 1) * 255).round().byte().numpy()
