"""The prompt map learns first, by regression: what a prompt's latents look like on average.

A diffusion model that is given an estimate of the conditional mean has only the rest to learn (Han et al. 2022, CARD). The
map is a thousandth of the network's work, so it can see millions of items in the minutes that the network needs for
thousands.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ..denoisers.topology import Denoiser
from ..errors import ConfigurationError

BATCH_SIZE, LEARNING_RATE = 512, 2e-3


def prompt_map_loss(
    denoiser: Denoiser, condition: torch.Tensor, latents: torch.Tensor, manner: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean squared error of what is drawn for condition embeddings [B, D] and manners [B, M] against the latents [B, ...].

    For clips [B, C, F, H, W] the motion map adds to the prompt map, which is of all frames alike.
    """
    embedding, size = condition * denoiser.config.context_scale, latents.shape[-2:]
    if latents.ndim < 5:
        return F.mse_loss(denoiser.prompt_map.draw(embedding, latents.shape[2:], manner).float(), latents)
    still = denoiser.prompt_map.draw(embedding, size, manner)[:, None]
    drawn = still + denoiser.motion_map.draw(embedding, latents.shape[2], size)
    return F.mse_loss(drawn.transpose(1, 2).float(), latents)


def fit_prompt_map(
    denoiser: Denoiser, draw: Callable[[int], tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]], steps: int
) -> list[float]:
    """Fit the map of ``denoiser`` alone (for clips the motion map), with AdamW and a cosine schedule.

    Args:
        denoiser: a network with a prompt map, and with a motion map if it is for clips.
        draw: number of items -> (condition embeddings [B, D], latents [B, ...], manners [B, M] or None).
        steps: batches of ``BATCH_SIZE`` items.

    Returns:
        the loss of every step.

    Raises:
        ConfigurationError: if the network lacks such a map, or has one of another size than its latents.
    """
    wanted = tuple(draw(1)[1].shape[1:])
    moving = len(wanted) == 4
    for name, needed in (("prompt_map", True), ("motion_map", moving)):
        if needed and getattr(denoiser, name) is None:
            raise ConfigurationError(f"prompt_map_steps: the network has no {name}; set {name}_dim or leave it 0")
    drawn, wanted = tuple(denoiser.prompt_map.shape), (wanted[0], *wanted[2:]) if moving else wanted
    if drawn != wanted:
        raise ConfigurationError(
            f"prompt_map_size: the map is {list(drawn[1:])} and the latents {list(wanted[1:])}; make them equal"
        )
    fitted = denoiser.motion_map if moving else denoiser.prompt_map
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
