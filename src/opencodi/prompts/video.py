"""Video → condition: an image prompt encoder on every frame, and attention over time for what moves."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from einops import rearrange
from PIL import Image
from torch import nn

from ..errors import ArgumentError, ConfigurationError
from ..media.objects import Video
from ..modality import MODALITIES, Modality
from ..sharing import store_once
from .condition import Condition, check_unconditional
from .encoder import PromptEncoder
from .image import ImagePromptEncoder, to_pixel_values


class VideoPromptEncoder(PromptEncoder):
    """The mean image embedding of the frames, plus what their order adds.

    What time adds is the temporal network's answer to the frames less its answer to the same clip frozen at its mean
    frame: a still video is embedded exactly like its image, before and after training. The image network is frozen
    while the temporal one is trained against text (paper §3.1).

    Args:
        num_frames: F, frames sampled from a clip.
        temporal_width: width of the temporal network.
        temporal_layers: its transformer layers.
        temporal_num_attention_heads: its attention heads.
        temporal_dropout: its dropout.
        unconditional: ``"zeros"``: the unconditional token is zero; ``"empty"``: the embedding of a mid grey clip, as
            in the reference (SPEC §1.2).
        sample_size, patch_size, block_out_channels, layers_per_block, num_attention_heads, norm_num_groups, dropout,
        projection_dim: of the ``ImagePromptEncoder`` inside.
    """

    shared_weights: ClassVar = {"image": (MODALITIES[Modality.IMAGE].prompt_encoder, "")}

    @register_to_config
    def __init__(
        self,
        num_frames: int = 16,
        temporal_width: int = 128,
        temporal_layers: int = 2,
        temporal_num_attention_heads: int = 4,
        temporal_dropout: float = 0.1,
        unconditional: str = "zeros",
        sample_size: int = 64,
        patch_size: int = 4,
        block_out_channels: Sequence[int] = (48, 96, 160),
        layers_per_block: Sequence[int] = (1, 1, 2),
        num_attention_heads: int = 4,
        norm_num_groups: int = 8,
        dropout: float = 0.1,
        projection_dim: int = 256,
    ):
        super().__init__()
        check_unconditional(unconditional)
        self.image = ImagePromptEncoder(
            sample_size,
            patch_size,
            block_out_channels,
            layers_per_block,
            num_attention_heads,
            norm_num_groups,
            dropout,
            projection_dim,
        )
        self.temporal = TemporalNetwork(
            block_out_channels[-1],
            projection_dim,
            num_frames,
            temporal_width,
            temporal_layers,
            temporal_num_attention_heads,
            temporal_dropout,
        )

    @classmethod
    def from_image_prompt_encoder(cls, image: ImagePromptEncoder, **config: Any) -> "VideoPromptEncoder":
        """A new encoder with a copy of a trained image network and an untrained temporal one, which adds nothing yet.

        Args:
            image: the trained ``ImagePromptEncoder``.
            **config: ``num_frames``, ``temporal_*`` and ``unconditional``.
        """
        image_config = {name: value for name, value in image.config.items() if not name.startswith("_")}
        encoder = cls(**{**image_config, **config})
        encoder.image.load_state_dict(image.state_dict())
        return encoder.to(image.device)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As every diffusers model; without the image network, if an image prompt encoder beside the folder has the same."""
        super().save_pretrained(save_directory, *args, **kwargs)
        folder = Path(save_directory)
        beside = image_folder(folder) / SAFETENSORS_WEIGHTS_NAME
        if beside.is_file() and (folder / SAFETENSORS_WEIGHTS_NAME).is_file():
            store_once(folder / SAFETENSORS_WEIGHTS_NAME, "image.", beside)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """As every diffusers model; an image network that is not in the folder comes from the image prompt encoder beside it.

        Raises:
            ConfigurationError: if it is not there either.
        """
        with_info = kwargs.pop("output_loading_info", False)
        messages = logging.getLogger("diffusers.models.modeling_utils")
        level = messages.level
        messages.setLevel(logging.ERROR)  # it would announce a random image network
        try:
            encoder, info = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        finally:
            messages.setLevel(level)
        lacking = [name for name in info["missing_keys"] if name.startswith("image.")]
        if lacking:
            folder = Path(pretrained_model_name_or_path) / (kwargs.get("subfolder") or "")
            beside = image_folder(folder)
            if not beside.is_dir():
                raise ConfigurationError(f"{folder}: its image network is stored in {beside}, which is missing")
            image = ImagePromptEncoder.from_pretrained(
                beside, torch_dtype=encoder.temporal.position.dtype, use_safetensors=True
            )
            encoder.image.load_state_dict(image.state_dict(), assign=True)
            info["missing_keys"] = [name for name in info["missing_keys"] if name not in lacking]
        return (encoder, info) if with_info else encoder

    def preprocess(self, videos: Sequence[Video]) -> dict[str, torch.Tensor]:
        """Clips → ``pixel_values`` [B, 3, F, size, size] in [-1, 1]: F frames evenly spread over each whole clip."""
        clips = []
        for video in videos:
            picks = np.linspace(0, len(video.frames) - 1, self.config.num_frames).round().astype(int)
            # Each frame is resized once, however often a short clip shows it.
            shown, order = np.unique(picks, return_inverse=True)
            frames = to_pixel_values([Image.fromarray(video.frames[pick]) for pick in shown], self.config.sample_size)
            clips.append(frames[torch.from_numpy(order)].transpose(0, 1))
        return {"pixel_values": torch.stack(clips)}

    def frame_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The frozen part: ``pixel_values`` [B, 3, F, size, size] in [-1, 1] → features of each frame [B, F, width]."""
        frames = rearrange(pixel_values.to(self.dtype), "b c f h w -> (b f) c h w")
        return rearrange(self.image.tower(frames), "(b f) d -> b f d", b=pixel_values.shape[0])

    @torch.no_grad()
    def read(self, items: Sequence[Video]) -> tuple[Condition, torch.Tensor]:
        """Clips → Condition [B, 1, D] and the mean over their frames of what the tower sees in each, as for pictures."""
        pixel_values = self.preprocess(items)["pixel_values"].to(self.device, self.dtype)
        described = self.image.tower.described(rearrange(pixel_values, "b c f h w -> (b f) c h w"))
        described = rearrange(described, "(b f) d -> b f d", b=len(items))
        return self(features=described[..., : self.image.projection.in_features]), described.mean(1)

    def forward(self, pixel_values: torch.Tensor | None = None, features: torch.Tensor | None = None) -> Condition:
        """``pixel_values`` [B, 3, F, size, size] in [-1, 1], or their ``frame_features`` → Condition [B, 1, D].

        Raises:
            ArgumentError: if not exactly one of the two is given.
        """
        if (pixel_values is None) == (features is None):
            raise ArgumentError("VideoPromptEncoder: give either pixel_values or features")
        features = self.frame_features(pixel_values) if features is None else features
        embeddings = torch.nn.functional.normalize(self.image.projection(features), dim=-1)
        return Condition.from_embedding(embeddings.mean(1) + self.temporal(features))

    def unconditional(self, batch_size: int) -> Condition:
        """The condition [B, 1, D] of having no clip, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        size = self.config.sample_size
        grey = Video(np.full((1, size, size, 3), 128, dtype=np.uint8), fps=8)
        return self.encode([grey] * batch_size)


def image_folder(folder: Path) -> Path:
    """Where a model keeps the image prompt encoder, seen from its video prompt encoder."""
    return folder.resolve().parent / MODALITIES[Modality.IMAGE].prompt_encoder


class TemporalNetwork(nn.Module):
    """A transformer over frames: features [B, F, features] → what their changes add to the embedding [B, D]."""

    def __init__(
        self, in_features: int, out_features: int, num_frames: int, width: int, layers: int, heads: int, dropout: float
    ):
        super().__init__()
        self.proj_in = nn.Linear(in_features, width)
        self.position = nn.Parameter(torch.randn(num_frames, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.proj_out = nn.Linear(width, out_features, bias=False)
        nn.init.zeros_(self.proj_out.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        still = features.mean(1, keepdim=True).expand_as(features)
        return self.proj_out(self._summary(features) - self._summary(still))

    def _summary(self, features: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layers(self.proj_in(features) + self.position)).mean(1)
