"""Uploads are read in a process apart, which may crash, hang or lie."""

import asyncio
import os
import signal

import numpy as np
import pytest

from opencodi.media import Audio, Limits, Video
from opencodi.server.decoding import Decoders, _restore
from opencodi.server.problems import Problem

from .. import tiny


def decoding(tmp_path, act, **limits):
    """Run ``act(decoders)`` with one decoding process."""

    async def run():
        decoders = Decoders(tmp_path, Limits(**limits), 1)
        try:
            return await act(decoders)
        finally:
            await decoders.close()

    return asyncio.run(run())


def test_what_is_read_is_what_was_sent_and_no_file_stays(tmp_path, files):
    async def act(decoders):
        return [await decoders.read(name, files[name], name) for name in ("image", "video", "audio")]

    picture, clip, sound = decoding(tmp_path, act)
    media = tiny.media()
    assert np.array_equal(np.asarray(picture), np.asarray(media["image"])) and picture.mode == "RGB"
    assert isinstance(clip, Video) and clip.frames.shape == (3, 16, 16, 3)
    assert isinstance(sound, Audio) and np.abs(sound.samples - media["audio"].samples).max() < 1e-4
    assert list(tmp_path.iterdir()) == []


def test_a_crash_harms_one_upload_only(tmp_path, files):
    async def act(decoders):
        await decoders.read("image", files["image"], "image 1")
        child = decoders._children[0]._process
        os.kill(child.pid, signal.SIGSTOP)  # so that it cannot answer before it dies
        reading = asyncio.create_task(decoders.read("image", files["image"], "image 2"))
        await asyncio.sleep(0.1)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(Problem, match="image 2: crashed the decoder"):
            await reading
        return await decoders.read("image", files["image"], "image 3")

    assert decoding(tmp_path, act).size == (16, 16)


def test_what_takes_too_long_is_given_up(tmp_path, files):
    async def act(decoders):
        await decoders.read("image", files["image"], "image 1")
        child = decoders._children[0]
        os.kill(child._process.pid, signal.SIGSTOP)
        with pytest.raises(Problem, match=r"more than 0\.3 s"):
            await child.ask({"modality": "image"}, 0.3)
        return await decoders.read("image", files["image"], "image 2")

    assert decoding(tmp_path, act).size == (16, 16)


@pytest.mark.parametrize(
    "answer",
    [
        {"shape": [100, 100, 3]},
        {"shape": [-1, -12]},
        {"shape": "12"},
        {"shape": [12], "fps": 8},
        {"shape": [2, 2, 3], "fps": "fast"},
        {"samples": 3},
        {"samples": 3, "sample_rate": 10**12},
        {"samples": -3, "shape": [24]},
        {},
    ],
)
def test_an_answer_that_does_not_fit_its_numbers_is_not_believed(tmp_path, answer):
    (tmp_path / "raw").write_bytes(bytes(12))
    with pytest.raises(Problem, match="makes no sense"):
        _restore(tmp_path / "raw", answer, Limits())
