"""Tiny real denoisers whose every weight is random, so that no zero-initialised branch hides."""

from functools import cache

import torch
from torch import nn

from opencodi.denoisers import AlignmentAdapter, ComposedDenoiser, FlatUNet, TemporalAdapter, UNet
from opencodi.denoisers.topology import Denoiser
from opencodi.modality import Modality

_SHARED = {
    "model_channels": 16,
    "num_attention_heads": 2,
    "num_res_blocks": (1, 1),
    "norm_num_groups": 8,
    "cross_attention_dim": 12,
}
_ALIGNMENT = {
    "levels": (False, True),
    "environment_dim": 10,
    "environment_channels": (16, 16),
    "feed_forward_mult": 1.0,
}


def randomise(net: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        scale = max(parameter[0].numel(), 1) ** -0.5 if parameter.ndim > 1 else 0.2
        parameter.data = torch.randn(parameter.shape, generator=generator) * scale + (parameter.ndim == 1)
    return net.eval()


def image_net(**config) -> UNet:
    return UNet(**{**_SHARED, "in_channels": 3, "out_channels": 3, **config})


def audio_net(**config) -> UNet:
    return UNet(**{**_SHARED, "in_channels": 2, "out_channels": 2, **config})


def text_net(**config) -> FlatUNet:
    defaults = {"in_channels": 6, "out_channels": 6, "feature_tokens": 2, "with_attention": (True, True)}
    return FlatUNet(**{**_SHARED, **defaults, **config})


def temporal_for(net: UNet, **config) -> TemporalAdapter:
    return TemporalAdapter.for_denoiser(net.config, **{"num_heads": 4, "max_frames": 4, **config})


def alignment_for(net: Denoiser, **config) -> AlignmentAdapter:
    levels = {"levels": (True, True)} if isinstance(net, FlatUNet) else {}
    return AlignmentAdapter.for_denoiser(net, **{**_ALIGNMENT, **levels, **config})


def video_parts(**config) -> ComposedDenoiser:
    """An image network with a temporal adapter, and an alignment adapter for both; ``config`` is of the temporal one."""
    net = image_net()
    temporal = temporal_for(net, **config)
    return ComposedDenoiser(net, temporal, alignment_for(net, temporal=temporal.config))


@cache
def joint_nets() -> dict[Modality, ComposedDenoiser]:
    """A trained-like network per modality; shared by the tests, so leave it as it is."""
    image, text, audio = randomise(video_parts(), 1), text_net(), audio_net()
    return {
        Modality.TEXT: randomise(ComposedDenoiser(text, alignment=alignment_for(text)), 2),
        Modality.IMAGE: image,
        Modality.VIDEO: image,
        Modality.AUDIO: randomise(ComposedDenoiser(audio, alignment=alignment_for(audio)), 3),
    }


SHAPES = {Modality.TEXT: (6,), Modality.IMAGE: (3, 8, 8), Modality.VIDEO: (3, 4, 8, 8), Modality.AUDIO: (2, 8, 4)}


def noise(*modalities: Modality, batch_size: int = 2, seed: int = 0) -> dict[Modality, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {m: torch.randn(batch_size, *SHAPES[m], generator=generator) for m in modalities}


def prompt(batch_size: int = 2, num_tokens: int = 1, seed: int = 9) -> torch.Tensor:
    return torch.randn(batch_size, num_tokens, 12, generator=torch.Generator().manual_seed(seed))
