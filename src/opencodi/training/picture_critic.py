"""A critic that learns beside a decoder to tell pictures from reconstructions, patch by patch (Isola et al. 2017)."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

SLOPE = 0.2


class PictureCritic(nn.Module):
    """Convolutions from pixels to a verdict on every patch of about 30 pixels.

    Args:
        image_channels: of the pictures.
        width: of the first convolution; deeper ones have two and three times as many channels.
    """

    def __init__(self, image_channels: int = 4, width: int = 48):
        super().__init__()
        widths = (width, 2 * width, 3 * width)
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(4 * image_channels, widths[0], 3, padding=1),
                nn.Conv2d(widths[0], widths[1], 4, stride=2, padding=1),
                nn.Conv2d(widths[1], widths[2], 4, stride=2, padding=1),
                nn.Conv2d(widths[2], 1, 3, padding=1),
            ]
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for channels in widths[1:])

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] → verdicts [B, 1, H / 8, W / 8]: high for what looks real."""
        hidden = F.leaky_relu(self.layers[0](F.pixel_unshuffle(channels, 2)), SLOPE)
        for layer, norm in zip(self.layers[1:3], self.norms):
            hidden = F.leaky_relu(norm(layer(hidden)), SLOPE)
        return self.layers[3](hidden)


def critic_losses(critic: PictureCritic, made: torch.Tensor, real: torch.Tensor) -> dict[str, torch.Tensor]:
    """Hinge losses of both sides, to be minimised together by one optimizer.

    The critic learns from ``critic`` alone and the maker of ``made`` from ``adversarial`` alone: each side's weights are
    constants in the loss of the other.

    made, real: [B, C, H, W]; gradients flow into ``made``.
    """
    learning = F.relu(1 + critic(made.detach()).float()).mean() + F.relu(1 - critic(real).float()).mean()
    fixed = {name: weight.detach() for name, weight in critic.named_parameters()}
    return {"critic": learning, "adversarial": -functional_call(critic, fixed, made).float().mean()}
