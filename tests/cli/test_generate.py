"""``opencodi generate`` and ``opencodi reconstruct``, end to end on the tiny model."""

import json

import numpy as np
import pytest
from PIL import Image

from opencodi import Audio
from opencodi.media import read_audio, read_image, read_video, write_image

from .. import tiny


def test_everything_becomes_everything_in_a_fresh_process_without_network(process, model, files, tmp_path):
    """Nothing has imported our classes there: the model folder alone says what to load."""
    out = tmp_path / "new" / "out"
    inputs = ["--text", "a rooster", *(f"--{name}={files[name]}" for name in ("image", "video", "audio"))]
    settings = ["--weight", "text=1,image=0.5", "--steps", "2", "--seed", "3", "--model", model, "--device", "cpu"]
    ran = process("generate", *inputs, "--to", "all", *settings, "--output", out, environment={"HF_HUB_OFFLINE": "1"})
    assert (ran.returncode, ran.stderr) == (0, "")
    names = ["text-0.txt", "image-0.png", "video-0.mp4", "audio-0.wav"]
    assert ran.stdout.split() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "text-0.c2pa", "result.json"])
    assert read_image(out / "image-0.png").size == (16, 16)
    assert len(read_audio(out / "audio-0.wav").samples) == 4096
    assert read_video(out / "video-0.mp4").audio is not None

    report = json.loads((out / "result.json").read_text())
    assert report["inputs"] == {"text": ["a rooster"], **{name: [files[name]] for name in ("image", "video", "audio")}}
    assert report["settings"]["outputs"] == ["text", "image", "video", "audio"]
    assert report["settings"]["weights"] == {"text": 1, "image": 0.5}
    assert (report["seed"], report["settings"]["steps"]["audio"], report["files"]) == (3, 2, names)
    assert list(report["seconds"]) == ["load", "encode", "denoise", "decode", "write"]


def generate(run, model, out, *arguments):
    """Generate one step; the report."""
    code, _, err = run("generate", "--model", model, "--steps", 1, "--device", "cpu", "--output", out, *arguments)
    assert (code, err) == (0, "")
    return json.loads((out / "result.json").read_text())


def test_the_same_seed_writes_the_same_picture_a_drawn_one_is_recorded_and_several_stand_in_a_row(run, model, tmp_path):
    call = (run, model)
    picture = ("--text", "a rooster", "--to", "image")
    drawn = generate(*call, tmp_path / "drawn", *picture)
    three = generate(*call, tmp_path / "three", *picture, "--seed", drawn["seed"], "--number", 3)
    generate(*call, tmp_path / "last", *picture, "--seed", drawn["seed"] + 2)
    assert drawn["seed"] == three["seed"]
    assert three["files"] == ["image-0.png", "image-1.png", "image-2.png"]
    names = ("drawn/image-0", "three/image-0", "three/image-1", "three/image-2", "last/image-0")
    alone, first, second, third, last = (np.asarray(Image.open(tmp_path / f"{name}.png"), float) for name in names)
    assert np.abs(alone - first).max() <= 1 and np.abs(third - last).max() <= 1
    assert np.abs(first - second).max() > 1 and np.abs(first - third).max() > 1


def test_the_best_of_several_candidates_is_written(run, model, tmp_path):
    call = ("--text", "a rooster", "--to", "image", "--seed", "3")
    one, eight = (generate(run, model, tmp_path / n, *call, "--candidates", n) for n in ("1", "8"))
    usual = generate(run, model, tmp_path / "usual", *call)
    assert [each["settings"]["candidates"] for each in (one, eight, usual)] == [1, 8, None]
    pictures = [np.asarray(Image.open(tmp_path / name / "image-0.png"), float) for name in ("1", "8", "usual")]
    assert np.array_equal(pictures[0], pictures[2]) and np.abs(pictures[0] - pictures[1]).max() > 1


def test_repeated_inputs_are_mixed_into_one_prompt(run, model, files, tmp_path):
    write_image(tiny.media(1)["image"], tmp_path / "b.png")
    pictures = ["--image", files["image"], "--image", tmp_path / "b.png"]
    report = generate(run, model, tmp_path / "out", *pictures, "--weight", "image=1,image=0.25", "--to", "image")
    assert report["inputs"] == {"image": [files["image"], str(tmp_path / "b.png")]}
    assert report["settings"]["weights"] == {"image": [1, 0.25]}
    assert report["files"] == ["image-0.png"]


def test_without_inputs_the_result_is_unconditional(run, model, tmp_path):
    assert generate(run, model, tmp_path / "out", "--to", "audio")["inputs"] == {}


@pytest.mark.parametrize(
    ("modality", "says"),
    [("text", "read: a rooster"), ("image", "PSNR: "), ("video", "PSNR: "), ("audio", "log-mel distance: ")],
)
def test_a_file_goes_through_the_autoencoder_and_back(run, model, files, tmp_path, modality, says):
    out = tmp_path / "out"
    code, stdout, err = run("reconstruct", files[modality], "--model", model, "--device", "cpu", "--output", out)
    assert (code, err) == (0, "")
    assert says in stdout
    (made,) = out.iterdir()
    assert made.stem == f"{modality}-0" and str(made) in stdout


def test_how_much_is_lost_is_measured():
    from opencodi.cli.reconstruct import compare_images, compare_sounds, compare_videos
    from opencodi.latents import AudioCodec

    media, other = tiny.media(0), tiny.media(1)
    assert compare_images(media["image"], media["image"], None) == "PSNR: infinite"
    grey = Image.new("RGB", (16, 16), (100, 100, 100))
    assert compare_images(grey, Image.new("RGB", (16, 16), (110, 110, 110)), None) == "PSNR: 28.13 dB"
    assert compare_videos(media["video"], media["video"], None) == "PSNR: infinite"
    codec = AudioCodec(tiny.audio_autoencoder())
    assert compare_sounds(media["audio"], media["audio"], codec) == "log-mel distance: 0.00 dB"
    # Loudness is no part of what the models learn.
    quiet = Audio(media["audio"].samples / 2, 16000)
    assert compare_sounds(media["audio"], quiet, codec) == "log-mel distance: 0.00 dB"
    assert float(compare_sounds(media["audio"], other["audio"], codec).split()[2]) > 1
