"""Shards, captions, splits and augmentation, on the sample collection in tests/data."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opencodi.collections.stickers.captions import article, captions_of, every_caption
from opencodi.collections.stickers.splits import VALIDATION_SHARE, position, split, style_family
from opencodi.data.augment import audio_batch, over_white, played, random_affine
from opencodi.data.shards import AUDIO_SAMPLES, Items, find_data, load_audio, load_concepts, load_images, load_videos
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


def test_a_missing_shard_is_named():
    with pytest.raises(TrainingError, match=r"nothere\.tar\.gz is missing"):
        load_images(DATA, ["nothere"])


def test_a_folder_without_concepts_is_not_a_collection(tmp_path):
    with pytest.raises(TrainingError, match=r"no concepts\.jsonl"):
        find_data(tmp_path)


def test_the_split_is_whole_disjoint_and_stable():
    items = load_images(DATA)
    training, validation = split(items)
    assert len(training) + len(validation) == len(items) and len(validation) > 0
    again, _ = split(items)
    assert again.records == training.records


def test_nearly_equal_drawings_fall_on_the_same_side():
    training, validation = split(load_images(DATA))
    groups = [{(r["concept"], style_family(r["style"])) for r in part.records} for part in (training, validation)]
    assert not groups[0] & groups[1]


def test_a_recording_validates_only_if_it_does_so_under_all_of_its_names():
    sirens, bells = (
        [{"concept": str(number), "source": "a game", "detail": detail} for number in range(999)]
        for detail in ("siren", "bell")
    )
    validating = [record for record in sirens if position(record) < VALIDATION_SHARE][:2]
    other = next(record for record in sirens if position(record) >= VALIDATION_SHARE)
    bell = next(record for record in bells if position(record) < VALIDATION_SHARE)
    training, validation = split(Items(np.arange(3), [*validating, bell]))
    assert not training.records and validation.records == [*validating, bell]
    training, validation = split(Items(np.arange(4), [*validating, other, bell]))
    assert training.records == [*validating, other] and validation.records == [bell]


def test_speech_and_sounds_of_one_thing_are_called_differently():
    concepts = load_concepts(DATA)
    audio = load_audio(DATA)
    spoken = {c for r in audio.records if r["shard"] == "speech" for c in captions_of(r, concepts)}
    heard = {c for r in audio.records if r["shard"] == "sounds" for c in captions_of(r, concepts)}
    assert "the word guitar" in spoken and "the sound of a guitar" in heard
    assert not spoken & heard


def test_captions_name_style_and_skin_tone():
    concepts = load_concepts(DATA)
    records = load_images(DATA).records
    noto = next(r for r in records if r["style"] == "noto" and not r["tone"])
    assert f"{noto['name']}, noto style" in captions_of(noto, concepts)
    toned = next(r for r in records if r["tone"])
    assert captions_of(toned, concepts)[0] == f"{toned['name']} with {toned['tone']} skin"


def test_every_caption_of_every_item_is_listed():
    concepts = load_concepts(DATA)
    listed = set(every_caption(DATA))
    for items in (load_images(DATA), load_videos(DATA), load_audio(DATA)):
        for record in items.records:
            assert set(captions_of(record, concepts)) <= listed


def test_articles():
    assert article("owl") == "an owl" and article("rooster") == "a rooster"


def test_transparent_is_white_and_opaque_keeps_its_colour():
    rgba = np.zeros((1, 2, 1, 4), np.uint8)
    rgba[0, 1, 0] = (255, 0, 0, 255)
    pixels = over_white(rgba)
    assert pixels.shape == (1, 3, 2, 1) and pixels.is_contiguous()
    assert pixels[0, :, 0, 0].tolist() == [1, 1, 1]
    assert pixels[0, :, 1, 0].tolist() == [1, -1, -1]


def test_moved_pictures_have_white_borders_and_the_same_range():
    dark = -torch.ones(8, 3, 16, 16)
    moved = random_affine(dark, np.random.default_rng(0), scale=0.3, shift=0.3)
    assert moved.max() == 1 and moved.min() >= -1.001
    again = random_affine(dark, np.random.default_rng(0), scale=0.3, shift=0.3)
    assert torch.equal(moved, again)


def test_waveforms_have_one_loudness_and_vary_only_with_a_generator():
    media = load_audio(DATA).media[:4]
    plain = audio_batch(media)
    torch.testing.assert_close(plain.abs().amax(1), torch.full((4,), 0.9))
    assert torch.equal(plain, audio_batch(media))
    varied = audio_batch(media, np.random.default_rng(0))
    assert varied.shape == plain.shape and not torch.allclose(varied, plain)


def test_a_sound_played_faster_is_shorter_and_higher_and_silence_follows():
    time = torch.arange(16_000) / 16_000
    sound = torch.sin(2 * torch.pi * 440 * time)[None]
    fast = played(sound, torch.tensor([[2.0]]), torch.tensor([[1000]]))
    assert fast.shape == sound.shape
    assert not fast[0, :1000].any() and not fast[0, 9001:].any()
    spectrum = torch.fft.rfft(fast[0, 1000:9000]).abs()
    assert spectrum.argmax() * 2 == pytest.approx(880, abs=4)
    torch.testing.assert_close(played(sound, torch.ones(1, 1), torch.zeros(1, 1))[0, :-1], sound[0, :-1])
