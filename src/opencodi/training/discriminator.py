"""A judge that learns beside a vocoder to tell recordings from what it makes: it hears what spectral distances average away."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

SLOPE = 0.1


class SpectrogramDiscriminator(nn.Module):
    """Convolutions over log-magnitude spectrograms of several resolutions (UnivNet, Jang et al. 2021).

    Args:
        resolutions: (FFT size, hop) in samples of each spectrogram.
        channels: width of the convolutions.
    """

    def __init__(self, resolutions: Sequence[tuple[int, int]], channels: int = 16):
        super().__init__()
        self.resolutions = tuple(resolutions)
        self.stacks = nn.ModuleList(self._stack(channels) for _ in self.resolutions)

    def _stack(self, channels: int) -> nn.ModuleList:
        """Frequencies are halved three times; time keeps its resolution."""
        layers = [nn.Conv2d(1, channels, (9, 3), padding=(4, 1))]
        layers += [nn.Conv2d(channels, channels, (9, 3), stride=(2, 1), padding=(4, 1)) for _ in range(3)]
        return nn.ModuleList([*layers, nn.Conv2d(channels, 1, 3, padding=1)])

    def forward(self, waveform: torch.Tensor) -> list[list[torch.Tensor]]:
        """waveform [B, S] → for each resolution the features of every layer; the last one [B, 1, F, T] is the verdict."""
        found = []
        for (n_fft, hop), stack in zip(self.resolutions, self.stacks):
            window = torch.hann_window(n_fft, device=waveform.device)
            spectrum = torch.stft(waveform.float(), n_fft, hop, window=window, return_complex=True)
            hidden, features = spectrum.abs().clamp_min(1e-4).log().unsqueeze(1), []
            for layer in stack[:-1]:
                hidden = F.leaky_relu(layer(hidden), SLOPE)
                features.append(hidden)
            found.append([*features, stack[-1](hidden)])
        return found


def adversarial_losses(
    discriminator: SpectrogramDiscriminator, made: torch.Tensor, real: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Hinge losses of both sides and the distance of features (Kumar et al. 2019), all to be minimised together.

    The discriminator learns from ``discriminator`` alone and the maker of ``made`` from the other two: each side's weights
    are constants in the losses of the other, so that one optimizer can serve both.

    Args:
        discriminator: the network.
        made: waveforms [B, S] with gradients.
        real: waveforms [B, S].

    Returns:
        ``discriminator``, ``adversarial`` and ``feature_matching``.
    """
    on_made, on_real = discriminator(made.detach()), discriminator(real)
    learning = [F.relu(1 + a[-1]).mean() + F.relu(1 - b[-1]).mean() for a, b in zip(on_made, on_real)]
    fixed = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    heard = functional_call(discriminator, fixed, made)
    fooling = [-features[-1].mean() for features in heard]
    pairs = [pair for ours, theirs in zip(heard, on_real) for pair in zip(ours[:-1], theirs[:-1])]
    matching = [(a - b.detach()).abs().mean() for a, b in pairs]
    return {
        "discriminator": torch.stack(learning).mean(),
        "adversarial": torch.stack(fooling).mean(),
        "feature_matching": torch.stack(matching).mean(),
    }
