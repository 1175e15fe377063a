"""What a denoiser is asked to predict, as its scheduler's config says: the noise, the velocity or the flow."""

from collections.abc import Mapping
from typing import Any

import diffusers
import torch
import torch.nn.functional as F

from ..errors import ConfigurationError
from ..sampling.noise import share_frame_noise


def make_scheduler(values: Mapping[str, Any], stored: Mapping[str, Any]) -> Any:
    """A diffusers scheduler from ``{"class": name, …its config}``.

    Args:
        values: from the recipe.
        stored: the config of the scheduler that the model folder has, which serves all denoisers; empty: none yet.

    Raises:
        ConfigurationError: if diffusers has no scheduler of that name, or the stored one has other values.
    """
    kind = getattr(diffusers, str(values.get("class")), None)
    if kind is None or not issubclass(kind, diffusers.SchedulerMixin):
        raise ConfigurationError(
            f"scheduler: diffusers has no scheduler {values.get('class')!r}; name one such as DDIMScheduler"
        )
    scheduler = kind(**{key: value for key, value in values.items() if key != "class"})
    for key, value in scheduler.config.items():
        if not key.startswith("_") and key in stored and stored[key] != value:
            raise ConfigurationError(
                f"scheduler: {key} is {value} in the recipe and {stored[key]} in the model folder, whose scheduler serves all "
                "denoisers; make them equal, or remove its folder 'scheduler' and train every denoiser again"
            )
    return scheduler


def draw_timesteps(scheduler: Any, count: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Uniform timesteps [count]: whole ones of a diffusion scheduler, fractional ones of a flow-matching scheduler."""
    total = scheduler.config.num_train_timesteps
    if is_flow(scheduler):
        return torch.rand(count, generator=generator, device=device) * total
    return torch.randint(0, total, (count,), generator=generator, device=device)


def draw_within(
    scheduler: Any,
    count: int,
    generator: torch.Generator,
    device: torch.device,
    window: tuple[float, float],
    share: float,
) -> torch.Tensor:
    """Timesteps [count], of which ``share`` lie in ``window`` (of ``num_train_timesteps``) and the others anywhere."""
    times = draw_timesteps(scheduler, count, generator, device)
    if not share:
        return times
    total, (low, high) = scheduler.config.num_train_timesteps, window
    inside = low + (high - low) * torch.rand(count, generator=generator, device=device)
    inside = inside if is_flow(scheduler) else inside.round().clamp(0, total - 1).long()
    return torch.where(torch.rand(count, generator=generator, device=device) < share, inside, times)


def draw_noise(shape: tuple[int, ...], denoiser: Any, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    """Standard normal noise; the frames of a clip [B, C, F, H, W] share as much of it as its temporal adapter says."""
    noise = torch.randn(shape, generator=generator, device=device)
    share = denoiser.shared_frame_noise
    if not share or len(shape) != 5:
        return noise
    common = torch.randn(noise[:, :, :1].shape, generator=generator, device=device)
    return share_frame_noise(noise, common, share)


def blurred(embeddings: torch.Tensor, most: float, generator: torch.Generator) -> torch.Tensor:
    """Unit embeddings [..., D] with noise of a standard deviation drawn for each from [0, ``most``], normalised again."""
    noise = torch.randn(embeddings.shape, generator=generator, device=embeddings.device)
    strength = most * torch.rand((*embeddings.shape[:-1], 1), generator=generator, device=embeddings.device)
    return F.normalize(embeddings + strength * noise, dim=-1)


def noised(
    scheduler: Any, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy latents and the target to predict from them, both of the shape of ``latents`` [B, ...]; timesteps [B].

    Rectified flow (Liu et al. 2022) mixes linearly and predicts ``noise - latents``; the others follow the scheduler's
    ``add_noise`` and its ``prediction_type``: epsilon (the published model, SPEC §5), v_prediction or sample.
    """
    if is_flow(scheduler):
        sigma = (timesteps / scheduler.config.num_train_timesteps).view(-1, *[1] * (latents.ndim - 1)).to(latents.dtype)
        return (1 - sigma) * latents + sigma * noise, noise - latents
    targets = {
        "epsilon": lambda: noise,
        "sample": lambda: latents,
        "v_prediction": lambda: scheduler.get_velocity(latents, noise, timesteps),
    }
    return scheduler.add_noise(latents, noise, timesteps), targets[scheduler.config.prediction_type]()


def is_flow(scheduler: Any) -> bool:
    """Whether a scheduler integrates a flow from noise to data rather than reversing a diffusion."""
    return type(scheduler).__name__.startswith("FlowMatch")
