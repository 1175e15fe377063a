"""A process that tries many cases of one target: ``python -m tests.fuzz.group TARGET SEED FIRST COUNT``.

For each case it prints its number before, and what became of it after, so that whoever watches knows which case ended it.
"""

import json
import os
import resource
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from .mutations import mutated
from .targets import TARGETS


def main(name: str, seed: int, first: int, count: int) -> None:
    """Try cases ``first`` to ``first + count``."""
    warnings.simplefilter("ignore")
    os.environ["TQDM_DISABLE"] = "1"
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        seeds, attempt = target.seeds(Path(folder)), target.make(Path(folder))
        for case in range(first, first + count):
            content = mutated(seeds, seed, case)
            print(json.dumps({"case": case}), flush=True)
            try:
                outcome = attempt(content)
            except Exception as error:  # the defect that is looked for
                place = traceback.extract_tb(error.__traceback__)[-1]
                outcome = f"untyped {type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error}"[:300]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"case": case, "outcome": outcome, "peak": peak}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
