"""What caches of latents and prompt embeddings cost and save: bytes, rate, and time until the first batch.

    python benchmarks/encode_once.py stickers/images.tar.gz --columns text=name --first 1000

Seconds are of processor time, so that other work on the machine does not count.
"""

import argparse
import shutil
import tempfile
import time
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

from opencodi.cli.prepare import parse_columns
from opencodi.collections import find_collection
from opencodi.data.epochs import BatchRandom
from opencodi.data.prepare import prepare
from opencodi.data.sources import Source, open_source
from opencodi.models import installed
from opencodi.training.components import ModelFolder
from opencodi.training.encode import encode

SETTINGS = SimpleNamespace(prompt_shares={"text": 0.65, "image": 0.25}, name_share=0.4)


def seconds_to_first_batch(prepared: Path, model: Path, encoded: Path) -> float:
    """Processor seconds until the image diffuser's first batch of 32 is there."""
    began = time.process_time()
    values = find_collection("own").DATA["image_diffuser"](encoded=str(encoded))
    training, _ = values.load(prepared, ModelFolder(model), SETTINGS)
    items, _ = training.draw_batch(BatchRandom(0, (0, 0, 0)), 32, SETTINGS.prompt_shares)
    training.latents[items].float()
    return time.process_time() - began


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="as of opencodi data prepare")
    parser.add_argument("--columns", help="as of opencodi data prepare")
    parser.add_argument("--first", type=int, help="only so many samples")
    parser.add_argument("--model", default="stickers")
    given = parser.parse_args()
    model = installed().get(given.model, Path(given.model))
    source = open_source(given.source, parse_columns(given.columns))
    few = Source(source.fingerprint, lambda start: islice(source.read(start), given.first))
    scratch = Path(tempfile.mkdtemp())
    prepared, encoded = scratch / "prepared", scratch / "encoded"
    try:
        samples = prepare(few, prepared, max_bad=1.0).samples
        before = seconds_to_first_batch(prepared, model, scratch / "none")
        began = time.process_time()
        lines = list(encode(prepared, model, encoded))
        spent = time.process_time() - began
        size = sum(path.stat().st_size for path in encoded.rglob("*.safetensors"))
        after = seconds_to_first_batch(prepared, model, encoded)
    finally:
        shutil.rmtree(scratch)
    print("\n".join(lines[:-1]))
    print("| samples | bytes each | encoded per second of a core | first batch before | first batch after |")
    print("|---|---|---|---|---|")
    print(f"| {samples:,} | {size / samples:,.0f} | {samples / spent:.0f} | {before:.1f} s | {after:.2f} s |")


if __name__ == "__main__":
    main()
