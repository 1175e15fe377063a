"""Make a folder of the published sizes with meaningless weights, to measure memory with.

    python benchmarks/full_size_folder.py --output FOLDER
    python benchmarks/memory.py --model FOLDER --dtype float16 --offload none,disk

Checkpoint files with the published names, keys and shapes are written (half precision, 11.4 GB) and converted, as
``opencodi convert codi`` does, in a process of its own, whose peak memory is printed; then they are removed. The vocabularies
of the tokenizers have the published sizes and letters only.
"""

import argparse
import gzip
import json
import math
import shutil
import string
from collections.abc import Iterator
from pathlib import Path

from measuring import in_fresh_process, peak_bytes, task

MANIFESTS = Path(__file__).parents[1] / "tests" / "goldens" / "manifests"
FILES = {
    "CoDi_encoders.pth": ("clip", "clap", "autokl", "audioldm", "optimus"),
    "CoDi_text_diffuser.pth": ("unet_text",),
    "CoDi_audio_diffuser_m.pth": ("unet_audio",),
    "CoDi_video_diffuser_8frames.pth": ("unet_image",),
}
"""Published file → manifests of what it holds."""

VOCABULARIES = {"clip": 49408, "bert": 28996, "gpt2": 50257}


def published_keys(manifest: str) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Key, shape and dtype of every tensor that a manifest lists."""
    for line in gzip.decompress((MANIFESTS / f"{manifest}.tsv.gz").read_bytes()).decode().splitlines()[1:]:
        key, shape, _, dtype = line.split("\t")
        yield key, () if shape == "scalar" else tuple(map(int, shape.split("x"))), dtype


def write_checkpoint(path: Path, manifests: tuple[str, ...]) -> None:
    """A file of weights that are the same noise again and again, of a size that keeps what is computed finite."""
    import torch

    noise = torch.empty(1 << 20).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    state = {}
    for key, shape, dtype in (entry for manifest in manifests for entry in published_keys(manifest)):
        if not dtype.startswith("float"):
            state[key] = torch.zeros(shape, dtype=getattr(torch, dtype))
            continue
        size = (3 / math.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.05
        tensor = torch.empty(shape, dtype=torch.float16)
        for part in tensor.view(-1).split(len(noise)):
            part.copy_(size * noise[: len(part)])
        state[key] = tensor
    torch.save(state, path)


def write_tokenizers(folder: Path) -> dict[str, str]:
    """Tokenizers that know letters; the rest of their vocabularies are tokens that never occur."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = string.ascii_lowercase
    known = {
        "clip": ([*letters, *(f"{letter}</w>" for letter in letters)], ["<|startoftext|>", "<|endoftext|>"]),
        "bert": (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)], []),
        "gpt2": (sorted(ByteLevel.alphabet()), ["<|endoftext|>"]),
    }
    for name, (first, last) in known.items():
        unused = [f"[{i}]" for i in range(VOCABULARIES[name] - len(first) - len(last))]
        vocabulary = [*first, *unused, *last]
        (folder / name).mkdir(parents=True)
        if name == "bert":
            (folder / name / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
        else:
            tokens = {token: i for i, token in enumerate(vocabulary)}
            (folder / name / "vocab.json").write_text(json.dumps(tokens), encoding="utf-8")
            (folder / name / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return {name: str(folder / name) for name in known}


def convert(source: str, output: str) -> dict[str, float]:
    """Convert the files in this process.

    Returns:
        ``parameters`` of all components, and ``peak`` bytes of the process.
    """
    from opencodi.convert.codi import convert_codi

    tokenizers = write_tokenizers(Path(source) / "tokenizers")
    record = convert_codi(source, output, dtype="float16", tokenizers=tokenizers)
    parameters = sum(entry["parameters"] for entry in record["components"].values())
    return {"parameters": parameters, "peak": peak_bytes()}


def main() -> None:
    """Write the files, convert them, remove them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the folder to make; needs 23 GB, and keeps 11.4")
    output = parser.parse_args().output
    source = output.with_name(output.name + ".files")
    for folder in (output, source):
        if folder.exists():
            parser.error(f"--output: {folder} is already there; remove it or name another")
    source.mkdir(parents=True)
    try:
        for name, manifests in FILES.items():
            write_checkpoint(source / name, manifests)
        found = in_fresh_process(__file__, {"source": str(source), "output": str(output)})
    finally:
        shutil.rmtree(source)
    print(f"{output}: {found['parameters'] / 1e6:,.0f} M parameters; converting took {found['peak'] / 1e9:.2f} GB")


if __name__ == "__main__":
    if task() is None:
        main()
    else:
        print(json.dumps(convert(**task())))
