"""Print how long a command takes from the shell to its answer, beside what its libraries take to import.

    python benchmarks/startup.py --runs 5

Every row is a process of its own, timed from outside; the rows take turns, so that a busy machine slows all alike. ``wall`` is
the median of the time that passes, ``processor`` the median of the processor time used (user and system), which a busy machine
changes less. The ratios are to ``from diffusers import DiffusionPipeline``, which every pipeline of diffusers has to import.
The last line is that import and the picture's own seconds (encode, denoise, decode) together, which a picture from the shell is
held against.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from measuring import print_table

FLOOR = "from diffusers import DiffusionPipeline"
PICTURE = 'opencodi generate --text "a rooster" --to image'


def commands(folder: Path, model: str) -> dict[str, tuple[list[str], int]]:
    """Row → command and the exit code it has to have."""
    python, opencodi = [sys.executable, "-c"], [sys.executable, "-m", "opencodi"]
    generate = [*opencodi, "generate", "--output", str(folder / "out"), "--model", model]
    return {
        "python -c pass": ([*python, "pass"], 0),
        "import torch": ([*python, "import torch"], 0),
        FLOOR: ([*python, FLOOR], 0),
        "opencodi --help": ([*opencodi, "--help"], 0),
        "a refused argument": ([*generate, "--to", "imge"], 2),
        "a missing file": ([*generate, "--to", "image", "--image", str(folder / "missing.png")], 2),
        "a wrong model name": ([*generate, "--to", "image", "--model", "nowhere"], 2),
        PICTURE: ([*generate, "--text", "a rooster", "--to", "image", "--seed", "0"], 0),
    }


def timed(command: list[str], code: int) -> tuple[float, float]:
    """Seconds that pass and seconds of processor time until a command ends."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True)
    passed, after = perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode != code:
        raise SystemExit(f"error: {' '.join(command)} ended with exit code {ran.returncode}: {ran.stderr}")
    return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(model: str, runs: int, warm: bool = True) -> tuple[dict[str, tuple[float, float]], float]:
    """Median (wall, processor) seconds of every row, and the median of the picture's own seconds.

    ``warm``: run every command once before, so that the files are in the disk cache.
    """
    with tempfile.TemporaryDirectory() as name:
        rows = commands(Path(name), model)
        for command, code in rows.values() if warm else ():
            timed(command, code)
        seconds: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
        own = []
        for _ in range(runs):
            for row, (command, code) in rows.items():
                seconds[row].append(timed(command, code))
            phases = json.loads((Path(name) / "out" / "result.json").read_text(encoding="utf-8"))["seconds"]
            own.append(sum(phases[phase] for phase in ("encode", "denoise", "decode")))
    return {row: tuple(map(median, zip(*each))) for row, each in seconds.items()}, median(own)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="stickers", help="an installed model, or a model folder")
    parser.add_argument("--runs", type=int, default=5, help="times that each command is run")
    arguments = parser.parse_args()
    seconds, own = measure(arguments.model, arguments.runs)
    wall, processor = seconds[FLOOR]
    print_table(
        ["from the shell", "wall s", "processor s", "wall ratio", "processor ratio"],
        [
            [f"`{row}`", f"{each[0]:.2f}", f"{each[1]:.2f}", f"{each[0] / wall:.2f}", f"{each[1] / processor:.2f}"]
            for row, each in seconds.items()
        ],
    )
    print(f"\n`{FLOOR}` and the picture itself: {wall:.2f} + {own:.2f} = {wall + own:.2f} s; {seconds[PICTURE][0]:.2f} s here")


if __name__ == "__main__":
    main()
