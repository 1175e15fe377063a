"""The sampling benchmark, end to end: tiny model, sample data, tiny judges."""

import importlib
import json
import sys

from tests import tiny
from tests.collections.stickers.evaluation import tiny_judges
from tests.training.tiny_recipes import DATA


def test_every_setting_is_measured_with_the_same_noise_and_other_rows_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENCODI_DATA", str(DATA))
    tiny.pipeline(num_inference_steps=2).save_pretrained(tmp_path / "model")
    script, place = importlib.import_module("choose_sampling"), tmp_path / "sampling.json"
    call = [str(tmp_path / "model"), "--judges", str(tiny_judges.save(tmp_path / "judges")), "--count", "3"]
    few = ["--steps", "2", "--guidance", "1", "2", "2", "--intervals", "--spacings", "trailing", "leading"]

    def run(*more: str) -> dict:
        monkeypatch.setattr(sys, "argv", ["choose_sampling.py", *call, *few, *more, "--output", str(place)])
        script.main()
        return json.loads(place.read_text())

    run("--outputs", "text", "--solvers", "UniPCMultistepScheduler", "--candidates")
    found = run("--outputs", "image", "--candidates", "1", "3", "--solvers", "DDIMScheduler")
    assert list(found) == ["steps", "guidance_scale", "timestep_spacing", "num_candidates"]
    assert list(found["steps"]) == ["UniPCMultistepScheduler text", "DDIMScheduler image"]
    assert list(found["guidance_scale"]) == ["text", "image"] and list(found["num_candidates"]) == ["image"]
    one, two, again = (cell["frechet"] for cell in found["guidance_scale"]["image"]["cells"])
    assert two == again != one
    # Two steps of the model's own solver, in its own guidance: what the row of steps says as well.
    (own,) = found["steps"]["DDIMScheduler image"]["cells"]
    assert own["frechet"] == two == found["timestep_spacing"]["image"]["cells"][0]["frechet"]
    assert found["timestep_spacing"]["image"]["cells"][1]["frechet"] != two
    first, best = (cell["frechet"] for cell in found["num_candidates"]["image"]["cells"])
    assert first == two != best
    assert found["guidance_scale"]["text"]["cells"][0]["frechet"] is None
    assert "| num_candidates | 1 | 3 |" in capsys.readouterr().out
