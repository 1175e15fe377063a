"""The figure of the loss curves and the runs that are kept for theirs."""

import importlib
import json
import sys

from PIL import Image


def write_run(folder, losses):
    folder.mkdir(parents=True)
    recipe = {"model_folder": "somewhere", "batch_size": 4}
    (folder / "summary.json").write_text(json.dumps({"step": len(losses), "seconds": 1, "recipe": recipe}))
    lines = [json.dumps({"step": step + 1, "loss": loss}) for step, loss in enumerate(losses)]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_is_kept_with_its_curve_and_drawn(tmp_path, monkeypatch):
    figure_curves = importlib.import_module("figure_curves")
    runs = [write_run(tmp_path / name, [3.0, 2.0, 1.0]) for name in ("text_autoencoder", "bridging_audio")]
    unshipped, output = tmp_path / "unshipped.json", tmp_path / "curves.png"
    arguments = ["--runs", *map(str, runs[:1]), "--unshipped", str(unshipped), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["figure_curves.py", *arguments])
    figure_curves.main()
    kept = json.loads(unshipped.read_text())
    assert kept["text_autoencoder"]["curves"]["loss"] == {"step": [1, 2, 3], "value": [3.0, 2.0, 1.0]}
    assert kept["text_autoencoder"]["recipe"] == {"batch_size": 4}
    first = output.read_bytes()
    figure_curves.add_runs(runs[1:], unshipped)
    assert list(json.loads(unshipped.read_text())) == ["bridging_audio", "text_autoencoder"]
    monkeypatch.setattr(sys, "argv", ["figure_curves.py", *arguments[2:]])
    figure_curves.main()
    assert output.read_bytes() != first
    assert Image.open(output).width > 1000
