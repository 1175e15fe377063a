"""Our own routes: any inputs, any outputs, progress, links."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from .. import tiny
from .serving import QUICK, data_url


def events(lines) -> list[tuple[str, dict]]:
    """Server-sent events as (name, data)."""
    name, found = "", []
    for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            found.append((name, json.loads(line[6:])))
    return found


def test_everything_becomes_everything_and_equals_the_pipeline(server, pipe, files):
    """Uploads are lossless here but for the clip, so the words and the picture are those of a call from Python."""
    media = tiny.media()
    inputs = {name: data_url(files[name]) for name in ("image", "audio")}
    asked = {
        "text": "a rooster",
        "outputs": "all",
        "weights": {"text": 1, "image": 0.5},
        "negative_prompt": "a drum",
        "seed": 3,
    }
    job = server.make(**asked, **inputs)
    assert (job["status"], job["progress"], job["seed"], job["error"]) == ("completed", 100, 3, None)
    assert [result["modality"] for result in job["results"]] == ["text", "image", "video", "audio"]
    call = {"image": media["image"], "audio": media["audio"], **asked}
    straight = pipe(
        **{name: value for name, value in call.items() if name != "seed"}, generator=[tiny.seeded(3)], **QUICK
    )
    assert job["results"][0]["text"] == straight.text[0]
    assert np.abs(server.picture(job) - np.asarray(straight.image[0])).max() <= 1
    clip = job["results"][2]
    assert (clip["media_type"], clip["width"], clip["height"]) == ("video/mp4", 16, 16)
    assert job["results"][3]["seconds"] == pytest.approx(0.256, abs=0.001)


def test_a_form_with_files_says_the_same_as_json(server, files):
    form = {
        "text": ["a rooster", "a red apple"],
        "outputs": ["image", "text"],
        "weights": '{"text": [1, 0.25]}',
        "seed": "4",
    }
    uploads = [("image", ("../../etc/passwd", files["image"])), ("video", ("b", files["video"]))]
    sent = server.http.post("/v1/generations", data={**form, "num_inference_steps": "2"}, files=uploads)
    listed = server.http.post("/v1/generations", data={"outputs": "text,image", "num_inference_steps": "2"})
    assert listed.json()["outputs"] == ["text", "image"]
    assert sent.status_code == 202, sent.text
    same = {"text": form["text"], "outputs": "image,text", "weights": {"text": [1, 0.25]}, "seed": 4}
    as_json = server.make(**same, image=data_url(files["image"]), video=data_url(files["video"]))
    as_form = server.wait(sent.json())
    assert np.array_equal(server.picture(as_form), server.picture(as_json))
    assert as_form["results"][0]["text"] == as_json["results"][0]["text"]


def test_several_results_have_seeds_in_a_row(server):
    three = server.make(text="a rooster", num_outputs_per_prompt=3, seed=7)
    last = server.make(text="a rooster", seed=9)
    assert [result["seed"] for result in three["results"]] == [7, 8, 9]
    assert np.abs(server.picture(three, 2) - server.picture(last)).max() <= 1
    assert np.abs(server.picture(three, 0) - server.picture(last)).max() > 1


def test_without_inputs_and_seed_the_result_is_unconditional_and_its_seed_reported(server):
    job = server.make(outputs="image")
    again = server.make(outputs="image", seed=job["seed"])
    assert np.array_equal(server.picture(job), server.picture(again))


def test_a_streamed_job_tells_every_step_and_ends_with_its_results(server):
    body = {"text": "a rooster", "num_inference_steps": 9, "stream": True}
    with server.http.stream("POST", "/v1/generations", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer.iter_lines())
    assert [name for name, _ in told[:-1]] == ["progress"] * (len(told) - 1)
    progress = [job["progress"] for _, job in told]
    assert progress == sorted(progress) and len(set(progress)) > 3
    assert told[-1][0] == "completed"
    assert server.picture(told[-1][1]).shape == (16, 16, 3)


def test_events_of_a_finished_job_say_so_at_once(server):
    job = server.make(text="a rooster")
    with server.http.stream("GET", f"/v1/generations/{job['id']}/events") as answer:
        assert [name for name, _ in events(answer.iter_lines())] == ["completed"]


def test_what_is_deleted_is_gone_with_its_files(server):
    job = server.make(text="a rooster", outputs="image,text")
    path = job["results"][1]["url"].removeprefix(server.url)
    assert server.http.get(path).headers["cache-control"] == "private, no-store"
    assert server.http.delete(f"/v1/generations/{job['id']}").json()["deleted"]
    assert server.http.get(path).status_code == 404
    assert server.http.get(f"/v1/generations/{job['id']}").status_code == 404


def test_a_picture_with_transparency_is_read_over_white(server):
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    white = Image.new("RGB", (16, 16), "white")
    made = []
    for picture in (clear, white):
        content = io.BytesIO()
        picture.save(content, "PNG")
        made.append(server.picture(server.make(image=data_url(content.getvalue()), seed=1)))
    assert np.array_equal(*made)


def test_the_core_alone_and_other_settings_reach_the_pipeline(server):
    plain = {"text": "a rooster", "outputs": "image,text", "extras": [], "modality_scale": {"image": 2.0}, "seed": 1}
    assert server.make(**plain)["status"] == "completed"
    error = server.make(text="a rooster", extras=["wings"])["error"]
    assert error["type"] == "invalid_request_error" and "wings" in error["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"outputs": "pictures"}, "outputs: unknown modality 'pictures'"),
        ({"text": "a", "weights": {"image": 1}}, "weights: names 'image'"),
        ({"text": "a", "weights": {"smell": 1}}, "unknown modality 'smell'"),
        ({"text": "a", "guidance_scale": 1e20}, "guidance_scale: 1e+20 is more"),
        ({"text": "a", "seed": -1}, "seed: Input should be greater"),
        ({"text": "a", "seed": 2**64}, "seed: Input should be less"),
        ({"text": "a", "prompt": "b"}, "prompt: Extra inputs are not permitted"),
        ({"text": ["a"] * 9}, "inputs: 9 given, this server mixes at most 8"),
        ({"text": "a" * 5000}, "text: must be text of at most 2000 characters"),
        ({"text": " "}, "text: is empty"),
        ({"text": "\ud800"}, "half a surrogate pair"),
        ({"text": "a", "negative_prompt": "\ud800"}, "negative_prompt: holds half"),
        ({"text": "a", "height": 100_000, "width": 100_000}, "height: 100000 is more"),
        ({"text": "a", "outputs": "audio", "seconds": 1e9}, "seconds: 1e+09 is more"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(server, body, says):
    # As ASCII, since httpx cannot write half a surrogate pair
    answer = server.http.post("/v1/generations", content=json.dumps({**QUICK, **body}))
    if answer.status_code == 202:  # only the pipeline knows which inputs there are
        error = server.wait(answer.json())["error"]
    else:
        assert answer.status_code == 400
        error = answer.json()["error"]
    assert says in error["message"] and error["type"] == "invalid_request_error"


def test_the_openapi_page_describes_every_route_and_loads_nothing_from_elsewhere(server):
    page = server.http.get("/openapi.json").json()
    assert {"/v1/generations", "/v1/images/generations", "/v1/videos/{id}/content", "/metrics"} <= set(page["paths"])
    body = page["paths"]["/v1/generations"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert "num_inference_steps" in page["components"]["schemas"]["Generation"]["properties"]
    shown = server.http.get("/docs").text
    assert "swagger-ui-bundle.js" in shown and "//cdn" not in shown and "https://" not in shown
    assert server.http.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_metrics_and_health_tell_what_goes_on(server):
    server.make(text="a rooster", outputs="text,image")
    assert server.http.get("/health").json() == {"status": "ok", "waiting": 0, "running": 0}
    page = server.http.get("/metrics").text
    assert 'opencodi_jobs_total{client="anyone",outputs="text,image",state="completed"}' in page
    assert 'opencodi_requests_total{route="/v1/generations/{id}",status="200"}' in page
    assert "process_resident_memory_bytes" in page
