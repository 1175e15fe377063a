"""The command line, end to end on the tiny model, and what a user reads when something is wrong."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opencodi import Audio, cli
from opencodi.media import read_audio, read_image, read_video, write_audio, write_image, write_video

from . import tiny
from .training.tiny_recipes import DATA, shrink


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """One file of each modality."""
    folder = tmp_path_factory.mktemp("inputs")
    media = tiny.media()
    write_image(media["image"], folder / "a.png")
    write_video(media["video"], folder / "a.mp4")
    write_audio(media["audio"], folder / "a.wav")
    (folder / "a.txt").write_text(media["text"])
    endings = {"text": "txt", "image": "png", "video": "mp4", "audio": "wav"}
    return {name: str(folder / f"a.{ending}") for name, ending in endings.items()}


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit code, standard output, standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return call


def process(*arguments, **options) -> subprocess.CompletedProcess:
    """The same in a process of its own."""
    command = [sys.executable, "-c", "from opencodi.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_help_takes_less_than_a_second_of_computing():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = process("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran.returncode == 0
    assert all(name in ran.stdout for name in ("generate", "train", "models", "reconstruct", "convert"))
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1.0


def test_without_arguments_there_is_help_and_with_version_the_version(run):
    assert run()[0] == 0
    assert "generate" in run()[1]
    assert run("--version") == (0, "opencodi 0.1.0\n", "")


def test_everything_becomes_everything_in_a_fresh_process_without_network(model, files, tmp_path):
    """Nothing has imported our classes there: the model folder alone says what to load."""
    out = tmp_path / "new" / "out"
    inputs = ["--text", "a rooster", *(f"--{name}={files[name]}" for name in ("image", "video", "audio"))]
    settings = ["--weight", "text=1,image=0.5", "--steps", "2", "--seed", "3", "--model", model, "--device", "cpu"]
    ran = process("generate", *inputs, "--to", "all", *settings, "--output", out, env={"HF_HUB_OFFLINE": "1"})
    assert (ran.returncode, ran.stderr) == (0, "")
    names = ["text-0.txt", "image-0.png", "video-0.mp4", "audio-0.wav"]
    assert ran.stdout.split() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "result.json"])
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


def test_models_lists_what_is_installed_and_the_parts_of_one(run, model, monkeypatch):
    monkeypatch.setenv("OPENCODI_MODELS", str(Path(model).parent))
    code, out, _ = run("models")
    assert code == 0
    (row,) = [line for line in out.splitlines() if line.split()[:1] == ["tiny"]]
    assert " M" in row and " MB" in row and model in row
    _, parts, _ = run("models", "tiny")
    assert all(name in parts for name in tiny.components())
    assert "FlatUNet" in parts and "guidance_interval" not in parts


def test_train_runs_a_recipe_and_prints_its_last_measures(run, tmp_path):
    recipe = shrink("image_autoencoder", tmp_path)
    code, out, _ = run("train", recipe, "--data", DATA, "--device", "cpu")
    assert code == 0
    (psnr,) = [float(line.split()[1]) for line in out.splitlines() if line.split()[:1] == ["psnr"]]
    summary = tmp_path / "model" / "training" / "image_autoencoder" / "summary.json"
    assert psnr == pytest.approx(json.loads(summary.read_text())["psnr"], rel=1e-3)
    assert "on validation items" in out


def test_train_says_what_is_wrong_with_a_recipe(run, tmp_path):
    code, _, err = run("train", tmp_path / "nothing.yaml")
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and "nothing.yaml" in err


BAD_CALLS = [
    (["generate", "--to", "imge"], "--to: unknown modality 'imge'"),
    (["generate", "--to", "image", "--image", "MISSING.png"], "MISSING.png: there is no such file"),
    (["generate", "--to", "image", "--image", "{audio}"], "a.wav: is a WAV sound, give an image"),
    (["generate", "--to", "image", "--audio", "{empty}"], "has no bytes, save or fetch it again"),
    (["generate", "--to", "image", "--image", "{cut}"], "is truncated"),
    (["generate", "--to", "image", "--text", "a", "--weight", "txt=1"], "unknown modality 'txt'; did you mean 'text'"),
    (["generate", "--to", "image", "--text", "a", "--weight", "text"], "'text' is not of the form text=1"),
    (["generate", "--to", "image", "--text", "a", "--weight", "audio=1"], "not among the inputs"),
    (["generate", "--to", "image", "--steps", "0"], "'--steps'"),
    (["generate", "--to", "image", "--steps", "many"], "'--steps'"),
    (["generate", "--to", "image", "--seed", "-1"], "'--seed'"),
    (["generate", "--to", "image", "--candidates", "0"], "'--candidates'"),
    (["generate", "--to", "image", "--device", "abacus"], "device: 'abacus' cannot be used"),
    (["generate", "--to", "image", "--colour", "red"], "--colour"),
    (["generate", "--to", "image", "--model", "nowhere"], "model 'nowhere' is neither installed nor a folder"),
    (["reconstruct", "{image}", "--as", "smell"], "--as: unknown modality 'smell'"),
    (["reconstruct", "{image}", "--as", "all"], "--as: name one modality"),
    (["reconstruct", "letter.docx"], "letter.docx: the ending '.docx' is none of"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_CALLS, ids=[" ".join(call) for call, _ in BAD_CALLS])
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(run, model, files, tmp_path, arguments, message):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "cut.png").write_bytes(Path(files["image"]).read_bytes()[:200])
    names = {**files, "empty": tmp_path / "empty.wav", "cut": tmp_path / "cut.png"}
    arguments = [argument.format(**names) for argument in arguments]
    if "--model" not in arguments:
        arguments += ["--model", model]
    code, out, err = run(*arguments, "--output", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out").exists()


def test_unknown_commands_and_missing_options_are_one_line_too(run):
    for arguments in (["generat"], ["generate"], ["generate", "--to", "image"], ["train"], ["reconstruct"]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ") and err.count("\n") == 1


def test_an_output_that_cannot_be_a_folder_is_refused_before_any_work(run, model, tmp_path):
    (tmp_path / "taken").write_text("something else")
    for place in ("taken", "taken/deeper"):
        code, _, err = run("generate", "--to", "image", "--model", model, "--output", tmp_path / place)
        assert code == 2
        assert "taken is not a folder that can be written to" in err
    assert (tmp_path / "taken").read_text() == "something else"


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path):
    from opencodi.cli.common import staged

    with pytest.raises(RuntimeError), staged(tmp_path / "out") as folder:
        (folder / "image-0.png").write_text("half")
        raise RuntimeError
    assert not list((tmp_path / "out").iterdir())
