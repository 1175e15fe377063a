"""The short form of ``benchmarks/kill_runs.py``: a few kills; the long form's result is in docs/results."""

import importlib
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_killed_runs_go_on_and_are_the_run_that_nobody_stopped():
    found = importlib.import_module("kill_runs").measure(ROOT / "tests" / "data", moments=2, every=25)
    assert found["writes_of_a_run"] > 50 and found["writes"] >= 3
    for kind in ("random_moments", "writes"):
        assert found[f"{kind}_resumed"] == found[f"{kind}_identical"] == found[kind]
    assert found["writes_killed"] == found["writes"]


def test_the_long_form_lost_nothing():
    found = json.loads((ROOT / "docs" / "results" / "kill_runs.json").read_text())
    assert found["random_moments"] >= 100
    for kind in ("random_moments", "writes"):
        assert found[f"{kind}_resumed"] == found[f"{kind}_identical"] == found[kind]
