"""Join a picture model and a sound model that never met: alignment adapters learn on pairs, then both generate together.

    python examples/compose/join.py --output runs/composed

The two are Stable Diffusion 3's transformer and Stable Audio's, at a few thousand parameters with random weights, so each first
learns its own toy data alone: pictures and sounds of four things. Both are frozen then, as published weights would be, and only
the adapters learn from pairs. What is printed is how often a picture and a sound that were made together show the same thing:
with the exchange, with partners swapped between the samples (the control), and without any exchange. Chance is 0.25.

``--image unet`` takes a UNet of Stable Diffusion's kind instead. ``docs/compose.md`` says how to do the same with real models.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from diffusers import SD3Transformer2DModel, StableAudioDiTModel, UNet2DConditionModel
from torch import Tensor, nn

from opencodi.denoisers import environment_tokens, joint_forward
from opencodi.denoisers.families import (
    Family,
    StableAudio,
    StableDiffusion,
    StableDiffusion3,
    adapters,
    noised_together,
    pack_prompts,
)
from opencodi.prompts import Condition
from opencodi.sampling import Guidance, sample
from opencodi.training.contrastive import info_nce

THINGS, WIDTH, BATCH = 4, 16, 32
SHAPES = {"image": (4, 8, 8), "audio": (4, 16)}
ADAPTER = {
    "environment_dim": 16,
    "environment_channels": (16, 16),
    "norm_num_groups": 4,
    "num_heads": 2,
    "time_channels": 16,
    "time_embedding_dim": 32,
}


# ------------------------------------------------------------------ two models, and their data


def image_network(kind: str) -> nn.Module:
    """A tiny transformer of Stable Diffusion 3, or a tiny UNet of Stable Diffusion."""
    if kind == "unet":
        return UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 32),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=WIDTH,
            attention_head_dim=2,
            norm_num_groups=4,
        )
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=32,
        pooled_projection_dim=WIDTH,
        pos_embed_max_size=8,
    )


def audio_network() -> nn.Module:
    """A tiny transformer of Stable Audio."""
    return StableAudioDiTModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_attention_heads=2,
        cross_attention_dim=WIDTH,
        cross_attention_input_dim=WIDTH,
        global_states_input_dim=2 * WIDTH,
        time_proj_dim=16,
    )


def templates() -> dict[str, Tensor]:
    """What the latents of each thing look like: [THINGS, ...] of each modality."""
    generator = torch.Generator().manual_seed(5)
    coarse = {"image": (4, 2, 2), "audio": (4, 4)}
    drawn = {name: torch.randn(THINGS, *shape, generator=generator) for name, shape in coarse.items()}
    return {
        "image": F.interpolate(drawn["image"], size=(8, 8)).mul(1.2),
        "audio": F.interpolate(drawn["audio"], size=16).mul(1.2),
    }


def draw(things: Tensor, shown: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Latents of these things, each with noise of its own."""
    return {
        name: each[things] + 0.25 * torch.randn(each[things].shape, generator=generator) for name, each in shown.items()
    }


def recognised(latents: Tensor, shown: Tensor) -> Tensor:
    """The thing [B] that latents are nearest to."""
    return (latents[:, None] - shown[None]).flatten(2).square().sum(2).argmin(1)


# ------------------------------------------------------------------ training


