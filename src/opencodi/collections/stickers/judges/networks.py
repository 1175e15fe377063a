"""The judges: classifiers of pictures and sounds that have seen real data only, never anything that was generated.

They share no architecture, weights or seed with the model they judge. ``recipes/judges`` trains them; the trained ones
lie in ``weights``, with their accuracies on real validation items, the ceiling of every score (see the README there).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from ....errors import ArgumentError, ConfigurationError
from ....evaluation.speech import SpokenWordJudge, speech_is_installed
from ....latents.mel import MelSpectrogram, prepare_waveform

WEIGHTS = Path(__file__).parent / "weights"
"""The trained judges that come with the package: one folder each, config.json and half-precision safetensors."""


@dataclass
class JudgeOutput:
    """What a judge makes of a batch.

    Attributes:
        features: [B, F], the layer before the logits: the space of Fréchet distances.
        concept_logits: [B, C], in the order of ``judge.config.concepts``.
        style_logits: [B, S], in the order of ``judge.config.styles``; None for sounds.
    """

    features: torch.Tensor
    concept_logits: torch.Tensor
    style_logits: torch.Tensor | None = None


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions after normalisation and SiLU, added to a shortcut (He et al. 2016, full pre-activation)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        nn.init.zeros_(self.conv2.weight)  # a new block is its shortcut
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[B, in_channels, H, W] → [B, out_channels, H / stride, W / stride]."""
        inner = F.silu(self.norm1(hidden))
        return self.shortcut(inner) + self.conv2(F.silu(self.norm2(self.conv1(inner))))


