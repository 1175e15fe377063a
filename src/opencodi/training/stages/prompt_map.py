"""The prompt map learns first, by regression: what a prompt's latents look like on average.

A diffusion model that is given an estimate of the conditional mean has only the rest to learn (Han et al. 2022, CARD). The
map is a thousandth of the network's work, so it can see millions of items in the minutes that the network needs for
thousands.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ...denoisers.topology import Denoiser
from ...errors import ConfigurationError

BATCH_SIZE, LEARNING_RATE = 512, 2e-3


def prompt_map_loss(denoiser: Denoiser, condition: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the map drawn for condition embeddings [B, D] against the latents [B, ...]."""
    drawn = denoiser.prompt_map.draw(condition * denoiser.config.context_scale, latents.shape[2:])
    return F.mse_loss(drawn.float(), latents)


def fit_prompt_map(
    denoiser: Denoiser, draw: Callable[[int], tuple[torch.Tensor, torch.Tensor]], steps: int
) -> list[float]:
    """Fit the map of ``denoiser`` alone, with AdamW and a cosine schedule.

    Args:
        denoiser: a network with a prompt map.
        draw: number of items -> (condition embeddings [B, D], latents [B, ...]).
        steps: batches of ``BATCH_SIZE`` items.

    Returns:
        the loss of every step.

    Raises:
        ConfigurationError: if the network has no prompt map, or one of another size than its latents.
    """
    if denoiser.prompt_map is None:
        raise ConfigurationError("prompt_map_steps: the network has no prompt map; set prompt_map_dim or leave it 0")
    drawn, wanted = tuple(denoiser.prompt_map.shape), tuple(draw(1)[1].shape[1:])
    if drawn != wanted:
        raise ConfigurationError(
            f"prompt_map_size: the map is {list(drawn[1:])} and the latents {list(wanted[1:])}; make them equal"
        )
    drawing = [*denoiser.prompt_map.linear_1.parameters(), *denoiser.prompt_map.linear_2.parameters()]
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
