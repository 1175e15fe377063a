"""The mark of pictures, clips and sounds: found with its key, and only with it."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.watermark_changes import mp3
from opencodi.errors import ArgumentError, ConfigurationError
from opencodi.media import Audio, Video, write
from opencodi.output import AnyToAnyOutput
from opencodi.trust.keys import watermark_key
from opencodi.trust.watermark import FALSE_POSITIVE_RATE, detect, embed, embed_output, written
from opencodi.trust.watermark.evidence import normal_numbers, p_value

KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """A folder for keys that holds none yet."""
    monkeypatch.setenv("OPENCODI_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A disc with a stripe over white, as stickers are."""
    down, right = np.mgrid[:64, :64]
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[(down - 32) ** 2 + (right - 30) ** 2 < 500] = (230, 140, 40)
    pixels[28:34, 14:46] = (40, 40, 90)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def sound() -> Audio:
    """Three falling tones and some hiss."""
    time = np.arange(32_768) / 16_000
    tones = sum(np.sin(2 * np.pi * pitch * time) / (place + 1) for place, pitch in enumerate((330, 660, 1_210)))
    hiss = np.random.default_rng(0).normal(size=len(time))
    return Audio(((0.3 * tones + 0.05 * hiss) * np.exp(-2 * time)).clip(-1, 1).astype(np.float32), 16_000)


@pytest.fixture(scope="module")
def clip(picture, sound) -> Video:
    """The disc moving to the right, with the sound."""
    frames = np.stack([np.roll(np.asarray(picture), place, axis=1) for place in range(0, 16, 2)])
    return Video(frames, 8.0, sound)


@pytest.mark.parametrize("kind", ["picture", "clip", "sound"])
def test_the_mark_is_found_with_its_key_only(kind, request):
    media = request.getfixturevalue(kind)
    marked = embed(media, KEY)
    assert detect(marked, KEY).found
    for found in (detect(marked, OTHER), detect(media, KEY)):
        assert not found.found and found.p_value > FALSE_POSITIVE_RATE


def test_what_is_marked_stays_what_it_was(picture, clip, sound):
    before = np.asarray(picture).copy()
    marked = embed(picture, KEY)
    assert (np.asarray(picture) == before).all() and marked.size == picture.size and marked.mode == "RGB"
    assert np.sqrt(np.mean((np.asarray(marked).astype(float) - before) ** 2)) < 10
    heard = embed(sound, KEY)
    assert heard.samples.shape == sound.samples.shape and heard.sample_rate == sound.sample_rate
    assert np.mean((heard.samples - sound.samples) ** 2) < np.mean(sound.samples**2) / 100
    shown = embed(clip, KEY)
    assert shown.frames.shape == clip.frames.shape and shown.fps == clip.fps and shown.audio is not None
    assert embed("a rooster", KEY) == "a rooster"


def test_a_picture_keeps_its_mark_through_jpeg_scaling_and_cropping(picture, tmp_path):
    marked = embed(picture, KEY)
    marked.save(tmp_path / "small.jpg", quality=50)
    marked.resize((32, 32), Image.Resampling.BILINEAR).save(tmp_path / "half.png")
    marked.resize((200, 200), Image.Resampling.BILINEAR).save(tmp_path / "screenshot.png")
    marked.crop((2, 3, 60, 61)).save(tmp_path / "cropped.png")
    for path in sorted(tmp_path.glob("*.*")):
        found = detect(path, KEY)
        assert found.found and found.modality == "image", path.name


def test_a_picture_of_another_size_is_marked_too(picture):
    wide = picture.resize((150, 100))
    marked = embed(wide, KEY)
    assert marked.size == (150, 100)
    assert detect(marked.resize((90, 60)), KEY).found


def test_a_sound_keeps_its_mark_through_mp3_cutting_and_another_rate(sound):
    marked = embed(sound, KEY)
    assert detect(mp3(marked), KEY).found
    assert detect(Audio(marked.samples[3_001:30_000], 16_000), KEY).found
    high = Audio(np.repeat(sound.samples, 3)[:90_000], 48_000)
    assert detect(embed(high, KEY), KEY).found


def test_a_sound_keeps_its_mark_in_noise_and_without_its_beginning(sound):
    marked = embed(sound, KEY).samples
    noise = np.random.default_rng(11).normal(size=len(marked)) * np.sqrt(np.mean(marked**2) / 100)
    assert detect(Audio((marked + noise).clip(-1, 1).astype(np.float32), 16_000), KEY).found
    assert detect(Audio(marked[3_200:], 16_000), KEY).found


