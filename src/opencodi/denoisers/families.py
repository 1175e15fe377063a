"""Diffusers of today in joint generation: what each family needs beside an alignment adapter is its call and its schedule.

A family is one small class. It says where the adapter goes, how the network is called, how latents are made noisy for
training, and which scheduler samples. ``docs/compose.md`` joins a picture and a sound model of different families.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers import DDIMScheduler, EDMDPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from .alignment import AlignmentAdapter
from .composed import ComposedDenoiser
from .context import Context


@dataclass(frozen=True)
class Slot:
    """Where the prompt of one model is among the packed prompts of all.

    Attributes:
        start, stop: its tokens.
        width: size of each.
    """

    start: int = 0
    stop: int = 1
    width: int = 1

    def of(self, tokens: Tensor) -> Tensor:
        """Packed tokens [B, N, D] → its own [B, stop - start, width]."""
        return tokens[:, self.start : self.stop, : self.width]


def pack_prompts(prompts: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Slot]]:
    """The prompts of several models, each from its own text encoders, as one.

    Args:
        prompts: modality → tokens [B, n, d], as the model's own pipeline encodes them.

    Returns:
        Tokens [B, sum of n, largest d], padded with zeros, and where each model's are.
    """
    widest = max(tokens.shape[2] for tokens in prompts.values())
    slots, start = {}, 0
    for modality, tokens in prompts.items():
        slots[modality] = Slot(start, start + tokens.shape[1], tokens.shape[2])
        start += tokens.shape[1]
    padded = [nn.functional.pad(tokens, (0, widest - tokens.shape[2])) for tokens in prompts.values()]
    return torch.cat(padded, dim=1), slots


class Family:
    """A network of some family in joint generation. It is frozen; only the adapter learns.

    Args:
        network: of the family's class, such as ``from_pretrained`` returns it.
        slot: of its prompt, see ``pack_prompts``.
        scheduler: that samples; the family's usual one by default.
        **adapter: further arguments of ``AlignmentAdapter``; ``environment_dim`` must be the same for all partners.

    Attributes:
        denoiser: the network with a new adapter, for ``opencodi.denoisers.joint_forward`` and ``opencodi.sampling.sample``.
    """

    layout: ClassVar[Mapping[str, Any]] = {}
    """Arguments of the adapter that hold for the family."""

    def __init__(self, network: nn.Module, slot: Slot, scheduler: Any = None, **adapter: Any):
        self.slot = slot
        self.scheduler = self.usual_scheduler() if scheduler is None else scheduler
        network.requires_grad_(False).eval()
        given = {"in_channels": network.config.in_channels, **self.layout, **adapter}
        made = AlignmentAdapter.for_blocks(network, self.blocks(network), **given)
        self.denoiser = ComposedDenoiser(network, alignment=made.to(network.device), forward=self.call)

    def blocks(self, network: nn.Module) -> dict[str, int]:
        """Where the adapter's sub-layers go: module → width of its features."""
        raise TypeError(f"{type(self).__name__} names no blocks")

    def usual_scheduler(self) -> Any:
        """The family's scheduler."""
        raise TypeError(f"{type(self).__name__} has no scheduler")

    def call(self, network: nn.Module, sample: Tensor, timesteps: Tensor, prompt: Context) -> Tensor:
        """The network's prediction for noisy latents ``sample`` at ``timesteps`` [B]."""
        raise TypeError(f"{type(self).__name__} calls nothing")

    def noised(self, latents: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Clean latents and noise [B, ...] at noise levels [B] from 0 to 1 → (noisy latents, timesteps [B], target)."""
        raise TypeError(f"{type(self).__name__} has no schedule")


class StableDiffusion(Family):
    """Stable Diffusion 1 and 2, and other ``UNet2DConditionModel`` that predict the noise.

    Its prompt is what its text encoder gives, [B, 77, 768] or [B, 77, 1024].
    """

    layout = {"layout": "map", "latents": "map"}  # noqa: RUF012

    def blocks(self, network: nn.Module) -> dict[str, int]:
        """After each level on the way down, where the skips of the way up start, and after the middle."""
        widths = network.config.block_out_channels
        found = {
            f"{name}.resnets.{len(block.resnets) - 1}": width
            for name, block, width in zip((f"down_blocks.{i}" for i in range(len(widths))), network.down_blocks, widths)
        }
        return found | {"mid_block": widths[-1]}

    def usual_scheduler(self) -> DDIMScheduler:
        """The one that Stable Diffusion was trained with."""
        return DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )

    def call(self, network: nn.Module, sample: Tensor, timesteps: Tensor, prompt: Context) -> Tensor:
        """The predicted noise [B, C, H, W]."""
        return network(sample, timesteps, encoder_hidden_states=self.slot.of(prompt.tokens)).sample

    def noised(self, latents: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """At the timestep that the level is the share of; the target is the noise, or the velocity."""
        timesteps = (level * (self.scheduler.config.num_train_timesteps - 1)).long()
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        velocity = self.scheduler.config.prediction_type == "v_prediction"
        return noisy, timesteps, self.scheduler.get_velocity(latents, noise, timesteps) if velocity else noise


class StableDiffusion3(Family):
    """Stable Diffusion 3 and 3.5: ``SD3Transformer2DModel``, a flow.

    The first token of its prompt is the pooled embedding [B, 2048], padded to the width of the others.
    """

    layout = {"layout": "tokens", "latents": "map", "output_index": 1}  # noqa: RUF012

    def blocks(self, network: nn.Module) -> dict[str, int]:
        """After every other transformer block but the last, which returns no prompt."""
        width = network.inner_dim
        return {f"transformer_blocks.{place}": width for place in range(0, len(network.transformer_blocks) - 1, 2)}

    def usual_scheduler(self) -> FlowMatchEulerDiscreteScheduler:
        """The one of Stable Diffusion 3."""
        return FlowMatchEulerDiscreteScheduler(shift=3.0)

    def call(self, network: nn.Module, sample: Tensor, timesteps: Tensor, prompt: Context) -> Tensor:
        """The predicted flow [B, C, H, W]."""
        tokens = self.slot.of(prompt.tokens)
        pooled = tokens[:, 0, : network.config.pooled_projection_dim]
        return network(sample, tokens[:, 1:], pooled_projections=pooled, timestep=timesteps).sample

    def noised(self, latents: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mixed linearly; the target leads from the latents to the noise."""
        share = level.view(-1, *[1] * (latents.ndim - 1))
        return (1 - share) * latents + share * noise, 1000 * level, noise - latents


class StableAudio(Family):
    """Stable Audio Open: ``StableAudioDiTModel``, whose time runs from 0 to 1.

    Its prompt is what its pipeline projects: the tokens of the text, then those of the start and the end in seconds.

    Args:
        network, slot, scheduler: as for every family.
        seconds_per_latent: from one latent to the next; 2048 samples at 44.1 kHz in Stable Audio Open.
        **adapter: as for every family.
    """

    layout = {"layout": "tokens", "latents": "sequence", "timestep_scale": 1000.0}  # noqa: RUF012

    def __init__(
        self,
        network: nn.Module,
        slot: Slot,
        scheduler: Any = None,
        seconds_per_latent: float = 2048 / 44_100,
        **adapter: Any,
    ):
        super().__init__(network, slot, scheduler, seconds_per_row=seconds_per_latent, **adapter)

    def blocks(self, network: nn.Module) -> dict[str, int]:
        """After every other transformer block."""
        config = network.config
        width = config.num_attention_heads * config.attention_head_dim
        return {f"transformer_blocks.{place}": width for place in range(0, len(network.transformer_blocks), 2)}

    def usual_scheduler(self) -> "CosineScheduler":
        """Like that of Stable Audio Open, but without its noise in between, which needs ``torchsde``."""
        return CosineScheduler(sigma_min=0.3, sigma_max=500, sigma_data=1.0, prediction_type="v_prediction")

    def call(self, network: nn.Module, sample: Tensor, timesteps: Tensor, prompt: Context) -> Tensor:
        """The predicted velocity [B, C, T]. Start and end, the last two tokens, go before the sequence, too."""
        tokens = self.slot.of(prompt.tokens)
        times = tokens[:, -2:].flatten(1)[:, None]
        rotary = rotary_embedding(network.config.attention_head_dim // 2, sample.shape[2] + 1, sample.device)
        return network(
            sample, timesteps, encoder_hidden_states=tokens, global_hidden_states=times, rotary_embedding=rotary
        ).sample

    def noised(self, latents: Tensor, noise: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Along the cosine; the target is the velocity."""
        angle = (level * math.pi / 2).view(-1, *[1] * (latents.ndim - 1))
        noisy = angle.cos() * latents + angle.sin() * noise
        return noisy, level, angle.cos() * noise - angle.sin() * latents


class CosineScheduler(EDMDPMSolverMultistepScheduler):
    """The solver for networks whose time is the angle along a cosine, from 0 to 1."""

    def precondition_noise(self, sigma: float | Tensor) -> Tensor:
        """Noise of standard deviation sigma beside data of one → its time."""
        return torch.as_tensor(sigma).atan() / (math.pi / 2)


def rotary_embedding(width: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [length, width] of the positions, as Stable Audio's own pipeline makes them."""
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    cosines, sines = get_1d_rotary_pos_embed(width, length, use_real=True, repeat_interleave_real=False)
    return cosines.to(device), sines.to(device)


def noised_together(
    families: Mapping[str, Family], latents: Mapping[str, Tensor], generator: torch.Generator, independent: float = 0.3
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Noisy latents, timesteps [B] and targets of every modality of a batch of pairs.

    Args:
        families: of each modality.
        latents: clean, [B, ...] each; those at one place belong together.
        generator: of the noise.
        independent: share of the pairs whose noise levels are drawn apart, so that each also meets partners that are further.
    """
    device = next(iter(latents.values())).device
    count = len(next(iter(latents.values())))
    common = torch.rand(count, generator=generator, device=device)
    apart = torch.rand(count, generator=generator, device=device) < independent
    noisy, times, targets = {}, {}, {}
    for modality, clean in latents.items():
        own = torch.rand(count, generator=generator, device=device)
        noise = torch.randn(clean.shape, generator=generator, device=device)
        level = torch.where(apart, own, common).clamp(0.001, 0.999)
        noisy[modality], times[modality], targets[modality] = families[modality].noised(clean, noise, level)
    return noisy, times, targets


def adapters(families: Mapping[str, Family], names: Sequence[str] | None = None) -> dict[str, AlignmentAdapter]:
    """The alignment adapters of these families, by modality: what learns and is saved."""
    return {name: families[name].denoiser.alignment for name in names or families}
