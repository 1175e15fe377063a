"""A full queue, jobs that nobody wants, jobs that fail: nothing is lost and nobody else is harmed."""

import socket
import threading
import time

import pytest
import torch

from .. import tiny
from .serving import LONG, QUICK, data_url, serving, until


@pytest.fixture(scope="module")
def pipe_that_may_fail():
    """A pipeline whose text encoder really asks for a petabyte at one prompt, and breaks at another."""
    pipe = tiny.pipeline()
    preprocess = pipe.text_prompt_encoder.preprocess

    def failing(texts):
        if "hungry" in texts:
            torch.empty(2**50)
        if "broken" in texts:
            raise KeyError("broken")
        return preprocess(texts)

    pipe.text_prompt_encoder.preprocess = failing
    return pipe


@pytest.fixture(scope="module")
def fragile(pipe_that_may_fail):
    with serving(pipe_that_may_fail) as running:
        yield running


def test_a_full_queue_says_so_at_once_and_takes_jobs_again_later(pipe):
    with serving(pipe, max_queue=2) as running:
        long = running.busy()
        waiting = [running.generate(text="a rooster", num_inference_steps=3 + place) for place in range(2)]
        seconds = []
        large = {"text": "a drum", "image": data_url(bytes(8 * 2**20))}
        for body in (large, {"text": "a drum"}, {"text": "a drum"}):
            started = time.perf_counter()
            refused = running.http.post("/v1/generations", json=body)
            seconds.append(time.perf_counter() - started)
            assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
            assert refused.json()["error"]["code"] == "queue_full"
        assert min(seconds[1:]) < 0.1
        assert [running.http.get(f"/v1/generations/{job['id']}").json()["ahead"] for job in waiting] == [0, 1]
        page = running.http.get("/metrics").text
        assert 'opencodi_waiting{client="anyone",outputs="image"} 2.0' in page
        assert "opencodi_refused_total 3.0" in page
        running.http.delete(f"/v1/generations/{long['id']}")
        assert [running.wait(job)["status"] for job in waiting] == ["completed"] * 2
        assert running.make(text="a drum")["status"] == "completed"


def test_a_refused_request_gives_its_place_back(pipe):
    with serving(pipe, max_queue=1) as running:
        for body in ({"text": " "}, {"image": data_url(b"no picture")}, {"outputs": "?"}):
            assert running.http.post("/v1/generations", json=body).status_code in (400, 415)
            until(lambda: running.service.jobs.reserved == 0)
        assert running.make(text="a rooster")["status"] == "completed"


def test_a_running_job_is_cancelled_between_steps(server):
    long = server.busy()
    started = time.monotonic()
    assert server.http.delete(f"/v1/generations/{long['id']}").json()["deleted"]
    assert server.make(text="a rooster")["status"] == "completed"
    assert time.monotonic() - started < 2


def test_a_waiting_job_is_cancelled_without_being_started(server):
    long, waiting = server.busy(), server.generate(text="a drum")
    server.http.delete(f"/v1/generations/{waiting['id']}")
    assert server.service.jobs.waiting == ()
    server.http.delete(f"/v1/generations/{long['id']}")


@pytest.mark.parametrize("route", ["/v1/images/generations", "/v1/generations"])
def test_a_client_that_leaves_takes_its_job_with_it(server, route):
    body = '{"prompt": "a", "num_inference_steps": 1000}' if "images" in route else None
    body = body or '{"text": "a", "num_inference_steps": 1000, "stream": true}'
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {route} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall((head + body).encode())
        (job,) = until(lambda: [job for job in server.service.jobs.running if job.steps > 0])
    until(lambda: job.state == "cancelled")
    assert 0 < job.steps < 900


def test_a_job_that_takes_too_long_fails_alone(pipe):
    with serving(pipe, job_seconds=1) as running:
        assert running.make(text="a rooster", **LONG)["error"]["code"] == "timeout"
        assert running.make(text="a rooster")["status"] == "completed"