def test_pauses_stay_quiet(sound):
    paused = sound.samples.copy()
    paused[16_000:24_000] = 0
    marked = embed(Audio(paused, 16_000), KEY)
    assert np.abs(marked.samples[17_000:23_000]).max() < 1e-4 and detect(marked, KEY).found


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_clip_keeps_its_mark_in_a_file(clip, suffix, tmp_path):
    write("video", embed(clip, KEY), tmp_path / f"clip{suffix}")
    found = detect(tmp_path / f"clip{suffix}", KEY)
    assert found.found and found.modality in ("video", "audio")
    assert not detect(tmp_path / f"clip{suffix}", OTHER).found


def test_a_clip_whose_sound_alone_is_marked_is_found(clip, sound):
    found = detect(Video(clip.frames, clip.fps, embed(sound, KEY)), KEY)
    assert found.found and found.modality == "audio"


def test_the_same_media_and_key_give_the_same_mark(picture, sound):
    assert (np.asarray(embed(picture, KEY)) == np.asarray(embed(picture, KEY))).all()
    assert (embed(sound, KEY).samples == embed(sound, KEY).samples).all()
    assert (np.asarray(embed(picture, KEY)) != np.asarray(embed(picture, OTHER))).any()


def test_a_batch_is_marked_as_its_items_are(picture, sound):
    flipped = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    output = embed_output(AnyToAnyOutput({"text": ["a disc"], "image": [picture, flipped], "audio": [sound]}), KEY)
    assert output.text == ["a disc"] and output.video is None
    for made, given in zip(output.image, (picture, flipped)):
        assert (np.asarray(made) == np.asarray(embed(given, KEY))).all()
    assert (output.audio[0].samples == embed(sound, KEY).samples).all()


def test_nothing_is_found_in_silence_and_empty_pictures():
    silence = Audio(np.zeros(16_000, np.float32), 16_000)
    white = Image.new("RGB", (64, 64), "white")
    assert detect(silence, KEY).p_value == 1.0 and detect(white, KEY).p_value == 1.0
    assert (embed(silence, KEY).samples == 0).all()
    assert embed(white, KEY).size == (64, 64)


def test_numbers_of_a_key_never_change():
    """Else marks of today would not be found tomorrow."""
    numbers = normal_numbers(KEY, "picture", 10_001)
    assert numbers[:3].round(6).tolist() == [0.360032, -0.397059, -0.630758]
    assert abs(numbers.mean()) < 0.05 and abs(numbers.std() - 1) < 0.03
    assert abs(np.corrcoef(numbers, normal_numbers(KEY, "sound", 10_001))[0, 1]) < 0.05


def test_p_values_are_those_of_the_best_of_many_normal_numbers():
    assert p_value(4.753, 1) == pytest.approx(1e-6, rel=0.01)
    assert p_value(4.753, 100) == pytest.approx(1e-4, rel=0.01)
    assert p_value(0.0, 100) == 1.0


def test_the_key_is_made_once_and_for_its_user_alone(config, picture):
    with pytest.raises(ConfigurationError, match="no watermark key yet"):
        detect(picture)
    assert not config.exists()
    marked = embed(picture)
    path = config / "watermark.key"
    assert path.stat().st_mode & 0o777 == 0o600 and [each.name for each in config.iterdir()] == [path.name]
    assert watermark_key() == watermark_key(create=False) and detect(marked).found
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        watermark_key()
    path.chmod(0o600)
    path.write_text("not a key\n")
    with pytest.raises(ConfigurationError, match="hexadecimal"):
        watermark_key()


def test_texts_and_other_files_carry_no_mark(tmp_path):
    (tmp_path / "words.txt").write_text("a rooster")
    assert detect(tmp_path / "words.txt", KEY) is None


def test_wrong_arguments_are_refused_in_a_sentence(picture):
    with pytest.raises(ArgumentError, match="32 bytes"):
        embed(picture, b"short")
    with pytest.raises(ArgumentError, match="a picture, clip or sound"):
        embed(3.5, KEY)
    with pytest.raises(ArgumentError, match="a file, picture, clip or sound"):
        detect(3.5, KEY)


def test_the_report_names_what_was_marked():
    assert written(True, ["text", "image"]) == {"written": True, "modalities": ["image"]}
    assert json.loads(json.dumps(written(False, ["image"]))) == {"written": False, "modalities": []}
