"""Video → condition: the image prompt encoder on every frame, and attention over time for what moves."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from PIL import Image
from torch import nn

from ..errors import ArgumentError
from ..media.objects import Video
from .condition import Condition, check_unconditional
from .encoder import PromptEncoder, bring
from .image import ImagePromptEncoder, to_pixel_values


class VideoPromptEncoder(PromptEncoder):
    """What the order of frames adds to the mean image embedding of a clip.

    It holds the temporal network only; the image prompt encoder is given to it whenever it reads clips. What time adds is
    the temporal network's answer to the frames less its answer to the same clip frozen at its mean frame: a still video is
    embedded exactly like its image, before and after training. The image network is frozen while the temporal one is
    trained against text (paper §3.1).

    Args:
        num_frames: F, frames sampled from a clip.
        feature_dim: width of the features that the image prompt encoder has of a frame.
        projection_dim: D, width of the shared space.
        temporal_width: width of the temporal network.
        temporal_layers: its transformer layers.
        temporal_num_attention_heads: its attention heads.
        temporal_dropout: its dropout.
        unconditional: ``"zeros"``: the unconditional token is zero; ``"empty"``: the embedding of a mid grey clip, as
            in the reference (SPEC §1.2).
        frame_tokens: the embeddings of the frames follow that of the clip as tokens of their own.
    """

    @register_to_config
    def __init__(
        self,
        num_frames: int = 16,
        feature_dim: int = 160,
        projection_dim: int = 256,
        temporal_width: int = 128,
        temporal_layers: int = 2,
        temporal_num_attention_heads: int = 4,
        temporal_dropout: float = 0.1,
        unconditional: str = "zeros",
        frame_tokens: bool = False,
    ):
        super().__init__()
        check_unconditional(unconditional)
        self.temporal = TemporalNetwork(
            feature_dim,
            projection_dim,
            num_frames,
            temporal_width,
            temporal_layers,
            temporal_num_attention_heads,
            temporal_dropout,
        )

    @classmethod
    def for_image_encoder(cls, image: ImagePromptEncoder, **config: int | float | str) -> "VideoPromptEncoder":
        """A new temporal network, which adds nothing yet, for a trained image prompt encoder.

        Args:
            image: the trained ``ImagePromptEncoder``.
            **config: ``num_frames``, ``temporal_*`` and ``unconditional``.
        """
        widths = {"feature_dim": image.config.block_out_channels[-1], "projection_dim": image.config.projection_dim}
        return cls(**widths, **config).to(image.device)

    def preprocess(self, videos: Sequence[Video], image: ImagePromptEncoder) -> dict[str, torch.Tensor]:
        """Clips → ``pixel_values`` [B, 3, F, size, size] in [-1, 1]: F frames evenly spread over each whole clip."""
        clips = []
        for video in videos:
            picks = np.linspace(0, len(video.frames) - 1, self.config.num_frames).round().astype(int)
            # Each frame is resized once, however often a short clip shows it.
            shown, order = np.unique(picks, return_inverse=True)
            frames = to_pixel_values([Image.fromarray(video.frames[pick]) for pick in shown], image.config.sample_size)
            clips.append(frames[torch.from_numpy(order)].transpose(0, 1))
        return {"pixel_values": torch.stack(clips)}

    def frames(self, pixel_values: torch.Tensor, image: ImagePromptEncoder) -> dict[str, torch.Tensor]:
        """The frozen part: ``pixel_values`` [B, 3, F, size, size] in [-1, 1] → what ``forward`` takes."""
        condition, features = image(rearrange(pixel_values, "b c f h w -> (b f) c h w"), with_features=True)
        parts = {"features": features, "embeddings": condition.tokens[:, 0]}
        return {name: rearrange(part, "(b f) d -> b f d", b=len(pixel_values)) for name, part in parts.items()}

    @torch.no_grad()
    def encode(self, items: Sequence[Video], image: ImagePromptEncoder | None = None) -> Condition:
        """Clips → Condition [B, 1, D], with the image prompt encoder of the same model.

        Raises:
            ArgumentError: if ``image`` is not given.
        """
        if image is None:
            raise ArgumentError("VideoPromptEncoder.encode: give the image prompt encoder of the same model as image")
        return self(**self.frames(self.preprocess(items, image)["pixel_values"].to(image.device), image))

    @torch.no_grad()
    def read(self, items: Sequence[Video], image: ImagePromptEncoder) -> tuple[Condition, torch.Tensor]:
        """Clips → Condition [B, 1, D] and the mean over their frames of what the tower sees in each, as for pictures."""
        if image.sight is not None:
            seen = self.frames(self.preprocess(items, image)["pixel_values"].to(image.device), image)
            return self(**seen), seen["features"].mean(1)
        bring(image)
        pixel_values = self.preprocess(items, image)["pixel_values"].to(image.device, image.dtype)
        described = image.tower.described(rearrange(pixel_values, "b c f h w -> (b f) c h w"))
        described = rearrange(described, "(b f) d -> b f d", b=len(items))
        features = described[..., : image.projection.in_features]
        embeddings = torch.nn.functional.normalize(image.projection(features), dim=-1)
        return self(features, embeddings), described.mean(1)

    def forward(self, features: torch.Tensor, embeddings: torch.Tensor) -> Condition:
        """``features`` [B, F, feature_dim] and unit ``embeddings`` [B, F, D] of the frames → Condition [B, 1, D].

        With ``frame_tokens`` it is [B, 1 + F, D].
        """
        condition = Condition.from_embedding(embeddings.mean(1) + self.temporal(features))
        return condition.followed_by(embeddings) if self.config.frame_tokens else condition

    def unconditional(self, batch_size: int, image: ImagePromptEncoder | None = None) -> Condition:
        """The condition [B, 1, D] of having no clip, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        grey = Video(np.full((1, 64, 64, 3), 128, dtype=np.uint8), fps=8)
        return self.encode([grey] * batch_size, image)


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
