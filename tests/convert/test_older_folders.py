"""A model folder of before becomes one of now: every weight has its place, and nothing else changes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from opencodi import AnyToAnyPipeline, cli
from opencodi.convert.older_folders import convert_folder, split_denoiser
from opencodi.denoisers import ComposedDenoiser
from opencodi.errors import ArgumentError, ConfigurationError
from tests import tiny
from tests.denoisers import reference

WEIGHTS = "diffusion_pytorch_model.safetensors"


def joined(pipe: AnyToAnyPipeline, folder: Path) -> Path:
    """The folder of a tiny pipeline as it was before: adapters inside denoisers, the image network inside the video encoder."""
    pipe.save_pretrained(folder)
    shared = {"environment_dim": tiny.WIDTH, "environment_channels": [8, 8], "environment_num_res_blocks": 1}
    shared |= {
        "environment_tokens": 1,
        "with_environment_map": False,
        "prompt_map_dim": None,
        "prompt_map_size": [8, 8],
    }
    shared |= {"alignment": True, "alignment_width_mult": 1.0, "alignment_feed_forward_mult": 4.0}
    shared |= {"with_alignment": [False, True]}
    timed = {"temporal": True, "with_temporal": [True, True], "temporal_num_heads": 2, "temporal_attention_mult": 2.0}
    timed |= {"temporal_feed_forward_mult": 8 / 3, "max_frames": 30, "frame_rate": 4, "shared_frame_noise": 0.0}
    timed |= {"seconds_per_frame": None, "motion_map_dim": None, "motion_map_harmonics": 3}
    index = json.loads((folder / "model_index.json").read_text())
    for kind in ("text", "image", "audio"):
        part, alignment = folder / f"{kind}_denoiser", folder / f"{kind}_alignment"
        state = load_file(part / WEIGHTS)
        names = json.loads((alignment / "config.json").read_text())["block_names"]
        for key, value in load_file(alignment / WEIGHTS).items():
            if key.startswith("environment_encoder.layers."):
                state[key.replace(".layers.", ".")] = value
            elif key.startswith("blocks."):
                _, number, rest = key.split(".", 2)
                state[f"{names[int(number)]}.alignment.{rest}"] = value
        if kind == "image":
            names = json.loads((folder / "video_temporal" / "config.json").read_text())["block_names"]
            for key, value in load_file(folder / "video_temporal" / WEIGHTS).items():
                _, number, rest = key.split(".", 2)
                state[f"{names[int(number)].removesuffix('residual')}temporal.{rest}"] = value
        config = json.loads((part / "config.json").read_text()) | shared | (timed if kind == "image" else {})
        (part / "config.json").write_text(json.dumps(config))
        save_file(state, part / WEIGHTS, metadata={"format": "pt"})
    for name in [name for name in index if name.endswith(("_alignment", "_temporal"))]:
        shutil.rmtree(folder / name)
        del index[name]
    (folder / "model_index.json").write_text(json.dumps(index))
    video, image = folder / "video_prompt_encoder", load_file(folder / "image_prompt_encoder" / WEIGHTS)
    state = load_file(video / WEIGHTS) | {f"image.{key}": value for key, value in image.items()}
    save_file(state, video / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((video / "config.json").read_text())
    for gone in ("feature_dim",):
        del config[gone]
    (video / "config.json").write_text(json.dumps({**config, "sample_size": 16, "block_out_channels": [8, 8]}))
    return folder


@pytest.fixture(scope="module")
def pipe() -> AnyToAnyPipeline:
    """A tiny pipeline whose environment encoders have the time embeddings of their denoisers, as before."""
    pipe = tiny.pipeline()
    for kind in ("text", "image", "audio"):
        part = pipe.components[f"{kind}_alignment"].environment_encoder.time_embedding
        part.load_state_dict(pipe.components[f"{kind}_denoiser"].time_embedding.state_dict())
    return pipe


@pytest.fixture(scope="module")
def old(pipe, tmp_path_factory) -> Path:
    return joined(pipe, tmp_path_factory.mktemp("before") / "model")


def test_the_converted_model_makes_the_same_latents(pipe, old, tmp_path):
    made = convert_folder(old, tmp_path / "new")
    assert {"image_denoiser", "video_temporal", "image_alignment", "text_alignment", "video_prompt_encoder"} <= set(
        made
    )
    again = AnyToAnyPipeline.from_pretrained(tmp_path / "new")
    again.set_progress_bar_config(disable=True)
    call = {**tiny.media(), "outputs": "all"}
    first, second = (tiny.latents(each, **call) for each in (pipe, again))
    assert first.keys() == second.keys()
    for modality, latents in first.items():
        torch.testing.assert_close(
            second[modality], latents, atol=1e-5, rtol=0
        )  # weights in files lie elsewhere in memory


def test_what_does_not_change_is_copied_and_the_old_folder_stays(old, tmp_path):
    before = {path.relative_to(old): path.read_bytes() for path in old.rglob("*") if path.is_file()}
    made = convert_folder(old, tmp_path / "new")
    assert {path.relative_to(old): path.read_bytes() for path in old.rglob("*") if path.is_file()} == before
    for path, content in before.items():
        if path.parts[0] not in made and path.name != "model_index.json":
            assert (tmp_path / "new" / path).read_bytes() == content
    assert not [path for path in tmp_path.iterdir() if path.name != "new"]


def test_a_network_with_every_part_is_split_without_a_rest():
    """The published layout, whose encoder has time as well, denoises as it did."""
    net = reference.network("image")
    config = {**reference.CONFIGS["image"][1], "_class_name": "UNet", "skip": "aliased", "feed_forward_mult": 4.0}
    config |= {"context_scale": 1.0, "time_embedding_dim": None, "alignment": True, "temporal": True}
    config |= {"with_alignment": (True, True, True, False), "with_temporal": (True,) * 4, "prompt_map_size": (8, 8)}
    config |= {"environment_dim": 96, "environment_channels": (64, 64, 64), "temporal_num_heads": 8, "max_frames": 30}
    state = dict(net.denoiser.state_dict())
    for key, value in net.alignment.state_dict().items():
        if key.startswith("environment_encoder.layers."):
            state[key.replace(".layers.", ".")] = value
        elif key.startswith("blocks."):
            _, number, rest = key.split(".", 2)
            state[f"{net.alignment.config.block_names[int(number)]}.alignment.{rest}"] = value
    for key, value in net.temporal.state_dict().items():
        _, number, rest = key.split(".", 2)
        state[f"{net.temporal.config.block_names[int(number)].removesuffix('residual')}temporal.{rest}"] = value
    made = split_denoiser("image_denoiser", config, state)
    assert made.keys() == {"image_denoiser", "video_temporal", "image_alignment"}
    parts = {"denoiser": "image_denoiser", "temporal": "video_temporal", "alignment": "image_alignment"}
    for part, name in parts.items():
        expected = getattr(net, part).state_dict()
        assert made[name][3].keys() == expected.keys()
        assert all(torch.equal(made[name][3][key], value) for key, value in expected.items())
    again = ComposedDenoiser(**{part: type(getattr(net, part))(**made[name][2]) for part, name in parts.items()})
    assert again.alignment.config.block_names == net.alignment.config.block_names


def test_a_folder_that_is_new_already_or_in_the_way_is_refused(pipe, old, tmp_path):
    pipe.save_pretrained(tmp_path / "now")
    with pytest.raises(ConfigurationError, match="is already as model folders are now"):
        convert_folder(tmp_path / "now", tmp_path / "new")
    with pytest.raises(ArgumentError, match="is not empty"):
        convert_folder(old, tmp_path / "now")
    with pytest.raises(ConfigurationError, match=r"model_index\.json is missing"):
        convert_folder(tmp_path, tmp_path / "new")
    damaged = shutil.copytree(old, tmp_path / "damaged")
    (damaged / "audio_denoiser" / WEIGHTS).write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="audio_denoiser"):
        convert_folder(damaged, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command_converts_and_says_what_is_wrong_in_one_line(old, tmp_path, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main(["convert", "folder", *map(str, arguments)])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    code, out, err = run(old, "--output", tmp_path / "new")
    assert (code, err) == (0, "") and str(tmp_path / "new" / "video_temporal") in out
    for arguments, named in (
        ((tmp_path / "nowhere", "--output", tmp_path / "x"), "nowhere is not a folder"),
        ((tmp_path / "new", "--output", tmp_path / "x"), "already as model folders are now"),
    ):
        code, out, err = run(*arguments)
        assert code == 2 and named in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "x").exists()
