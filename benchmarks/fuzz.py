"""Try mutated, truncated and spliced files at every door, and count what becomes of them.

    python benchmarks/fuzz.py --cases 100000 --output docs/results/fuzz.json
    python benchmarks/fuzz.py --target image --cases 1000000 --seed 7

What the product runs in a child for each file (decoders, the reader of credentials) is tried many times in one child here;
a sample of the same cases also goes the whole way ("video", "audio", "verify"). The command fails if the process that the
product runs in would have crashed, a case took longer than its limit, or an exception was none of ours. Each such case is
kept with ``--keep FOLDER``.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import print_table

from tests.fuzz.mutations import mutated
from tests.fuzz.runner import Report, run
from tests.fuzz.targets import LIMITS, TARGETS

SHARES = {
    **{"image": 0.25, "clip decoder": 0.20, "sound decoder": 0.22, "container": 0.16, "credentials reader": 0.12},
    **{"audio": 0.005, "video": 0.004, "verify": 0.005, "text": 0.011, "model folder": 0.01, "recipe": 0.015},
}
"""Of the cases. Where a case takes a process of its own, or a whole model, there are few."""


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000, help="of all targets together, or of the one named")
    only = "only this one; may be given again; the figures of the others stay in the file"
    parser.add_argument("--target", choices=TARGETS, action="append", help=only)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, help="folder for the cases that failed")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    given = parser.parse_args()
    names = given.target or list(TARGETS)
    share = {name: SHARES[name] / sum(SHARES[each] for each in names) for name in names}
    reports = {}
    for name in names:
        reports[name] = run(name, max(1, round(share[name] * given.cases)), given.seed, given.first)
        print(f"{name}: {reports[name].cases} cases in {reports[name].seconds:.0f} s", file=sys.stderr, flush=True)
        if given.keep:
            keep(name, reports[name], given.seed, given.keep)
    print_table(TITLES, [row(name, report) for name, report in reports.items()])
    if given.output:
        kept = json.loads(given.output.read_text())["targets"] if given.target and given.output.is_file() else {}
        found = kept | {name: figures(name, report) for name, report in reports.items()}
        text = json.dumps({"seed": given.seed, "limit_seconds": LIMITS.timeout_seconds, "targets": found}, indent=1)
        given.output.write_text(text + "\n")
    if any(report.untyped or report.hangs or crashes_of_the_product(name, report) for name, report in reports.items()):
        sys.exit(1)


def crashes_of_the_product(name: str, report: Report) -> int:
    """Crashes that would end more than a decoder's own child."""
    return 0 if TARGETS[name].is_contained else len(report.crashes)


TITLES = ("door", "cases", "read", "refused", "decoder crashed", "crashes", "hangs", "untyped errors", "peak, MiB")


def row(name: str, report: Report) -> list[str]:
    """One row of the table."""
    crashes = crashes_of_the_product(name, report)
    numbers = (
        *(report.cases, report.outcomes["ok"], report.outcomes.total() - report.outcomes["ok"]),
        *(len(report.crashes) - crashes, crashes, len(report.hangs), len(report.untyped), report.peak >> 20),
    )
    return [name, *(f"{number:,}" for number in numbers)]


def figures(name: str, report: Report) -> dict[str, object]:
    """The same with every kind of refusal, for a file."""
    return {
        "cases": report.cases,
        "outcomes": dict(sorted(report.outcomes.items())),
        "decoder_crashes": len(report.crashes) - crashes_of_the_product(name, report),
        "crashes": crashes_of_the_product(name, report),
        "hangs": len(report.hangs),
        "untyped": len(report.untyped),
        "peak_bytes": report.peak,
        "seconds": round(report.seconds, 1),
    }


def keep(name: str, report: Report, seed: int, folder: Path) -> None:
    """Write the files that failed, and what they did."""
    failed = {**report.crashes, **dict.fromkeys(report.hangs, "hang"), **report.untyped}
    if not failed:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        seeds = TARGETS[name].seeds(Path(scratch))
    for case, what in failed.items():
        (folder / f"{name.replace(' ', '-')}-{seed}-{case}").write_bytes(mutated(seeds, seed, case))
        print(f"{name} {case}: {what}", file=sys.stderr)


if __name__ == "__main__":
    main()
