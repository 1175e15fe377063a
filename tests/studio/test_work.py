"""Jobs, their line and their news, on the tiny model."""

import json
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("gradio", reason="the studio needs the extra `studio`")

from opencodi.studio import render
from opencodi.studio.jobs import Job, Line, Stopped
from opencodi.studio.previews import Previews
from opencodi.studio.visits import Visits
from opencodi.studio.wish import Wish
from opencodi.studio.work import Cancelled, Done, Failed, Loading, Studio, Waiting, Working
from opencodi.trust.watermark import detect

from .. import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio("cpu")


def test_a_line_lets_one_work_and_tells_the_others_their_place():
    line, jobs = Line(), [Job() for _ in range(3)]
    for job in jobs:
        line.join(job)
    assert list(line.waiting(jobs[0])) == []
    waiting = line.waiting(jobs[2], every=0.01)
    assert next(waiting) == 2
    jobs[1].cancel()
    with pytest.raises(Stopped):
        list(line.waiting(jobs[1], every=0.01))
    assert next(waiting) == 1
    threading.Timer(0.05, line.leave, [jobs[0]]).start()
    assert set(waiting) <= {1}  # ends when it is its turn


def test_news_of_a_run_from_loading_to_files(studio, model, tmp_path):
    wish = Wish(text="a rooster", outputs=("text", "image", "video", "audio"), steps=3, seed=5, number=2, model=model)
    news = list(studio.work(Job(), wish, tmp_path / "results"))
    assert isinstance(news[0], Loading)
    steps = [each for each in news if isinstance(each, Working)]
    assert [each.step for each in steps] == sorted({each.step for each in steps})
    assert (steps[-1].step, steps[-1].steps, steps[-1].seconds_left) == (3, 3, 0)
    assert steps[0].picture.size == (16, 16)
    done = news[-1]
    assert isinstance(done, Done)
    assert sorted(file.name for file in done.files)[:4] == ["audio-0.wav", "audio-1.wav", "image-0.png", "image-1.png"]
    report = json.loads((tmp_path / "results/result.json").read_text())
    assert (report["seed"], report["inputs"], report["settings"]["number"]) == (5, {"text": ["a rooster"]}, 2)
    again = list(studio.work(Job(), wish, tmp_path / "again"))
    assert not any(isinstance(each, Loading) for each in again)  # it is there already
    assert (tmp_path / "again/image-1.png").read_bytes() == (tmp_path / "results/image-1.png").read_bytes()


def test_a_cancelled_run_says_so_at_once_and_the_next_one_works(studio, model, tmp_path):
    job, started = Job(), time.monotonic()
    for news in studio.work(job, Wish(outputs=("image",), steps=200, model=model), tmp_path / "a"):
        if isinstance(news, Working):
            job.cancel()
    assert isinstance(news, Cancelled)
    assert time.monotonic() - started < 20
    assert not (tmp_path / "a").exists()
    *_, last = studio.work(Job(), Wish(outputs=("image",), steps=2, model=model), tmp_path / "b")
    assert isinstance(last, Done)


def test_who_comes_second_waits_and_may_give_up(studio, model, tmp_path):
    first, second = Job(), Job()
    running = studio.work(first, Wish(outputs=("image",), steps=200, model=model), tmp_path / "a")
    next(running)
    waiting = studio.work(second, Wish(outputs=("image",), steps=2, model=model), tmp_path / "b")
    assert next(waiting) == Waiting(1)
    second.cancel()
    assert isinstance(list(waiting)[-1], Cancelled)
    first.cancel()
    assert isinstance(list(running)[-1], Cancelled)


def test_what_fails_is_one_sentence_and_leaves_the_studio_usable(studio, model, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF" + bytes(50))
    *_, last = studio.work(Job(), Wish(files={"audio": str(broken)}, model=model), tmp_path / "a")
    assert isinstance(last, Failed) and "broken.wav" in last.reason and str(tmp_path) not in last.reason
    *_, last = studio.work(Job(), Wish(model="no-such-model"), tmp_path / "b")
    assert isinstance(last, Failed) and "no-such-model" in last.reason
    *_, last = studio.work(Job(), Wish(steps=2, model=model), tmp_path / "c")
    assert isinstance(last, Done)


@pytest.mark.parametrize("outputs", [("image",), ("image", "audio")])
def test_every_setting_reaches_the_pipeline(studio, model, tmp_path, outputs):
    usual = Wish(text="a rooster", outputs=outputs, steps=2, seed=1, model=model)
    changes = {"guidance": 5.0, "negative": "a red apple", "steps": 3, "seed": 2}
    if len(outputs) > 1:
        changes["partner_guidance"] = 4.0

    def made(name: str, **changes) -> bytes:
        *_, last = studio.work(Job(), replace(usual, **changes), tmp_path / name)
        assert isinstance(last, Done), last
        return (tmp_path / name / "image-0.png").read_bytes()

    plain = made("plain")
    assert made("again") == plain
    for name, value in changes.items():
        assert made(name, **{name: value}) != plain, name
    assert made("partner", partner_guidance=4.0)  # harmless where there is no partner


def test_previews_find_the_clean_picture_between_two_noisy_ones():
    pipe = tiny.pipeline()
    clean, noise = torch.randn(1, 4, 8, 8, generator=tiny.seeded(1)), torch.randn(1, 4, 8, 8, generator=tiny.seeded(2))
    alphas = pipe.scheduler.alphas_cumprod

    def at(step: int) -> torch.Tensor:
        return alphas[step].sqrt() * clean + (1 - alphas[step]).sqrt() * noise

    previews = Previews(pipe)
    for now, then in ((900, 700), (700, 500), (500, 300)):  # a step from one level to the next
        previews.keep({"image": at(then)}, {"image": torch.tensor(now)})
    guess = previews._clean(previews._seen["image"])
    assert (guess - clean).abs().max() < 1e-3
    assert previews.picture().size == (32, 32)


def test_a_visit_keeps_its_inputs_its_runs_and_a_zip_until_it_ends(studio, model, tmp_path):
    visits = Visits()
    visit = visits.of("one")
    assert visits.of("one") is visit and visits.of("two") is not visit
    upload = tmp_path / "upload.txt"
    upload.write_text("sound")
    given = Wish(text="<b>bell</b>", files={"audio": str(upload)}, outputs=("text",), steps=1, model=model)
    wish, folder = visit.keep_inputs(given)
    upload.unlink()  # what the browser's cache holds may go
    assert Path(wish.files["audio"]).read_text() == "sound"
    *_, done = studio.work(Job(), Wish(text=wish.text, outputs=("text",), steps=1, model=model), folder)
    run = visit.add(wish, done.files, done.seconds)
    with zipfile.ZipFile(run.folder.parent / "opencodi.zip") as archive:
        assert sorted(archive.namelist()) == ["result.json", "text-0.txt"]
    shown = render.results(run) + render.history(visit.runs, 1)
    assert "<b>bell" not in shown and "&lt;b&gt;bell" in shown
    job = visit.job = Job()
    visits.end("one")
    assert job.cancelled.is_set() and not visit.folder.exists()
    visits.close()
    assert not visits.root.exists()


def test_a_studio_that_marks_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENCODI_CONFIG", str(tmp_path / "config"))
    wish = Wish(text="a rooster", outputs=("audio",), steps=1, seed=5, model=model)
    *_, done = Studio("cpu", watermark=True).work(Job(), wish, tmp_path / "results")
    assert isinstance(done, Done) and detect(done.files[0]).found
    report = json.loads((tmp_path / "results/result.json").read_text())
    assert report["watermark"] == {"written": True, "modalities": ["audio"]}
