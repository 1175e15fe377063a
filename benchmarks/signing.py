"""What credentials cost: milliseconds to sign a file and to verify it, and the bytes they add, for every kind of file.

    python benchmarks/signing.py [--repeats 20]

Times are processor time of this process and its children. The files are what the bundled model writes: 64 x 64 pixels, 2 s.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from opencodi.media import Audio, Video, write_image, write_video
from opencodi.server.sounds import write_sound
from opencodi.trust import Statement, prepare, verify

IMAGES, CLIPS, SOUNDS = ("png", "jpg", "webp", "gif"), ("mp4",), ("wav", "flac", "mp3", "opus")


def main() -> None:
    """Print one line for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OPENCODI_CONFIG"] = str(Path(folder) / "config")
        print(
            f"first use, with making a key: {milliseconds(prepare, 1):.0f} ms; later: {milliseconds(prepare, repeats):.1f} ms"
        )
        print("kind    sign, ms   verify, ms   bytes added")
        credentials, statement = prepare(), Statement("stickers", "0" * 16, 7, {"steps": {"image": 6}})
        for plain in write_files(Path(folder)):
            signed = [shutil.copy(plain, plain.with_name(f"{number}-{plain.name}")) for number in range(repeats)]
            places = iter(signed)
            signing = milliseconds(lambda places=places: credentials.sign(next(places), statement), repeats)
            checking = milliseconds(lambda first=signed[0]: verify(first, watermark=False), 3)
            beside = signed[0].with_suffix(".c2pa")
            size = signed[0].stat().st_size - plain.stat().st_size + (beside.stat().st_size if beside.exists() else 0)
            print(f"{plain.suffix[1:]:6} {signing:9.1f} {checking:12.0f} {size:13,}")


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    """Median processor time of a call, that of child processes included."""
    times = []
    for _ in range(repeats):
        before = sum(os.times()[:4])
        function()
        times.append(sum(os.times()[:4]) - before)
    return 1000 * (median(times) if repeats < 5 else sum(times) / repeats)  # the clock of processes ticks in hundredths


def write_files(folder: Path) -> list[Path]:
    """One file of each kind."""
    random = np.random.default_rng(0)
    frames = random.integers(0, 255, (16, 64, 64, 3), dtype=np.uint8)
    tone = Audio(np.sin(np.arange(32_000) / 9).astype(np.float32) / 2, 16_000)
    files = [folder / f"file.{ending}" for ending in (*IMAGES, *CLIPS, *SOUNDS, "txt")]
    for path in files:
        kind = path.suffix[1:]
        if kind in IMAGES:
            write_image(Image.fromarray(frames[0]), path)
        elif kind in CLIPS:
            write_video(Video(frames, 8.0, tone), path)
        elif kind in SOUNDS:
            write_sound(tone, path)
        else:
            path.write_text("a rooster")
    return files


if __name__ == "__main__":
    main()
