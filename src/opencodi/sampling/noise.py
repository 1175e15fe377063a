"""Noise from one stream per sample and purpose.

A sample's noise then depends neither on its place in the batch nor on which other modalities are made with it.
"""

from zlib import crc32

import numpy as np
import torch

from ..errors import ArgumentError

Generators = torch.Generator | list[torch.Generator] | None


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


def initial_noise(shape: tuple[int, ...], generators: list[torch.Generator]) -> torch.Tensor:
    """Standard normal noise ``[batch, ...]`` in float32 on the CPU, each sample from its own generator."""
    return torch.stack([torch.randn(shape[1:], generator=generator) for generator in generators])


def _draw_seed(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return torch.randint(2**62, (1,), generator=generator, device=device).item()
