"""Image → condition."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from PIL import Image, ImageOps
from torch import nn

from .condition import Condition, check_unconditional
from .encoder import PromptEncoder
from .tower import Tower


class ImagePromptEncoder(PromptEncoder):
    """A convolutional tower and a projection into the shared space.

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
    ):
        super().__init__()
        check_unconditional(unconditional)
        self.tower = Tower(
            3,
            (sample_size, sample_size),
            patch_size,
            block_out_channels,
            layers_per_block,
            num_attention_heads,
            norm_num_groups,
            dropout,
        )
        self.projection = nn.Linear(block_out_channels[-1], projection_dim, bias=False)

    def preprocess(self, images: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
        """RGB pictures of any size → ``pixel_values`` [B, 3, size, size] in [-1, 1].

        A picture that is not square keeps its whole content on a white square (the reference crops it at random).
        """
        return {"pixel_values": to_pixel_values(images, self.config.sample_size)}

    def forward(self, pixel_values: torch.Tensor) -> Condition:
        """``pixel_values`` [B, 3, size, size] in [-1, 1], over white → Condition [B, 1, D]."""
        return Condition.from_embedding(self.projection(self.tower(pixel_values.to(self.dtype))))

    @torch.no_grad()
    def read(self, items: Sequence[Image.Image]) -> tuple[Condition, torch.Tensor]:
        """Pictures → Condition [B, 1, D] and what the tower sees in them and in their style, [B, ``tower.described_dim``]."""
        described = self.tower.described(self.preprocess(items)["pixel_values"].to(self.device, self.dtype))
        features = described[:, : self.projection.in_features]  # they come first, the statistics of the style after them
        return Condition.from_embedding(self.projection(features)), described

    def unconditional(self, batch_size: int) -> Condition:
        """The condition [B, 1, D] of having no picture, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        return self.encode([Image.new("RGB", (self.config.sample_size,) * 2, (128, 128, 128))] * batch_size)


def to_pixel_values(images: Sequence[Image.Image], size: int) -> torch.Tensor:
    """RGB pictures → [B, 3, size, size] in [-1, 1], padded to a square with white and resized."""
    arrays = []
    for image in images:
        if image.size != (size, size):
            image = ImageOps.pad(image, (size, size), Image.Resampling.LANCZOS, color="white")
        arrays.append(np.asarray(image.convert("RGB")))
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1