def learn_alone(family: Family, name: str, prompt: Tensor, steps: int, generator: torch.Generator) -> float:
    """Train the network itself on its own data, without prompts or partners; the last loss."""
    network, shown = family.denoiser.denoiser, templates()
    optimizer = torch.optim.AdamW(network.requires_grad_(True).parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        things = torch.randint(0, THINGS, (BATCH,), generator=generator)
        clean = {name: draw(things, shown, generator)[name]}
        noisy, times, targets = noised_together({name: family}, clean, generator)
        loss = F.mse_loss(family.denoiser(noisy[name], times[name], prompt[:1].expand(BATCH, -1, -1)), targets[name])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.requires_grad_(False)
    return loss.item()


def learn_together(families: Mapping[str, Family], prompt: Tensor, steps: int, generator: torch.Generator) -> float:
    """Train the adapters on pairs; nothing else learns. The last loss."""
    shown, denoisers = templates(), {name: family.denoiser for name, family in families.items()}
    learned = [parameter for each in adapters(families).values() for parameter in each.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        things = torch.randint(0, THINGS, (BATCH,), generator=generator)
        noisy, times, targets = noised_together(families, draw(things, shown, generator), generator)
        tokens = environment_tokens(denoisers, noisy, times)
        predicted = joint_forward(denoisers, noisy, times, prompt[:1].expand(BATCH, -1, -1), environments=tokens)
        loss = sum(F.mse_loss(predicted[name], targets[name]) for name in families)
        same = (things[:, None] == things[None]).float()
        loss = loss + 0.1 * info_nce(*(each.mean(1) for each in tokens.values()), 10.0, same)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()


# ------------------------------------------------------------------ sampling together


class Swapped(nn.Module):
    """A denoiser whose partners see what it makes in another sample: the control."""

    def __init__(self, denoiser: nn.Module):
        super().__init__()
        self.denoiser = denoiser

    def __getattr__(self, name: str):
        return super().__getattr__(name) if name == "denoiser" else getattr(self.denoiser, name)

    def forward(self, *arguments, **named):
        return self.denoiser(*arguments, **named)

    def environment(self, sample: Tensor, timesteps: Tensor) -> Tensor:
        return self.denoiser.environment(sample, timesteps).roll(1, 0)


def agreement(families: Mapping[str, Family], prompt: Tensor, how: str, count: int = 96, steps: int = 12) -> float:
    """Share of the samples whose picture and sound show the same thing."""
    generator, shown = torch.Generator().manual_seed(9), templates()
    noise = {name: torch.randn(count, *SHAPES[name], generator=generator) for name in families}
    made = sample(
        {name: Swapped(f.denoiser) if how == "swapped" else f.denoiser for name, f in families.items()},
        {name: family.scheduler for name, family in families.items()},
        noise,
        Condition(prompt[:1].expand(count, -1, -1), torch.ones(count, prompt.shape[1], dtype=torch.bool)),
        num_inference_steps=dict.fromkeys(families, steps),
        guidance=dict.fromkeys(families, Guidance()),
        joint=how != "apart",
        generator=generator,
    )
    seen = [recognised(made[name], shown[name]) for name in families]
    return float((seen[0] == seen[1]).float().mean())


def build(kind: str = "transformer") -> tuple[dict[str, Family], Tensor]:
    """Both families, and a prompt that says nothing."""
    image_tokens = 1 if kind == "unet" else 3  # of Stable Diffusion 3: the pooled embedding, then the tokens
    prompts = {"image": torch.zeros(1, image_tokens, WIDTH), "audio": torch.zeros(1, 3, WIDTH)}
    prompt, slots = pack_prompts(prompts)
    picture = StableDiffusion if kind == "unet" else StableDiffusion3
    return {
        "image": picture(image_network(kind), slots["image"], **ADAPTER),
        "audio": StableAudio(audio_network(), slots["audio"], **ADAPTER),
    }, prompt


def run(kind: str = "transformer", alone: int = 300, together: int = 300) -> tuple[dict[str, Family], dict[str, float]]:
    """Everything; the families and what was measured."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    families, prompt = build(kind)
    started = perf_counter()
    told = {f"{name} alone, loss": learn_alone(f, name, prompt, alone, generator) for name, f in families.items()}
    told["agree before the adapters learn"] = agreement(families, prompt, "exchange")
    told["pairs, loss"] = learn_together(families, prompt, together, generator)
    for how in ("exchange", "swapped", "apart"):
        told[f"agree, {how}"] = agreement(families, prompt, how)
    told["seconds"] = perf_counter() - started
    return families, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", choices=("transformer", "unet"), default="transformer")
    parser.add_argument("--steps", type=int, default=300, help="of each of the three trainings")
    parser.add_argument("--output", type=Path, help="folder for the adapters")
    arguments = parser.parse_args()
    families, told = run(arguments.image, arguments.steps, arguments.steps)
    print(json.dumps({name: round(value, 3) for name, value in told.items()}, indent=1))
    if arguments.output:
        for name, adapter in adapters(families).items():
            adapter.save_pretrained(arguments.output / f"{name}_alignment")


if __name__ == "__main__":
    main()
