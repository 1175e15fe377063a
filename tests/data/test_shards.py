"""Shards are read whole or refused, on the sample collection in this folder."""

import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opencodi.data.shards import AUDIO_SAMPLES, find_data, load_audio, load_images, load_videos, read_records
from opencodi.errors import TrainingError

DATA = Path(__file__).parent


def test_pictures_clips_and_recordings_arrive_with_their_records():
    images, videos, audio = load_images(DATA), load_videos(DATA), load_audio(DATA)
    assert images.media.shape == (45, 64, 64, 4) and len(images.records) == 45
    assert videos.media.shape == (8, 16, 64, 64, 4)
    assert audio.media.shape == (36, AUDIO_SAMPLES) and audio.media.dtype == np.int16
    assert {record["shard"] for record in audio.records} == {"sounds", "speech"}
    assert all(abs(item).max() > 500 for item in audio.media.astype(int)), "a recording is silent"


def test_a_clips_frames_are_cut_from_its_strip_top_to_bottom():
    with tarfile.open(DATA / "videos.tar.gz") as archive:
        name = next(member for member in archive.getnames() if member.endswith(".webp"))
        strip = Image.open(archive.extractfile(name)).convert("RGBA")
    clip = load_videos(DATA, ["videos"]).media[0]
    for index in (0, 5, 15):
        assert np.array_equal(clip[index], np.asarray(strip.crop((0, 64 * index, 64, 64 * (index + 1)))))


def test_a_shard_may_hold_jpg_files(tmp_path):
    content = BytesIO()
    Image.new("RGB", (64, 64), "red").save(content, "JPEG")
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as tar:
        for name, data in (("0.jpg", content.getvalue()), ("0.json", b"{}")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, BytesIO(data))
    assert load_images(tmp_path, ["images"]).media[0, 0, 0].tolist() == [254, 0, 0, 255]


def test_a_missing_shard_is_named():
    with pytest.raises(TrainingError, match=r"nothere\.tar\.gz is missing"):
        load_images(DATA, ["nothere"])


def test_a_folder_without_concepts_is_not_a_collection(tmp_path):
    with pytest.raises(TrainingError, match=r"no concepts\.jsonl"):
        find_data(tmp_path)


@pytest.mark.parametrize("size", [10, 2_000, 50_000])
def test_a_truncated_shard_is_one_line_that_names_it(tmp_path, size):
    path = tmp_path / "images.tar.gz"
    path.write_bytes((DATA / "images.tar.gz").read_bytes()[:size])
    for read in (lambda: load_images(tmp_path, ["images"]), lambda: read_records(path)):
        with pytest.raises(TrainingError) as caught:
            read()
        assert str(caught.value).startswith(f"{path} is damaged") and "\n" not in str(caught.value)