class Trunk(nn.Module):
    """A grid in, one feature vector out: folded patches, residual levels of halving size, and one dense layer.

    The last grid goes whole into the dense layer: in centred drawings, and along a spectrogram's frequencies, where
    something is tells much of what it is, and dense weights cost a CPU next to nothing.

    Raises:
        ConfigurationError: if the size does not divide evenly or the levels disagree.
    """

    def __init__(
        self,
        in_channels: int,
        size: tuple[int, int],
        patch_size: int,
        block_out_channels: Sequence[int],
        layers_per_block: Sequence[int],
        feature_dim: int,
        norm_num_groups: int,
    ):
        super().__init__()
        if len(block_out_channels) != len(layers_per_block) or min(layers_per_block[1:], default=1) < 1:
            raise ConfigurationError("layers_per_block: needs one number per level of block_out_channels, from 1 up")
        reduction = patch_size * 2 ** (len(block_out_channels) - 1)
        if any(side % reduction for side in size):
            raise ConfigurationError(f"size: {size} must be multiples of {reduction} (patch_size and levels)")
        width = block_out_channels[0]
        self.patches = nn.PixelUnshuffle(patch_size)
        self.conv_in = nn.Conv2d(in_channels * patch_size**2, width, kernel_size=3, padding=1)
        self.blocks = nn.ModuleList()
        for level, (channels, layers) in enumerate(zip(block_out_channels, layers_per_block)):
            for layer in range(layers):
                self.blocks.append(ResidualBlock(width, channels, 2 if level and not layer else 1, norm_num_groups))
                width = channels
        self.norm_out = nn.GroupNorm(norm_num_groups, width)
        self.dense = nn.Linear(width * (size[0] // reduction) * (size[1] // reduction), feature_dim)

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        """sample [B, in_channels, height, width] → features [B, feature_dim]."""
        hidden = self.conv_in(self.patches(sample).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            hidden = block(hidden)
        return F.silu(self.dense(F.silu(self.norm_out(hidden)).flatten(1)))


class ImageJudge(ModelMixin, ConfigMixin):
    """What a picture shows, and in which art style it is drawn.

    Args:
        concepts: codes of the concepts it knows, in the order of the logits.
        names: the concepts' names, in their order; may be empty.
        styles: names of the styles, in the order of the logits.
        sample_size: height and width of the pictures in pixels.
        patch_size: pixels folded into channels per side before the first convolution.
        block_out_channels: width of each level.
        layers_per_block: residual blocks of each level.
        feature_dim: F, width of the features.
        norm_num_groups: groups of every GroupNorm; must divide the widths.
        dropout: of the features, while training.
    """

    @register_to_config
    def __init__(
        self,
        concepts: Sequence[str],
        names: Sequence[str],
        styles: Sequence[str],
        sample_size: int = 64,
        patch_size: int = 4,
        block_out_channels: Sequence[int] = (64, 128, 256),
        layers_per_block: Sequence[int] = (0, 1, 1),
        feature_dim: int = 384,
        norm_num_groups: int = 8,
        dropout: float = 0.2,
    ):
        super().__init__()
        self.trunk = Trunk(
            3,
            (sample_size, sample_size),
            patch_size,
            block_out_channels,
            layers_per_block,
            feature_dim,
            norm_num_groups,
        )
        self.drop = nn.Dropout(dropout)
        self.concept = nn.Linear(feature_dim, len(concepts))
        self.style = nn.Linear(feature_dim, len(styles))

    def forward(self, pixel_values: torch.Tensor) -> JudgeOutput:
        """pixel_values [B, 3, sample_size, sample_size] in [-1, 1], over white → what they show."""
        features = self.trunk(pixel_values)
        seen = self.drop(features)
        return JudgeOutput(features, self.concept(seen), self.style(seen))


class AudioJudge(ModelMixin, ConfigMixin):
    """What is heard in a sound (not which word is spoken: that is ``SpokenWordJudge``).

    Args:
        concepts: codes of the concepts it knows, in the order of the logits.
        names: the concepts' names, in their order; may be empty.
        sample_rate: Hz.
        num_samples: samples heard; a multiple of ``hop_length``.
        n_fft: FFT size and window in samples.
        hop_length: samples per mel frame.
        num_mel_bins: mel bins up to half the sample rate.
        waveform_peak: waveforms are scaled to this peak first: loudness is not heard.
        mel_mean: subtracted from the log-mel values before the first layer.
        mel_std: they are divided by this.
        patch_size: spectrogram positions folded into channels per side before the first convolution.
        block_out_channels: width of each level.
        layers_per_block: residual blocks of each level.
        feature_dim: F, width of the features.
        norm_num_groups: groups of every GroupNorm; must divide the widths.
        dropout: of the features, while training.
    """

    @register_to_config
    def __init__(
        self,
        concepts: Sequence[str],
        names: Sequence[str],
        sample_rate: int = 16000,
        num_samples: int = 32768,
        n_fft: int = 1024,
        hop_length: int = 256,
        num_mel_bins: int = 64,
        waveform_peak: float = 0.9,
        mel_mean: float = -7.0,
        mel_std: float = 3.0,
        patch_size: int = 4,
        block_out_channels: Sequence[int] = (48, 96, 160),
        layers_per_block: Sequence[int] = (0, 1, 1),
        feature_dim: int = 128,
        norm_num_groups: int = 8,
        dropout: float = 0.3,
    ):
        super().__init__()
        self.mel_spectrogram = MelSpectrogram(
            sample_rate, n_fft, n_fft, hop_length, num_mel_bins, 0.0, float(sample_rate / 2)
        )
        self.trunk = Trunk(
            1,
            (num_samples // hop_length, num_mel_bins),
            patch_size,
            block_out_channels,
            layers_per_block,
            feature_dim,
            norm_num_groups,
        )
        self.drop = nn.Dropout(dropout)
        self.concept = nn.Linear(feature_dim, len(concepts))

    def mel(self, waveform: torch.Tensor) -> torch.Tensor:
        """``waveform`` [B, num_samples], any loudness → log-mel [B, 1, T, M], float32."""
        return self.mel_spectrogram(prepare_waveform(waveform, self.config.waveform_peak)).unsqueeze(1)

    def forward(self, waveform: torch.Tensor | None = None, mel: torch.Tensor | None = None) -> JudgeOutput:
        """``waveform`` [B, num_samples], or its ``mel`` [B, 1, T, M] made before → what is heard.

        Raises:
            ArgumentError: if not exactly one of the two is given.
        """
        if (waveform is None) == (mel is None):
            raise ArgumentError("AudioJudge: give either waveform or mel")
        mel = self.mel(waveform) if mel is None else mel
        features = self.trunk(((mel - self.config.mel_mean) / self.config.mel_std).to(self.dtype))
        return JudgeOutput(features, self.concept(self.drop(features)))


@dataclass
class Judges:
    """All judges.

    Attributes:
        image: of pictures and frames.
        audio: of sounds.
        words: of spoken names, over all ``names`` of the image judge; None if it has none, or pocketsphinx is not installed.
    """

    image: ImageJudge
    audio: AudioJudge
    words: SpokenWordJudge | None


def load_judges(folder: str | Path | None = None) -> Judges:
    """The trained judges, float32 on the CPU, in evaluation mode.

    Args:
        folder: where ``recipes/judges`` trained them into; by default those that come with the package.

    Raises:
        ConfigurationError: if a judge is missing there.
    """
    place = WEIGHTS if folder is None else Path(folder)
    image, audio = (
        _load(kind, place / name) for name, kind in (("image_judge", ImageJudge), ("audio_judge", AudioJudge))
    )
    names = image.config.names if speech_is_installed() else ()
    words = SpokenWordJudge(names) if names else None
    return Judges(image, audio, words)


def _load(kind: type, folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"{folder} is missing: train it with opencodi train recipes/judges")
    return kind.from_pretrained(folder).float().requires_grad_(False).eval()