def test_a_job_that_waits_too_long_fails_alone(pipe):
    with serving(pipe, queue_seconds=0.4) as running:
        long, waiting = running.busy(), running.generate(text="a drum")
        assert running.wait(waiting)["error"]["code"] == "timeout"
        running.http.delete(f"/v1/generations/{long['id']}")
        assert running.make(text="a rooster")["status"] == "completed"


@pytest.mark.parametrize(("poison", "code"), [("hungry", "out_of_memory"), ("broken", "internal_error")])
def test_of_a_batch_only_the_job_at_fault_fails(fragile, poison, code):
    long = fragile.busy()
    jobs = [fragile.generate(text=text, seed=1) for text in ("a rooster", poison, "a drum", poison, "a red apple")]
    fragile.http.delete(f"/v1/generations/{long['id']}")
    ended = [fragile.wait(job) for job in jobs]
    assert [job["status"] for job in ended] == ["completed", "failed", "completed", "failed", "completed"]
    assert {job["error"]["code"] for job in ended if job["error"]} == {code}
    assert fragile.make(text="a rooster")["status"] == "completed"
    if code == "out_of_memory":
        assert fragile.http.post("/v1/images/generations", json={"prompt": poison, **QUICK}).status_code == 507


def test_what_breaks_is_logged_without_what_it_was_about(fragile, caplog):
    assert fragile.http.post("/v1/embeddings", json={"input": "broken"}).status_code == 500
    assert "unexpected KeyError" in caplog.text and "'broken'" not in caplog.text


def test_a_poisoned_upload_is_refused_while_others_are_served(server, files):
    answers = []

    def ask(place: int) -> None:
        content = files["image"][: len(files["image"]) // 2] if place == 2 else files["image"]
        answers.append((place, server.http.post("/v1/generations", json={"image": data_url(content), **QUICK})))

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = {place: answer.status_code for place, answer in answers}
    assert codes == {0: 202, 1: 202, 2: 400, 3: 202, 4: 202}
    refused = dict(answers)[2].json()["error"]
    assert (refused["code"], refused["param"]) == ("damaged_file", "image") and refused["message"].startswith(
        "image 1: is trunc"
    )
    assert all(server.wait(answer.json())["status"] == "completed" for place, answer in answers if place != 2)


def test_a_job_that_a_stop_interrupts_is_reported(pipe, caplog):
    with serving(pipe) as running:
        jobs = [running.busy(), running.generate(text="a drum")]
        kept = [running.service.jobs.find(job["id"], "anyone", "generation") for job in jobs]
        folder = running.service.store.folder
    assert [(job.state, job.problem.code) for job in kept] == [("failed", "stopped")] * 2
    assert caplog.text.count("unfinished job=") == 2 and not folder.exists()


def test_what_waits_and_what_is_kept_has_a_limit(pipe, files):
    with serving(pipe, max_waiting_bytes=1000, max_stored_bytes=100) as running:
        long = running.busy()
        first, second = (running.http.post("/v1/generations", files={"image": files["image"]}) for _ in range(2))
        assert (first.status_code, second.status_code) == (202, 429) and "retry-after" in second.headers
        running.http.delete(f"/v1/generations/{long['id']}")
        running.http.delete(f"/v1/generations/{first.json()['id']}")
        kept = running.make(text="a rooster")
        full = running.http.post("/v1/generations", json={"text": "a drum"})
        assert (full.status_code, full.json()["error"]["code"]) == (429, "store_full")
        running.http.delete(f"/v1/generations/{kept['id']}")
        assert running.make(text="a drum")["status"] == "completed"


def test_results_are_dropped_when_their_time_is_over(pipe):
    with serving(pipe, keep_seconds=0.4) as running:
        job = running.make(text="a rooster")
        path = job["results"][0]["url"].removeprefix(running.url)
        assert job["expires_at"] - job["created_at"] <= 2
        until(lambda: running.http.get(path).status_code == 404)
        assert running.http.get(f"/v1/generations/{job['id']}").status_code == 404
        assert running.service.store.size == 0
        folder = running.service.store.folder
        until(lambda: sorted(entry.name for entry in folder.iterdir()) == ["lock", "uploads"])
