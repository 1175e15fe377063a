"""Print seconds per denoising step and peak memory of the networks at the published size, ours and as published.

    python benchmarks/full_size.py --case image,audio,text,image+audio,video8 --dtype fp32,bf16 --threads 1 --steps 3

Every row is measured twice on this machine, each time in a fresh process with the same threads: with our sampler, and with
the same networks computing what the published code computes (``published_steps``). The published code's own times, taken
elsewhere, stand beside them. One step is one sample with guidance, so a batch of 2, through each network once, environment
encoders included. Each process builds only the networks, and of these only the parts, that its case needs; weights
are hashed from their names (``opencodi.convert.hash_weights``; any would take the same time) or random. Ratios are of seconds
of computing, which other programs on the machine change less than those of the clock.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from measuring import in_fresh_process, peak_bytes, print_table, task

from opencodi.convert.published import CONFIGS

CASES = {
    "image": {"image": (4, 32, 32)},
    "audio": {"audio": (8, 256, 16)},
    "text": {"text": (768,)},
    "image+audio": {"image": (4, 32, 32), "audio": (8, 256, 16)},
    "video8": {"video": (4, 8, 32, 32)},
}
"""Case → modality → shape of one latent: 256 pixels, 10.24 seconds, 8 frames."""

REFERENCE = {
    "text": {"wall": 0.92, "cpu": 0.91, "peak": 8.43},
    "image": {"wall": 4.95, "cpu": 4.93, "peak": 9.47},
    "audio": {"wall": 14.69, "cpu": 13.75, "peak": 11.49},
    "image+audio": {"wall": 42.62, "cpu": 34.97, "peak": 11.62},
    "video8": {"wall": 61.7, "cpu": 44.09, "peak": 11.62},
}
"""The published code: best seconds per step, by the clock and of computing, and gigabytes of peak memory; float32, 1 thread,
torch 2.13, a shared machine of 2 cores. It held the text network for text, the image and audio networks for all else."""

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def build(name: str, config: Mapping[str, Any], left_out: Mapping[str, bool], weights: str, dtype: Any) -> Any:
    """A published denoiser without the parts left out, tensor by tensor, so that nothing is held twice.

    Args:
        name: component, such as ``image_denoiser``.
        config: of the whole network.
        left_out: config values of the parts that are not needed.
        weights: ``hash`` or ``random``.
        dtype: of the weights.
    """
    import torch
    from accelerate import init_empty_weights
    from accelerate.utils import set_module_tensor_to_device

    from opencodi.convert.codi_unet import reference_keys
    from opencodi.convert.hash_weights import hash_weight
    from opencodi.denoisers import FlatUNet, UNet

    kind = FlatUNet if name == "text_denoiser" else UNet
    with init_empty_weights():
        whole, net = kind(**config), kind(**{**config, **left_out})
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    prefix = f"unet_{name.removesuffix('_denoiser')}."
    for key, names in reference_keys(whole).items():
        if names[0] not in shapes:
            continue
        rows, *columns = shapes[names[0]]
        shape = (len(names) * rows, *columns)
        if weights == "hash":
            tensor = hash_weight(prefix + key, shape)
        else:
            size = (3 / max(1, torch.Size(columns).numel())) ** 0.5 if columns else 0.05
            tensor = torch.empty(shape).uniform_(-size, size, generator=generator)
        for each, part in zip(names, tensor.to(dtype).chunk(len(names))):
            set_module_tensor_to_device(net, each, "cpu", part, dtype=dtype)
    return net.eval().requires_grad_(False)


@contextmanager
def published_attention() -> Iterator[None]:
    """Within it, attention writes out its matrix, and a single token is attended to like several (SPEC §0.4, §7)."""
    from opencodi.denoisers import blocks, temporal
    from opencodi.denoisers.context import Context

    def attend(query: Any, key: Any, value: Any, bias: Any = None) -> Any:
        logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return (logits if bias is None else logits + bias).softmax(-1) @ value

    with (
        patch.object(blocks, "attend", attend),
        patch.object(temporal, "attend", attend),
        patch.object(Context, "is_single", False),
    ):
        yield


def published_steps(
    networks: Mapping[Any, Any], latents: Mapping[Any, Any], prompts: Any, steps: int, callback: Callable[[], Any]
) -> None:
    """Run the networks as the published code does at every step.

    Both halves of guidance go through everything, environment encoders included, and every modality attends to its own
    environment token (SPEC §0.1).

    Args:
        networks: modality → denoiser.
        latents: modality → noise [1, ...].
        prompts: unconditional and conditional token [2, 1, D].
        steps: how often.
        callback: called after each step.
    """
    import torch

    from opencodi.denoisers import joint_forward

    doubled = {modality: torch.cat([x, x]) for modality, x in latents.items()}
    with torch.no_grad(), published_attention():
        for step in range(steps):
            timesteps = dict.fromkeys(doubled, torch.full((2,), 999 - step))
            joint_forward(networks, doubled, timesteps, prompts, exchange="self")
            callback()


def measure(
    case: str,
    dtype: str,
    threads: int,
    steps: int,
    weights: str,
    published: bool,
    shapes: Mapping[str, Any] | None = None,
    configs: Mapping[str, Any] = CONFIGS,
) -> dict[str, float]:
    """Denoise one sample in this process, as ``published`` or our way.

    Returns:
        ``parameters``, best ``wall`` and ``cpu`` seconds of a step, ``peak`` bytes of the process.
    """
    import torch
    from diffusers import DDIMScheduler

    from opencodi.modality import MODALITIES, Modality
    from opencodi.prompts import Condition
    from opencodi.sampling import Guidance, sample

    torch.set_num_threads(threads)
    precision, generator = getattr(torch, DTYPES[dtype]), torch.Generator().manual_seed(0)
    shapes = {Modality(name): tuple(shape) for name, shape in (shapes or CASES[case]).items()}
    needed = {"alignment": len(shapes) > 1, "temporal": Modality.VIDEO in shapes}
    networks = {}
    for name in dict.fromkeys(MODALITIES[modality].denoiser for modality in shapes):
        left_out = {part: False for part, wanted in needed.items() if configs[name].get(part) and not wanted}
        networks[name] = build(name, configs[name], left_out, weights, precision)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape, generator=generator).to(precision)

    width = next(iter(networks.values())).config.cross_attention_dim
    prompts = [Condition.from_embedding(draw(width)) for _ in range(2)]
    denoisers = {modality: networks[MODALITIES[modality].denoiser] for modality in shapes}
    latents = {modality: draw(*shape) for modality, shape in shapes.items()}
    clocks = [(time.perf_counter(), time.process_time())]

    def after_step(*_: Any) -> None:
        clocks.append((time.perf_counter(), time.process_time()))

    if published:
        published_steps(denoisers, latents, torch.cat([prompt.tokens for prompt in prompts]), steps, after_step)
    else:
        sample(
            denoisers,
            dict.fromkeys(shapes, DDIMScheduler(steps_offset=1, clip_sample=False, set_alpha_to_one=False)),
            latents,
            *prompts,
            num_inference_steps=dict.fromkeys(shapes, steps),
            guidance=dict.fromkeys(shapes, Guidance(7.5)),
            callback=after_step,
        )
    walls, cpus = zip(*([after - before for before, after in zip(a, b)] for a, b in pairwise(clocks)))
    parameters = sum(p.numel() for net in networks.values() for p in net.parameters())
    return {"parameters": parameters, "wall": min(walls), "cpu": min(cpus), "peak": peak_bytes()}


def row(case: str, dtype: str, settings: Mapping[str, Any]) -> list[str]:
    """One row of the table, measured in two processes."""
    ours, published = (
        in_fresh_process(__file__, {"case": case, "dtype": dtype, "published": published, **settings})
        for published in (False, True)
    )
    return [
        case,
        dtype,
        f"{ours['parameters'] / 1e6:,.0f} M",
        *(f"{found['wall']:.2f} / {found['cpu']:.2f} s" for found in (ours, published)),
        f"{published['cpu'] / ours['cpu']:.1f}x",
        *(f"{found['peak'] / 1e9:.2f} GB" for found in (ours, published)),
        f"{REFERENCE[case]['wall']:.2f} / {REFERENCE[case]['cpu']:.2f} s",
    ]


def main() -> None:
    """Measure every combination and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--dtype", default="fp32", help=f"of {', '.join(DTYPES)}")
    parser.add_argument("--threads", type=int, default=1, help="the reference was measured with 1")
    parser.add_argument("--steps", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--weights", default="hash", choices=("hash", "random"))
    options = parser.parse_args()
    cases, dtypes = options.case.split(","), options.dtype.split(",")
    for name, given, known in (("case", cases, CASES), ("dtype", dtypes, DTYPES)):
        if not set(given) <= set(known):
            parser.error(f"--{name}: choose from {', '.join(known)}")

    step = f"step, {options.threads} thread(s): clock / computing"
    titles = ["case", "dtype", "parameters", step, "as published", "faster", "peak memory", "as published"]
    settings = {"threads": options.threads, "steps": options.steps, "weights": options.weights}
    rows = (row(case, dtype, settings) for case in cases for dtype in dtypes)
    print_table([*titles, "the published code elsewhere, fp32, 1 thread"], rows)


if __name__ == "__main__":
    if task() is None:
        main()
    else:
        print(json.dumps(measure(**task())))
