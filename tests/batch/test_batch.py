"""Many prompts from a file: each item stands for itself, what is done is not made again, and one that fails harms no other."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opencodi import cli
from opencodi.batch.items import read_items
from opencodi.batch.making import Maker
from opencodi.batch.run import RESULTS, Batch, make_here, read_results, record

from .. import tiny

LINES = [
    {"text": "a rooster", "to": "image"},
    {"id": "apple", "text": "a red apple", "to": "image", "seed": 7},
    {"text": "the sound of a drum", "to": "audio"},
    {"text": "a rocket flies", "to": "image", "weights": {"text": 2}},
    {"to": "image"},
]


@pytest.fixture
def batch(tmp_path):
    def make(lines, size: int = 8, **defaults) -> Batch:
        prompts = tmp_path / "prompts.jsonl"
        prompts.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines))
        return Batch(prompts, tmp_path / "out", {"steps": 1, "seed": 1, **defaults}, size)

    return make


class Counted:
    """The tiny pipeline, and how many results each of its calls made."""

    def __init__(self, pipe):
        self.pipe, self.calls = pipe, []

    def __call__(self, **call):
        self.calls.append(len(call["generator"]))
        return self.pipe(**call)


def run(batch: Batch, pipe) -> tuple[Counted, dict[str, dict], dict]:
    counted = Counted(pipe)
    counts = record(batch, make_here(batch, Maker(counted, batch.folder)))
    return counted, {line["id"]: line for line in read_results(batch.folder)}, dict(counts)


def pixels(folder: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / name / "image-0.png"), float)


def test_items_of_one_kind_are_made_together_and_as_they_are_made_alone(batch, pipe, tmp_path):
    together = batch(LINES)
    counted, lines, counts = run(together, pipe)
    assert sorted(counted.calls) == [1, 1, 1, 2], "two pictures of a text in one call"
    assert counts == {"done": 5} and len(lines) == 5
    assert lines["apple"]["files"] == ["apple/image-0.png"] and lines["000002"]["files"] == ["000002/audio-0.wav"]
    alone = pipe(text="a red apple", outputs="image", num_inference_steps=1, generator=tiny.seeded(7)).image[0]
    assert np.abs(pixels(together.folder, "apple") - np.asarray(alone, float)).max() <= 1
    assert lines["000000"]["request"]["seed"] == 1 and lines["000003"]["request"]["seed"] == 4


def test_a_second_run_makes_only_what_failed_changed_or_lost_its_files(batch, pipe, tmp_path):
    run(batch(LINES[:2]), pipe)
    assert run(batch(LINES[:2]), pipe)[0].calls == []
    assert run(batch([LINES[0], {**LINES[1], "text": "a drum"}]), pipe)[0].calls == [1]
    (tmp_path / "out" / "000000" / "image-0.png").unlink()
    counted, lines, counts = run(batch([LINES[0], {**LINES[1], "text": "a drum"}]), pipe)
    assert counted.calls == [1] and counts == {"done": 2} and len(lines) == 2


def test_a_run_that_was_cut_off_within_a_line_goes_on(batch, pipe, tmp_path):
    run(batch(LINES[:3]), pipe)
    place = tmp_path / "out" / RESULTS
    place.write_text(place.read_text()[:-20])
    counted, lines, counts = run(batch(LINES[:3]), pipe)
    assert counted.calls == [1] and counts == {"done": 3} and len(lines) == 3
    assert all(json.loads(line) for line in place.read_text().splitlines())


def test_what_is_wrong_with_a_line_is_said_and_harms_no_other(batch, pipe, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    wrong = {
        "not json": "is not JSON",
        '{"text": "a", "tex": 1}': "unknown key 'tex'; did you mean 'text'",
        '{"text": "a", "to": "imgae"}': "did you mean 'image'",
        '{"image": "none.png", "to": "text"}': "there is no such file",
        '{"id": "a/b", "text": "a"}': "names no folder",
        '{"text": 3}': "give a string",
        '{"text": "a", "steps": -1}': "steps",
        '{"text": "a", "weights": {"image": 1}}': "not among the inputs",
        '{"image": "broken.png", "to": "image"}': "broken.png",
    }
    fine = [{"text": "a rooster", "to": "image"}, {"image": "own.png", "to": "image"}]
    tiny.media()["image"].save(tmp_path / "own.png")
    _, lines, counts = run(batch([*wrong, *fine], to="image"), pipe)
    assert counts == {"done": 2, "failed": len(wrong)}
    for place, reason in enumerate(wrong.values()):
        assert reason in lines[f"{place:06d}"]["error"] and "Traceback" not in lines[f"{place:06d}"]["error"]
        assert not (tmp_path / "out" / f"{place:06d}").exists()


def test_two_lines_may_not_share_an_id(batch):
    items = list(read_items(batch([LINES[1], LINES[1]]).prompts, {}))
    assert items[0].error is None and "line 1" in items[1].error and items[1].id == "line-2"


def command(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(each) for each in arguments])
    told = capsys.readouterr()
    return stop.value.code, told.out, told.err


def test_the_command_says_what_failed_in_its_exit_code(batch, tmp_path, capsys):
    tiny.pipeline().save_pretrained(tmp_path / "model")
    prompts, out = batch([LINES[0], "{}"]).prompts, tmp_path / "out"
    call = (
        "generate",
        "--batch",
        prompts,
        "--output",
        out,
        "--model",
        tmp_path / "model",
        "--steps",
        1,
        "--device",
        "cpu",
    )
    code, said, _ = command(capsys, *call)
    assert code == 3 and "1 done, 1 failed" in said and "000001: failed: to: name at least one" in said
    code, said, _ = command(capsys, *call, "--to", "image")
    assert code == 0 and "2 done, 0 failed" in said
    for wrong, reason in (("--text", "with --batch"), ("--number", "with --batch")):
        code, _, error = command(capsys, *call, wrong, 2)
        assert code == 2 and reason in error
    code, _, error = command(capsys, "generate", "--batch", tmp_path / "none", "--output", out)
    assert code == 2 and "there is no such file" in error


@pytest.mark.slow
def test_ray_makes_the_same(batch, pipe, tmp_path):
    """The model is opened in a process of Ray's."""
    ray = pytest.importorskip("ray")
    from opencodi.batch.run import make_with_ray
    from opencodi.cli.batch import Loading
    from opencodi.cli.common import Dtype

    tiny.pipeline().save_pretrained(tmp_path / "model")
    asked = batch([*LINES[:3], "{}"])
    run(asked, pipe)
    here = pixels(asked.folder, "apple")
    through = Batch(asked.prompts, tmp_path / "ray", asked.defaults)
    try:
        loading = Loading(tmp_path / "ray", str(tmp_path / "model"), "cpu", Dtype.FLOAT32)
        counts = record(through, make_with_ray(through, loading, workers=1))
    finally:
        ray.shutdown()
    assert dict(counts) == {"done": 3, "failed": 1}
    assert np.abs(pixels(through.folder, "apple") - here).max() <= 1
    again = list(through.pending())
    assert [item.id for item in again] == ["000003"], "what Ray made is not made again"
