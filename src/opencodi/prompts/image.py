"""Image → condition."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from PIL import Image
from torch import nn

from ..media.image import fit_square
from .condition import Condition, check_unconditional
from .encoder import PromptEncoder
from .seeing import Sight, freeze, side_of_maps
from .tower import Tower
from .vision_network import pretrained_vision_network


class ImagePromptEncoder(PromptEncoder):
    """A convolutional tower and a projection into the shared space.

    With ``vision`` the tower works on the features of a frozen pretrained network, which knows photographs, and the condition
    has a further token for every region of the picture.

    Args:
        sample_size: height and width of the input in pixels.
        patch_size: pixels folded into channels per side before the first convolution.
        block_out_channels: width of each level; the last is the width of the features.
        layers_per_block: residual blocks of each level.
        num_attention_heads: heads of the tower's attention layer.
        norm_num_groups: groups of every GroupNorm.
        dropout: dropout in the tower's attention layer.
        projection_dim: D, width of the shared space.
        unconditional: ``"zeros"``: the unconditional token is zero; ``"empty"``: the embedding of mid grey, as in the
            reference (SPEC §1.2).
        vision: config values of the frozen ``VisionNetwork`` that the tower looks through; None: it sees pixels.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 64,
        patch_size: int = 4,
        block_out_channels: Sequence[int] = (48, 96, 160),
        layers_per_block: Sequence[int] = (1, 1, 2),
        num_attention_heads: int = 4,
        norm_num_groups: int = 8,
        dropout: float = 0.1,
        projection_dim: int = 256,
        unconditional: str = "zeros",
        vision: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        check_unconditional(unconditional)
        self.sight = None if vision is None else Sight(vision, projection_dim)
        side = sample_size if self.sight is None else side_of_maps(sample_size, self.sight)
        self.tower = Tower(
            3 if self.sight is None else self.sight.channels,
            (side, side),
            patch_size,
            block_out_channels,
            layers_per_block,
            num_attention_heads,
            norm_num_groups,
            dropout,
        )
        self.projection = nn.Linear(block_out_channels[-1], projection_dim, bias=False)
        if self.sight is not None:
            width = block_out_channels[-1]
            self.region_projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, projection_dim, bias=False))

    @classmethod
    def with_pretrained_vision(cls, **config: Any) -> "ImagePromptEncoder":
        """A new encoder that looks through EfficientNet-Lite0 with its ImageNet weights.

        Raises:
            ConfigurationError: if the package with the weights is not installed.
        """
        network = pretrained_vision_network(classes=1000)
        vision = {name: value for name, value in network.config.items() if not name.startswith("_")}
        encoder = cls(**config, vision=vision)
        encoder.sight.network.load_state_dict(network.state_dict())
        return encoder

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """As every diffusers model; the vision network is frozen, as when it was made."""
        loaded = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        freeze(list((loaded[0] if isinstance(loaded, tuple) else loaded).children()))
        return loaded

    def preprocess(self, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        """Pictures of any size and mode → ``pixel_values`` [B, 3, size, size] in [-1, 1].

        A picture that is not square keeps its whole content on a white square (the reference crops it at random).
        """
        return {"pixel_values": to_pixel_values(images, self.config.sample_size)}

    def forward(
        self, pixel_values: torch.Tensor | None = None, with_features: bool = False, maps: torch.Tensor | None = None
    ) -> Condition | tuple[Condition, torch.Tensor]:
        """``pixel_values`` [B, 3, size, size] in [-1, 1], over white → Condition [B, 1, D], or with ``vision`` [B, 1 + R, D].

        ``with_features``: also what the tower sees before the projection, [B, width]. ``maps``: instead of the pixels, what
        ``sight.maps`` made of them before.
        """
        if self.sight is None:
            features = self.tower(pixel_values.to(self.dtype))
            condition = Condition.from_embedding(self.projection(features))
        else:
            maps = self.sight.maps(pixel_values.to(self.dtype)) if maps is None else maps.to(self.dtype)
            features, regions = self.tower(maps, places=True)
            embedding = self.projection(features) + self.sight.named(maps)
            condition = Condition.from_embedding(embedding).followed_by(self.region_projection(regions))
        return (condition, features) if with_features else condition

    def see(self, pixel_values: torch.Tensor) -> Condition:
        """``forward`` for pictures [B, 3, H, W] of any size."""
        size = self.config.sample_size
        if pixel_values.shape[-1] != size:
            pixel_values = F.interpolate(pixel_values, size=(size, size), mode="bicubic", antialias=True).clamp(-1, 1)
        return self(pixel_values)

    @torch.no_grad()
    def read(self, items: Sequence[Image.Image]) -> tuple[Condition, torch.Tensor]:
        """Pictures of any size and mode → Condition [B, 1, D], and what the tower sees in them: [B, ``described_dim``]."""
        if self.sight is not None:
            return self(self.preprocess(items)["pixel_values"].to(self.device), with_features=True)
        described = self.tower.described(self.preprocess(items)["pixel_values"].to(self.device, self.dtype))
        features = described[
            :, : self.projection.in_features
        ]  # they come first, the statistics of the style after them
        return Condition.from_embedding(self.projection(features)), described

    def unconditional(self, batch_size: int) -> Condition:
        """The condition [B, 1, D] of having no picture, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        return self.encode([Image.new("RGB", (self.config.sample_size,) * 2, (128, 128, 128))] * batch_size)


def to_pixel_values(images: Sequence[Image.Image], size: int) -> torch.Tensor:
    """Pictures of any size and mode → [B, 3, size, size] in [-1, 1], each whole on a white square (``fit_square``)."""
    arrays = [np.asarray(fit_square(image, size)) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1
