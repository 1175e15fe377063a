"""The peer's models, from the package multivae: MVTCAE and MMVAE+ over pictures, log-mel spectrograms and names.

Importable only in the peer's environment (see README.md).
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

_register_fake = torch.library.register_fake


def _register_all_but_torchvision(name: str, *arguments, **options):
    """torchvision's operators do not load beside the CPU build of torch; multivae's models need none of them."""
    if isinstance(name, str) and name.startswith("torchvision::"):
        return lambda function: function
    return _register_fake(name, *arguments, **options)


torch.library.register_fake = _register_all_but_torchvision

from multivae.data.datasets import MultimodalBaseDataset  # noqa: E402
from multivae.models import MVTCAE, MMVAEPlus, MMVAEPlusConfig, MVTCAEConfig  # noqa: E402
from multivae.models.base import BaseMultiVAE  # noqa: E402
from multivae.samplers import GaussianMixtureSampler, GaussianMixtureSamplerConfig  # noqa: E402
from pythae.models.base.base_utils import ModelOutput  # noqa: E402
from pythae.models.nn.base_architectures import BaseDecoder, BaseEncoder  # noqa: E402

__all__ = ["MODELS", "GaussianMixtureSampler", "GaussianMixtureSamplerConfig", "MultimodalBaseDataset", "build"]

MODELS = ("mvtcae", "mmvae+")
WIDTHS = {"image": (32, 64, 128, 256), "audio": (32, 64, 128, 256)}
"""Channels of the levels, each of half the size."""
HIDDEN = 512
SCALES = {"image": 0.25, "audio": 0.5}
"""Of the Laplace distributions of pixels in [0, 1] and of normalised log-mel values."""


def _norm(channels: int) -> nn.Module:
    return nn.Sequential(nn.GroupNorm(8, channels), nn.SiLU())


class Encoder(BaseEncoder):
    """A trunk, then mean and logarithm of the variance of the shared latent and, if there is one, of the private latent."""

    def __init__(self, trunk: nn.Module, features: int, latent_dim: int, private_dim: int):
        super().__init__()
        self.latent_dim, self.style_dim = latent_dim, private_dim
        self.trunk = trunk
        self.sizes = [latent_dim, latent_dim, private_dim, private_dim]
        self.head = nn.Linear(features, sum(self.sizes))

    def forward(self, x: torch.Tensor) -> ModelOutput:
        """x [B, …] → embedding and log_covariance [B, latent_dim], style_… [B, private_dim]."""
        mean, log_variance, private_mean, private_log_variance = self.head(self.trunk(x)).split(self.sizes, dim=1)
        found = ModelOutput(embedding=mean, log_covariance=log_variance)
        if self.style_dim:
            found["style_embedding"], found["style_log_covariance"] = private_mean, private_log_variance
        return found


class Decoder(BaseDecoder):
    """A network from latents to a modality."""

    def __init__(self, network: nn.Module, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        self.network = network

    def forward(self, z: torch.Tensor) -> ModelOutput:
        """z [B, latent_dim] → reconstruction [B, …]."""
        return ModelOutput(reconstruction=self.network(z))


def grid_trunk(shape: Sequence[int], widths: Sequence[int]) -> nn.Module:
    """[B, C, H, W] → [B, HIDDEN]."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    for before, after in zip((channels, *widths), widths):
        layers += [nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1), _norm(after)]
    cells = (height >> len(widths)) * (width >> len(widths))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * cells, HIDDEN), nn.SiLU())


def grid_decoder(shape: Sequence[int], widths: Sequence[int], latent_dim: int, last: nn.Module) -> nn.Module:
    """[B, latent_dim] → [B, C, H, W]."""
    channels, height, width = shape
    first = (widths[-1], height >> len(widths), width >> len(widths))
    layers: list[nn.Module] = [nn.Linear(latent_dim, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, math.prod(first))]
    layers += [nn.Unflatten(1, first), _norm(widths[-1])]
    for before, after in zip(widths[::-1], widths[-2::-1]):
        layers += [nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1), _norm(after)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[0], channels, kernel_size=4, stride=2, padding=1), last)


def build(
    name: str, shapes: dict[str, tuple[int, ...]], latent_dim: int, private_dim: int, alpha: float
) -> BaseMultiVAE:
    """An untrained model.

    Args:
        name: one of ``MODELS``.
        shapes: ``image`` (3, H, W), ``audio`` (1, T, M) and ``text`` (number of names,).
        latent_dim: of what the modalities share.
        private_dim: of what each has for itself; MMVAE+ only.
        alpha: weight of the posteriors of single modalities, from which the others are made; MVTCAE only. multivae's
            experiments take 5/6, its default is 0.1.
    """
    private = private_dim if name == "mmvae+" else 0
    whole, names = latent_dim + private, shapes["text"][0]
    trunks = {kind: grid_trunk(shapes[kind], WIDTHS[kind]) for kind in WIDTHS}
    trunks["text"] = nn.Sequential(nn.Linear(names, HIDDEN), nn.SiLU())
    networks = {
        kind: grid_decoder(shapes[kind], WIDTHS[kind], whole, nn.Sigmoid() if kind == "image" else nn.Identity())
        for kind in WIDTHS
    }
    networks["text"] = nn.Sequential(nn.Linear(whole, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, names))
    shared = {
        "n_modalities": len(shapes),
        "latent_dim": latent_dim,
        "input_dims": shapes,
        "uses_likelihood_rescaling": True,  # else one name weighs nothing beside 12,288 pixel values
        "decoders_dist": {"image": "laplace", "audio": "laplace", "text": "categorical"},
        "decoder_dist_params": {kind: {"scale": scale} for kind, scale in SCALES.items()},
    }
    encoders = {kind: Encoder(trunks[kind], HIDDEN, latent_dim, private) for kind in shapes}
    decoders = {kind: Decoder(networks[kind], whole) for kind in shapes}
    if name == "mvtcae":
        return MVTCAE(MVTCAEConfig(**shared, alpha=alpha, beta=2.5), encoders, decoders)
    settings = {"K": 1, "loss": "iwae_looser", "prior_and_posterior_dist": "normal_with_softplus", "beta": 2.5}
    return MMVAEPlus(MMVAEPlusConfig(**shared, **settings, modalities_specific_dim=private), encoders, decoders)
