"""Fitting prompt maps before the first step: a regression on the mean latent of each prompt.

A diffusion model that is given an estimate of the conditional mean has only the rest to learn (Han et al. 2022, CARD). A step
of the map costs a thousandth of a step of the network. The map sees millions of items in the time in which the network sees
thousands.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ..denoisers import Adapter, ComposedDenoiser
from ..errors import ConfigurationError
from ..extras.motion_map import MotionMap
from ..extras.prompt_map import PromptMap

BATCH_SIZE, LEARNING_RATE = 512, 2e-3


def prompt_map_loss(
    denoiser: ComposedDenoiser, condition: torch.Tensor, latents: torch.Tensor, manner: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean squared error between latents [B, ...] and the maps of condition embeddings [B, D] and attributes ``manner`` [B, M].

    For clips [B, C, F, H, W], the motion map is added to the prompt map, which is the same for all frames.
    """
    embedding, size = condition * denoiser.config.context_scale, latents.shape[-2:]
    prompt_map = attached(denoiser, PromptMap)
    if latents.ndim < 5:
        return F.mse_loss(prompt_map.draw(embedding, latents.shape[2:], manner).float(), latents)
    still = prompt_map.draw(embedding, size, manner)[:, None]
    drawn = still + attached(denoiser, MotionMap).draw(embedding, latents.shape[2], size)
    return F.mse_loss(drawn.transpose(1, 2).float(), latents)


def fit_prompt_map(
    denoiser: ComposedDenoiser,
    draw: Callable[[int], tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]],
    steps: int,
) -> list[float]:
    """Fit the map of ``denoiser`` alone (for clips the motion map), with AdamW and a cosine schedule.

    Args:
        denoiser: a network with a prompt map, and with a motion map if it is for clips.
        draw: number of items -> (condition embeddings [B, D], latents [B, ...], attributes [B, M] or None).
        steps: batches of ``BATCH_SIZE`` items.

    Returns:
        the loss of every step.

    Raises:
        ConfigurationError: if the network lacks such a map, or if its size is not that of the latents.
    """
    wanted = tuple(draw(1)[1].shape[1:])
    moving = len(wanted) == 4
    prompt_map = attached(denoiser, PromptMap)
    drawn, wanted = tuple(prompt_map.shape), (wanted[0], *wanted[2:]) if moving else wanted
    if drawn != wanted:
        raise ConfigurationError(
            f"size: the prompt map is {list(drawn[1:])} and the latents {list(wanted[1:])}; make them equal"
        )
    fitted = attached(denoiser, MotionMap) if moving else prompt_map
    drawing = [p for name, p in fitted.named_parameters() if name.startswith("linear_")]
    optimizer = torch.optim.AdamW(drawing, lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        loss = prompt_map_loss(denoiser, *draw(BATCH_SIZE))
        losses.append(loss.item())
        for parameter, gradient in zip(drawing, torch.autograd.grad(loss, drawing)):
            parameter.grad = gradient
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
    return losses


def attached(denoiser: ComposedDenoiser, kind: type[Adapter]) -> Adapter:
    """The map of that kind among a denoiser's extras.

    Raises:
        ConfigurationError: if it has none.
    """
    found = next((each for each in denoiser.extras if isinstance(each, kind)), None)
    if found is None:
        raise ConfigurationError(
            f"prompt_map_steps: the denoiser has no {kind.__name__}; name one in adapters or reads, or make this 0"
        )
    return found
