"""Noise from one stream per sample and purpose.

A sample's noise then depends neither on its place in the batch nor on which other modalities are made with it.
"""

from collections.abc import Callable, Mapping
from zlib import crc32

import numpy as np
import torch

from ..errors import ArgumentError
from .trajectory import Generators


def sample_seeds(generator: Generators, num_samples: int) -> list[int]:
    """One seed per sample: one drawn from each generator of a list, or as many in turn from a single one.

    Raises:
        ArgumentError: if a list does not hold one generator per sample.
    """
    if isinstance(generator, list):
        if len(generator) != num_samples:
            raise ArgumentError(
                f"generator: {len(generator)} given for {num_samples} outputs; give one for each, or one"
            )
        return [_draw_seed(each) for each in generator]
    return [_draw_seed(generator) for _ in range(num_samples)]


def streams(seeds: list[int], purpose: str) -> list[torch.Generator]:
    """One generator per sample for one purpose, such as the name of a modality: independent of every other purpose.

    They live on the CPU, so that every device starts from the same noise.
    """
    words = [np.random.SeedSequence([seed, crc32(purpose.encode())]).generate_state(1, np.uint64) for seed in seeds]
    return [torch.Generator().manual_seed(word.item()) for word in words]


class Noise:
    """The initial noise of a call, drawn when an output is about to be made.

    Args:
        seeds: one per sample.
        shape_of: modality → shape of its latents [B, ...].
        frame_share_of: modality → ``shared_frame_noise`` of its clips, 0 for all else.
        given: noise that the caller brings instead.
    """

    def __init__(
        self,
        seeds: list[int],
        shape_of: Callable[[str], tuple[int, ...]],
        frame_share_of: Callable[[str], float],
        given: Mapping[str, torch.Tensor] | None = None,
    ):
        self.seeds, self.shape_of, self.frame_share_of, self.given = seeds, shape_of, frame_share_of, dict(given or {})

    def draw(self, modality: str, draws: int = 1) -> torch.Tensor:
        """Standard normal noise [B * draws, ...], float32 on the CPU; noise that was given is repeated.

        The draws of a sample follow one another. The first is what there would be without the others.
        """
        if modality in self.given:
            return self.given[modality].repeat_interleave(draws, 0)
        generators = streams(self.seeds, modality)
        shape, share = self.shape_of(modality), self.frame_share_of(modality)
        drawn = [initial_noise(shape, generators, share) for _ in range(draws)]
        return torch.stack(drawn, dim=1).flatten(0, 1) if draws > 1 else drawn[0]


def initial_noise(
    shape: tuple[int, ...], generators: list[torch.Generator], shared_frame_noise: float = 0.0
) -> torch.Tensor:
    """Standard normal noise of ``shape`` [B, ...] in float32 on the CPU, each sample from its own generator.

    For clips [B, C, F, H, W], ``shared_frame_noise`` is what ``share_frame_noise`` does.
    """
    noise = torch.stack([torch.randn(shape[1:], generator=generator) for generator in generators])
    if not shared_frame_noise or noise.ndim != 5:
        return noise
    common = torch.stack([torch.randn(noise[0, :, :1].shape, generator=generator) for generator in generators])
    return share_frame_noise(noise, common, shared_frame_noise)


def share_frame_noise(noise: torch.Tensor, common: torch.Tensor, share: float) -> torch.Tensor:
    """Noise of which all frames of a clip have a part in common (the mixed noise of Ge et al. 2023, PYoCo §3.2).

    Each frame stays standard normal, so an image network sees what it knows; but since frames begin alike, they begin
    as one picture, and the temporal blocks need to learn only how it moves.

    Args:
        noise: [B, C, F, H, W], a part of its own for every frame.
        common: [B, C, 1, H, W], the part of all frames.
        share: of the variance that is common, in [0, 1].
    """
    return (1 - share) ** 0.5 * noise + share**0.5 * common


def _draw_seed(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return torch.randint(2**62, (1,), generator=generator, device=device).item()
