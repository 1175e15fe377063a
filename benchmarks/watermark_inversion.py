"""Whether a mark in the initial latents (Gaussian Shading, Yang et al. 2024) could be found: how much inversion recovers.

Pictures are made from known noise, and the way of the sampler is walked backwards from what they show. Gaussian Shading keeps
its message in the signs of the noise, so the share of recovered signs decides; 50 % is chance. Of 1,024 signs, a detector at a
false-positive rate of 1e-6 needs 57.4 % (4.75 standard deviations), where all pictures of a key share one pattern.
"""

from typing import Any

import numpy as np
import torch

from opencodi import AnyToAnyPipeline
from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.sampling.guidance import Pass, Prompts, guided_prediction

COUNT = 32
ITERATIONS = 4
"""Of the fixed point that undoes one step."""


@torch.no_grad()
def invert(pipe: AnyToAnyPipeline, latents: torch.Tensor, names: list[str] | None) -> torch.Tensor:
    """The noise [B, C, h, w] from which the core would make these latents, with a prompt or (None) without one."""
    call = pipe.rooms.call(["image"], ["text"] if names else [], ())
    denoiser = pipe.rooms.denoisers(["image"], call)["image"]
    condition = pipe.encode_prompt(text=names, outputs="image", extras=()) if names else None
    condition = (
        pipe.encode_prompt(outputs="image", extras=()).repeated(len(latents)) if condition is None else condition
    )
    prompts, passes = Prompts(denoiser, condition, None, latents.dtype), {Pass(True, False): 1.0}
    pipe.scheduler.set_timesteps(pipe.defaults["num_inference_steps"]["image"])
    kept = pipe.scheduler.alphas_cumprod
    now, so_far = latents, torch.tensor(1.0)
    for timestep in pipe.scheduler.timesteps.flip(0):
        alpha = kept[timestep].clamp(min=1e-5)
        before = now
        for _ in range(ITERATIONS):
            velocity = guided_prediction(denoiser, before, timestep.expand(len(now)), prompts, passes)
            noise = alpha.sqrt() * velocity + (1 - alpha).sqrt() * before
            before = alpha.sqrt() * (now - (1 - so_far).sqrt() * noise) / so_far.sqrt() + (1 - alpha).sqrt() * noise
        now, so_far = before, alpha
    return now


def inversion(collection: Collection) -> dict[str, Any]:
    """Way of making → share of signs recovered, and standard deviations above chance, mean per picture."""
    pipe = AnyToAnyPipeline.from_pretrained("stickers")
    pipe.set_progress_bar_config(disable=True)
    codes = np.random.default_rng(0).choice(sorted(collection.concepts), COUNT, replace=False)
    names = [collection.name(str(code)) for code in codes]
    shape = pipe.rooms.latent_shape("image", COUNT, {})
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ways: dict[str, tuple[dict[str, Any], bool, bool]] = {
        "core alone, no guidance, prompt and latents known": ({"extras": (), "guidance_scale": 1.0}, True, True),
        "core alone, no guidance, prompt known, from the picture": ({"extras": (), "guidance_scale": 1.0}, True, False),
        "core alone, from the picture": ({"extras": ()}, False, False),
        "the model as it is used, from the picture": ({}, False, False),
    }
    report = {}
    for way, (options, prompt_known, latents_known) in ways.items():
        kind = "latent" if latents_known else "pil"
        made = pipe(text=names, outputs="image", latents={"image": noise}, output_type=kind, **options).image
        latents = made if latents_known else pipe.rooms.codec("image").encode(made)
        signs = (invert(pipe, latents, names if prompt_known else None) > 0) == (noise > 0)
        share = float(signs.float().mean())
        report[way] = {"signs": share, "z": (2 * share - 1) * signs[0].numel() ** 0.5}
        print(f"{way}: {report[way]}", flush=True)
    return report
