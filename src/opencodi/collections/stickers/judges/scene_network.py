"""The judge of scenes: which things a picture shows, how two of them stand, where it is, in which mood and style."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from .networks import ResidualBlock


@dataclass
class SceneJudgeOutput:
    """What the judge makes of a batch.

    Attributes:
        things: [B, N] logits of each thing being there, in the order of ``config.things``.
        grounds: [B, G] logits of where it is, in the order of ``config.grounds``.
        moods: [B, M] logits, in the order of ``config.moods``.
        styles: [B, S] logits, in the order of ``config.styles``.
        tokens: [B, L, D], the regions of the picture.
    """

    things: torch.Tensor
    grounds: torch.Tensor
    moods: torch.Tensor
    styles: torch.Tensor
    tokens: torch.Tensor


class SceneJudge(ModelMixin, ConfigMixin):
    """Convolutions, then a transformer over the regions; relations are asked of two named things.

    Args:
        things: what can be in a picture; a thing is what it is called, however it is drawn.
        relations: how a first thing can stand to a second.
        grounds: where a scene can be; the first one is nowhere.
        moods: the first one is none.
        styles: art styles.
        sample_size: height and width of pictures, in pixels.
        block_out_channels: width of each level; the first is at an eighth of the resolution, each further one halves it.
        layers_per_block: residual blocks per level.
        transformer_layers: layers over the regions, and as many that answer a question.
        num_attention_heads: of both.
        norm_num_groups: of every GroupNorm.
    """

    @register_to_config
    def __init__(
        self,
        things: Sequence[str],
        relations: Sequence[str],
        grounds: Sequence[str],
        moods: Sequence[str],
        styles: Sequence[str],
        sample_size: int = 128,
        block_out_channels: Sequence[int] = (96, 192),
        layers_per_block: Sequence[int] = (2, 2),
        transformer_layers: int = 2,
        num_attention_heads: int = 4,
        norm_num_groups: int = 8,
    ):
        super().__init__()
        width = block_out_channels[-1]
        self.patches = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, block_out_channels[0], 3, stride=2, padding=1))
        blocks, channels = [], block_out_channels[0]
        for level, (out, layers) in enumerate(zip(block_out_channels, layers_per_block)):
            for layer in range(layers):
                blocks.append(ResidualBlock(channels, out, 2 if level and not layer else 1, norm_num_groups))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        regions = (sample_size // 8 // 2 ** (len(block_out_channels) - 1)) ** 2
        self.places = nn.Parameter(torch.randn(regions, width) * 0.02)

        def layer(kind: type) -> nn.Module:
            return kind(width, num_attention_heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)

        self.reader = nn.TransformerEncoder(
            layer(nn.TransformerEncoderLayer), transformer_layers, enable_nested_tensor=False
        )
        self.norm = nn.LayerNorm(width)
        self.thing_head = nn.Linear(width, len(things))
        self.ground_head = nn.Linear(width, len(grounds))
        self.mood_head = nn.Linear(width, len(moods))
        self.style_head = nn.Linear(width, len(styles))
        self.asked = nn.Embedding(len(things), width)
        self.roles = nn.Parameter(torch.randn(2, width) * 0.1)
        self.answerer = nn.TransformerDecoder(layer(nn.TransformerDecoderLayer), transformer_layers)
        self.relation_head = nn.Linear(2 * width, len(relations))

    def forward(self, pixel_values: torch.Tensor) -> SceneJudgeOutput:
        """RGB pictures [B, 3, H, W] in [-1, 1] → what they show."""
        hidden = self.blocks(self.patches(pixel_values))
        tokens = self.norm(self.reader(hidden.flatten(2).transpose(1, 2) + self.places))
        mean = tokens.mean(1)
        return SceneJudgeOutput(
            # A thing is there if any region shows it.
            self.thing_head(tokens).float().logsumexp(1) - 4.0,
            self.ground_head(mean),
            self.mood_head(mean),
            self.style_head(mean),
            tokens,
        )

    def relate(self, tokens: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """How ``first`` stands to ``second`` (numbers of things, [B]) in regions [B, L, D] → logits [B, R]."""
        question = self.asked(torch.stack([first, second], 1)) + self.roles
        return self.relation_head(self.answerer(question, tokens).flatten(1))
