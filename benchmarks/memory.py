"""Print how many parameters a call reads and how much memory it takes, per outputs, precision and offload.

    python benchmarks/memory.py --model stickers --dtype float32,float16 --offload none,disk

Every row is one call (text in) in a fresh process. The peak is that of the whole process; what the libraries alone take is
the first row. On an accelerator (``--device``) the peak of its memory stands beside it.
"""

import argparse
import json
from typing import Any

from measuring import in_fresh_process, peak_bytes, print_table, task

OUTPUTS = ("text", "image", "video", "audio", "image+audio", "text+image+video+audio")
OFFLOADS = {
    "none": None,
    "disk": "enable_disk_offload",
    "model": "enable_model_cpu_offload",
    "sequential": "enable_sequential_cpu_offload",
}


def measure(model: str, outputs: str, dtype: str, offload: str, device: str, steps: int) -> dict[str, int]:
    """Call the model once in this process; without ``outputs`` only import what a call imports.

    Returns:
        ``parameters`` read, ``peak`` bytes of the process and ``device_peak`` bytes of the accelerator's memory.
    """
    import torch

    from opencodi import AnyToAnyPipeline
    from opencodi.stored import StoredPart

    read = []
    if outputs:
        load = StoredPart.load

        def counted(part, **changes):
            loaded = load(part, **changes)
            read.append(sum(p.numel() for p in loaded.parameters()) if isinstance(loaded, torch.nn.Module) else 0)
            return loaded

        StoredPart.load = counted
        pipeline = AnyToAnyPipeline.from_pretrained(model, torch_dtype=getattr(torch, dtype))
        pipeline.set_progress_bar_config(disable=True)
        if offload in ("model", "sequential"):
            getattr(pipeline, OFFLOADS[offload])(device=device)
        else:
            pipeline.to(device)
        if offload == "disk":
            pipeline.enable_disk_offload()
        generator = torch.Generator().manual_seed(0)
        pipeline(text="a rooster", outputs=outputs.split("+"), num_inference_steps=steps, generator=generator)
    on_device = torch.cuda.max_memory_allocated() if device.startswith("cuda") else 0
    return {"parameters": sum(read), "peak": peak_bytes(), "device_peak": on_device}


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
    titles = ["outputs", "dtype", "offload", "parameters", "peak memory"]
    titles += [] if options.device == "cpu" else [f"peak on {options.device}"]
    print_table(titles, (row({**common, **call}) for call in (bare, *calls)))


def row(call: dict[str, Any]) -> list[str]:
    """One row of the table, measured in a process of its own."""
    found = in_fresh_process(__file__, call)
    if not call["outputs"]:
        return ["(libraries)", "", "", "0", *_gigabytes(found, call["device"])]
    parameters = f"{found['parameters'] / 1e6:.1f} M"
    return [call["outputs"], call["dtype"], call["offload"], parameters, *_gigabytes(found, call["device"])]


def _gigabytes(found: dict[str, int], device: str) -> list[str]:
    sizes = [found["peak"]] if device == "cpu" else [found["peak"], found["device_peak"]]
    return [f"{size / 1e9:.2f} GB" for size in sizes]


if __name__ == "__main__":
    if task() is None:
        main()
    else:
        print(json.dumps(measure(**task())))
