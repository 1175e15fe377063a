"""What training the published sizes takes on 1, 8 and 64 GPUs: counted on networks without numbers, then multiplied.

    python benchmarks/full_size_plan.py --output docs/results/full_size_plan.json

FLOPs and activations of a step of one sample are counted with tensors that have shapes only. Hours follow from the FLOPs and
from rates of a GPU, which are arguments, since nobody here had such GPUs.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from measuring import print_table
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from opencodi.convert.published import CONFIGS
from opencodi.denoisers import FlatUNet, UNet
from opencodi.training.memory import checkpoint_gradients

SAMPLES = {"image_denoiser": (4, 64, 64), "audio_denoiser": (8, 256, 16), "text_denoiser": (768,)}
"""Latents of one sample: 512x512 pixels, 10.24 s of sound, a sentence."""

TOKENS, WIDTH = 77, 768
GPUS = (1, 8, 64)


def count(name: str, recompute: bool) -> dict[str, float]:
    """Parameters, FLOPs of a training step of one sample, bytes of activations in bfloat16."""
    kind = FlatUNet if name == "text_denoiser" else UNet
    with torch.device("meta"):
        network = kind(**CONFIGS[name])
        latents, timesteps = torch.empty(1, *SAMPLES[name]), torch.empty(1)
        prompt = torch.empty(1, TOKENS, WIDTH)
    if recompute:
        checkpoint_gradients(network)
    weights = {each.untyped_storage()._cdata for each in network.parameters()}
    kept: dict[int, int] = {}
    held = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
            held.append(tensor)  # a storage that is gone could give its place to another
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(note, lambda tensor: tensor):
        network(latents, timesteps, prompt).square().mean().backward()
    parameters = sum(each.numel() for each in network.parameters())
    return {"parameters": parameters, "flops": counter.get_total_flops(), "activations": sum(kept.values()) / 2}


def plan(counted: Mapping[str, float], gpus: int, given: argparse.Namespace) -> dict[str, float]:
    """Memory of each GPU, time and money of a run of ``given.samples`` samples.

    A step takes as long as its computing or the exchange of gradients, whichever is longer, and then the optimizer, which reads
    and writes its state once.
    """
    parameters, batch = counted["parameters"], given.batch_size // gpus
    split = gpus if given.shard else 1
    states = 20 * parameters / split  # weights, gradients, two moments and averages in single precision
    computing = batch * counted["flops"] / (given.peak * 1e12 * given.utilisation)
    bandwidth = given.bandwidth[0 if gpus <= 8 else 1] * 1e9
    exchange = 2 * (gpus - 1) / gpus * 4 * parameters / bandwidth
    optimizer = 36 * parameters / split / (given.memory_rate * 1e12)
    rate = given.batch_size / (max(computing, exchange) + optimizer)
    hours = given.samples / rate / 3600
    return {
        "memory_gb": (states + min(batch, given.micro_batch) * counted["activations"]) / 1e9,
        "samples_per_second": rate,
        "latents_mb_per_second": rate * given.latent_bytes / 1e6,
        "hours": hours,
        "cost": hours * gpus * given.price,
        "checkpoint_gb": 16 * parameters / 1e9,
    }


def main() -> None:
    """Read the arguments, count, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=float, default=100e6, help="samples that each network sees")
    parser.add_argument("--batch-size", type=int, default=1024, help="of all GPUs together")
    parser.add_argument("--peak", type=float, default=989, help="dense bfloat16 TFLOP/s of a GPU; 989: H100 SXM")
    parser.add_argument(
        "--bandwidth", type=float, nargs=2, default=[300, 40], help="GB/s of a GPU to others: near, far"
    )
    parser.add_argument("--memory-rate", type=float, default=2.5, help="TB/s of a GPU's memory, as reached")
    parser.add_argument(
        "--micro-batch", type=int, default=64, help="most samples of a GPU at once; more are accumulated"
    )
    parser.add_argument("--utilisation", type=float, default=0.35, help="share of the peak that is reached")
    parser.add_argument("--price", type=float, default=2.5, help="of one GPU for an hour")
    parser.add_argument("--latent-bytes", type=float, default=4 * 64 * 64 * 2 + 77 * 768 * 2, help="cached, a sample")
    parser.add_argument("--shard", action="store_true", help="split states over the GPUs")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    given = parser.parse_args()
    found, rows = {}, []
    for name in SAMPLES:
        plain, again = count(name, recompute=False), count(name, recompute=True)
        found[name] = {"counted": plain, "recomputed": again}
        for gpus in GPUS:
            made = found[name][str(gpus)] = plan(again, gpus, given)
            rows.append(
                [
                    name,
                    str(gpus),
                    f"{plain['parameters'] / 1e6:,.0f} M",
                    f"{plain['flops'] / 1e12:.2f} / {again['flops'] / 1e12:.2f}",
                    f"{plain['activations'] / 1e9:.2f} / {again['activations'] / 1e9:.2f} GB",
                    f"{made['memory_gb']:.0f} GB",
                    f"{made['samples_per_second']:,.0f}",
                    f"{made['latents_mb_per_second']:,.0f} MB/s",
                    f"{made['checkpoint_gb']:.1f} GB",
                    f"{made['hours']:,.0f}",
                    f"{made['cost']:,.0f}",
                ]
            )
    titles = [
        "network",
        "GPUs",
        "parameters",
        "TFLOPs a sample",
        "activations a sample",
        "memory of a GPU",
        "samples/s",
    ]
    print_table([*titles, "data", "checkpoint", "hours", "cost"], rows)
    if given.output is not None:
        given.output.write_text(json.dumps({"arguments": vars(given) | {"output": None}, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
