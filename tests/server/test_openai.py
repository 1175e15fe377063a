"""OpenAI's own package as client: only the base URL differs."""

import base64
import io

import numpy as np
import openai
import pytest
from PIL import Image

from opencodi.media import read_audio, read_video
from opencodi.server.settings import Keys

from .. import tiny
from .serving import QUICK, data_url, pixels, serving


def test_the_served_model_is_listed_and_found(server):
    assert [model.id for model in server.openai.models.list()] == ["tiny"]
    assert server.openai.models.retrieve("tiny").owned_by == "opencodi"
    with pytest.raises(openai.NotFoundError, match="has tiny"):
        server.openai.images.generate(model="another", prompt="a rooster")


def test_pictures_come_as_base64_and_are_those_of_the_pipeline(server, pipe):
    answer = server.openai.images.generate(model="tiny", prompt="a rooster", n=2, extra_body={**QUICK, "seed": 5})
    generators = [tiny.seeded(5), tiny.seeded(6)]
    straight = pipe(text="a rooster", outputs="image", num_outputs_per_prompt=2, generator=generators, **QUICK)
    made = [pixels(base64.b64decode(picture.b64_json)) for picture in answer.data]
    assert np.abs(made[0] - made[1]).max() > 1
    assert all(np.abs(one - np.asarray(other)).max() <= 1 for one, other in zip(made, straight.image, strict=True))


def test_pictures_come_as_links_of_the_size_that_is_asked(server):
    asked = {"model": "tiny", "prompt": "a red apple", "size": "48x32", "response_format": "url", "extra_body": QUICK}
    answer = server.openai.images.generate(**asked)
    picture = Image.open(io.BytesIO(server.fetch({"url": answer.data[0].url})))
    assert picture.size == (48, 32)
    assert picture.getpixel((0, 0)) == (255, 255, 255)  # a square on a white margin


@pytest.mark.parametrize(
    ("form", "start"), [("mp3", None), ("wav", b"RIFF"), ("flac", b"ID3"), ("opus", b"OggS"), ("aac", None)]
)
def test_speech_comes_in_every_format_and_can_be_played(server, tmp_path, form, start):
    with server.openai.audio.speech.with_streaming_response.create(
        model="tiny", voice="alloy", input="drum", response_format=form, extra_body=QUICK
    ) as answer:
        answer.stream_to_file(tmp_path / f"speech.{form}")
    content = (tmp_path / f"speech.{form}").read_bytes()
    assert start is None or content.startswith(start)  # FLAC has its credentials first, in an ID3 tag
    if form != "aac":  # which our own reader does not know
        assert read_audio(tmp_path / f"speech.{form}").seconds == pytest.approx(0.256, abs=0.1)


def test_pcm_is_sixteen_bits_at_24_kilohertz(server):
    made = server.openai.audio.speech.create(
        model="tiny", voice="x", input="drum", response_format="pcm", extra_body=QUICK
    )
    assert len(np.frombuffer(made.content, "<i2")) == pytest.approx(0.256 * 24_000, abs=2)


def test_a_sound_is_generated_as_vllm_omni_does(server):
    answer = server.http.post("/v1/audio/generate", json={"input": "the sound of a drum", "seed": 1, **QUICK})
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.content.startswith(b"RIFF")


def test_a_clip_is_created_polled_downloaded_listed_and_deleted(server, files, tmp_path):
    asked = {"model": "tiny", "prompt": "a rocket flies", "size": "32x32", "seconds": "1", "extra_body": QUICK}
    video = server.openai.videos.create_and_poll(
        **asked, input_reference=("a.png", files["image"]), poll_interval_ms=50
    )
    assert (video.status, video.progress, video.size) == ("completed", 100, "32x32")
    server.openai.videos.download_content(video.id).write_to_file(tmp_path / "clip.mp4")
    clip = read_video(tmp_path / "clip.mp4")
    assert clip.frames.shape[1:3] == (32, 32) and clip.audio is not None
    assert clip.seconds == pytest.approx(1, abs=0.15)
    more = {"input_reference": {"image_url": data_url(files["image"])}, "generate_sound": False, **QUICK}
    asked |= {"size": "auto", "seconds": "0.1", "extra_body": more}
    short = server.openai.videos.create_and_poll(**asked, poll_interval_ms=50)
    assert (short.status, short.size, short.seconds) == ("completed", "16x16", "0.125")
    assert video.id in [listed.id for listed in server.openai.videos.list(limit=2)]
    assert server.openai.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        server.openai.videos.retrieve(video.id)
    with pytest.raises(openai.NotFoundError):
        server.openai.videos.download_content(video.id)


def test_embeddings_of_every_modality_lie_where_the_encoders_put_them(server, pipe, files):
    listed = ["a rooster", {"image": data_url(files["image"])}, {"audio": data_url(files["audio"])}]
    floats = server.openai.embeddings.create(model="tiny", input=listed, encoding_format="float")
    usual = server.openai.embeddings.create(model="tiny", input="a rooster")  # base64 is what the client asks for
    expected = pipe.prompt_encoders["text"].encode(["a rooster"]).tokens[0, 0]
    assert [len(item.embedding) for item in floats.data] == [tiny.WIDTH] * 3
    assert np.allclose(floats.data[0].embedding, expected, atol=1e-6)
    assert np.allclose(usual.data[0].embedding, expected, atol=1e-6)
    uploaded = server.http.post("/v1/embeddings", files={"image": files["image"]}).json()
    assert np.allclose(uploaded["data"][0]["embedding"], floats.data[1].embedding, atol=1e-6)


def test_wrong_requests_raise_the_clients_own_exceptions(server):
    with pytest.raises(openai.BadRequestError, match="n: 99 is more") as refused:
        server.openai.images.generate(model="tiny", prompt="a rooster", n=99)
    assert refused.value.code == "over_limit"
    with pytest.raises(openai.BadRequestError, match="size: 99999x1 is more"):
        server.openai.videos.create(model="tiny", prompt="a", size="99999x1")
    with pytest.raises(openai.BadRequestError, match="prompt"):
        server.openai.images.generate(model="tiny", prompt=["no", "text"])
    with pytest.raises(openai.BadRequestError, match="steps"):
        server.openai.images.generate(model="tiny", prompt="a", extra_body={"num_inference_steps": 10**9})


def test_without_the_right_key_nothing_is_made(pipe, tmp_path):
    (tmp_path / "keys").write_text(
        "# of the studio\nstudio a-key-of-many-letters  # since May\nother another-long-key-xx\n"
    )
    with serving(pipe, Keys(tmp_path / "keys"), "a-key-of-many-letters") as running:
        assert [model.id for model in running.openai.models.list()] == ["tiny"]
        with pytest.raises(openai.AuthenticationError):
            running.openai.with_options(api_key="a-key-of-many-letterz").models.list()
        job = running.make(text="a rooster")
        assert job["status"] == "completed"
        other = running.openai.with_options(api_key="another-long-key-xx")
        answer = running.http.get(f"/v1/generations/{job['id']}", headers={"Authorization": f"Bearer {other.api_key}"})
        assert answer.status_code == 404  # somebody else's
        assert running.picture(job).shape == (16, 16, 3)  # the link is the secret
        assert running.http.get("/metrics", headers={"Authorization": ""}).status_code == 401
        assert (
            'opencodi_jobs_total{client="studio",outputs="image",state="completed"} 1.0'
            in running.http.get("/metrics").text
        )
