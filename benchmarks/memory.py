"""Print how many parameters a call reads and how much memory it takes, per outputs, precision and offload.

    python benchmarks/memory.py --model stickers --dtype float32,float16 --offload none,disk,group-disk

Every row is two calls (text in) in a fresh process: the seconds are those of the second. The peak is that of the whole process;
what the libraries alone take is the first row. On an accelerator (``--device``) the peak of its memory stands beside it.

Ways to offload: ``disk`` lets go of a part once a call has used it; ``model``, ``sequential`` and ``group`` bring parts, layers
or groups of layers to the device from the CPU's memory, ``group-disk`` groups of layers from disk.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from typing import Any

from measuring import in_fresh_process, peak_bytes, print_table, task

OUTPUTS = ("text", "image", "video", "audio", "image+audio", "text+image+video+audio")
OFFLOADS: dict[str, Callable[[Any, str, str], Any]] = {
    "none": lambda pipe, device, folder: pipe.to(device),
    "disk": lambda pipe, device, folder: pipe.to(device).enable_disk_offload(),
    "model": lambda pipe, device, folder: pipe.enable_model_cpu_offload(device=device),
    "sequential": lambda pipe, device, folder: pipe.enable_sequential_cpu_offload(device=device),
    "group": lambda pipe, device, folder: pipe.enable_group_offload(device, offload_type="leaf_level"),
    "group-disk": lambda pipe, device, folder: pipe.enable_group_offload(
        device, offload_type="leaf_level", offload_to_disk_path=folder
    ),
}


def measure(model: str, outputs: str, dtype: str, offload: str, device: str, steps: int) -> dict[str, float]:
    """Call the model twice in this process; without ``outputs`` only import what a call imports.

    Returns:
        ``parameters`` read by the first call, ``peak`` bytes of the process, ``device_peak`` bytes of the accelerator's memory,
        and ``seconds`` of the second call.
    """
    import torch

    from opencodi import AnyToAnyPipeline
    from opencodi.parts.stored import StoredPart

    read, count, seconds = [], 0, 0.0
    if outputs:
        load = StoredPart.load

        def counted(part):
            loaded = load(part)
            read.append(sum(p.numel() for p in loaded.parameters()) if isinstance(loaded, torch.nn.Module) else 0)
            return loaded

        StoredPart.load = counted
        pipeline = AnyToAnyPipeline.from_pretrained(model, torch_dtype=getattr(torch, dtype))
        pipeline.set_progress_bar_config(disable=True)
        with tempfile.TemporaryDirectory() as folder:
            OFFLOADS[offload](pipeline, device, folder)
            for _ in range(2):
                count, start = len(read), time.perf_counter()
                generator = torch.Generator().manual_seed(0)
                pipeline(text="a rooster", outputs=outputs.split("+"), num_inference_steps=steps, generator=generator)
                seconds = time.perf_counter() - start
    on_device = torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0
    return {"parameters": sum(read[:count]), "peak": peak_bytes(), "device_peak": on_device, "seconds": seconds}


def main() -> None:
    """Measure every combination and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="stickers", help="an installed model, or a model folder")
    parser.add_argument("--outputs", default=",".join(OUTPUTS), help="sets of outputs, such as image,image+audio")
    parser.add_argument("--dtype", default="float32", help="of float32, float16, bfloat16")
    parser.add_argument("--offload", default="none,disk", help=f"of {', '.join(OFFLOADS)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=1)
    options = parser.parse_args()

    offloads = options.offload.split(",")
    if not set(offloads) <= set(OFFLOADS):
        parser.error(f"--offload: choose from {', '.join(OFFLOADS)}")
    bare = {"outputs": "", "dtype": "", "offload": "none"}
    calls = [
        {"outputs": outputs, "dtype": dtype, "offload": offload}
        for outputs in options.outputs.split(",")
        for dtype in options.dtype.split(",")
        for offload in offloads
    ]
    common = {"model": options.model, "device": options.device, "steps": options.steps}
    titles = ["outputs", "dtype", "offload", "parameters", "seconds", "peak memory"]
    titles += [] if options.device == "cpu" else [f"peak on {options.device}"]
    print_table(titles, (row({**common, **call}) for call in (bare, *calls)))


def row(call: dict[str, Any]) -> list[str]:
    """One row of the table, measured in a process of its own."""
    found = in_fresh_process(__file__, call)
    if not call["outputs"]:
        return ["(libraries)", "", "", "0", "", *_gigabytes(found, call["device"])]
    measured = [f"{found['parameters'] / 1e6:.1f} M", f"{found['seconds']:.2f}"]
    return [call["outputs"], call["dtype"], call["offload"], *measured, *_gigabytes(found, call["device"])]


def _gigabytes(found: dict[str, float], device: str) -> list[str]:
    sizes = [found["peak"]] if device == "cpu" else [found["peak"], found["device_peak"]]
    return [f"{size / 1e9:.2f} GB" for size in sizes]


if __name__ == "__main__":
    if task() is None:
        main()
    else:
        print(json.dumps(measure(**task())))
