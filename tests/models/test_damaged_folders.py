"""Model folders that are damaged, strange or hostile: one sentence that names the file, and nothing foreign runs."""

import json
import os
import shutil
import sys

import pytest
from safetensors.torch import load_file, save_file

from opencodi import AnyToAnyPipeline
from opencodi.errors import ConfigurationError
from opencodi.models import components

from .. import tiny


@pytest.fixture(scope="module")
def folder(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def refused(folder, *words: str) -> str:
    """Opening the model and reading every part ends in one sentence that holds these words."""
    with pytest.raises(ConfigurationError) as raised:
        _ = AnyToAnyPipeline.from_pretrained(folder).components
    message = str(raised.value)
    assert "\n" not in message and len(message) < 500, message
    for word in words:
        assert word in message, message
    return message


def change_index(folder, **entries):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | entries))


def write_header(weights, header: bytes):
    weights.write_bytes(len(header).to_bytes(8, "little") + header)


@pytest.mark.parametrize("damage", ["no folder", "no weights", "cut header", "cut weights", "no shard", "shards elsewhere"])
def test_missing_and_cut_files_are_named_when_the_model_is_opened(copy, damage):
    part = copy / "audio_denoiser"
    (weights,) = part.glob("*.safetensors")
    if damage == "no folder":
        shutil.rmtree(part)
    elif damage == "no weights":
        weights.unlink()
    elif damage == "no shard":
        (part / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-2.safetensors"}}')
    elif damage == "shards elsewhere":
        (part / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../secret.safetensors"}}')
    else:
        weights.write_bytes(weights.read_bytes()[: 1000 if damage == "cut header" else -1])
    with pytest.raises(ConfigurationError, match="audio_denoiser"):
        AnyToAnyPipeline.from_pretrained(copy)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"a": [1, 2, 3]}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'"text"',
        b"\xff\xfe",
        b"",
    ],
)
def test_a_strange_safetensors_header_is_named(copy, header):
    write_header(copy / "audio_denoiser" / "diffusion_pytorch_model.safetensors", header)
    refused(copy, "audio_denoiser", "not a readable safetensors file; restore it")
    with pytest.raises(ConfigurationError, match="not a readable safetensors file"):
        components(copy)


def test_a_header_that_claims_to_be_huge_is_not_read(copy):
    weights = copy / "audio_denoiser" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    refused(copy, "audio_denoiser", "not a readable safetensors file")


@pytest.mark.parametrize(
    "content",
    [
        None,
        "[]",
        "{",
        "",
        "null",
        '{"a": NaN}',
        '{"sample_size": 1e300}',
        '{"a": [{"b": 12345678901234}]}',
        "[" * 100_000 + "]" * 100_000,
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_a_strange_config_is_named(copy, content):
    config = copy / "audio_denoiser" / "config.json"
    config.unlink() if content is None else config.write_text(content)
    refused(copy, "config.json", "restore it")


@pytest.mark.parametrize("config", [{"model_channels": "wide"}, {"channel_mult": 3}, {"model_channels": 10**8}])
def test_a_config_that_does_not_fit_its_class_is_named(copy, config):
    file = copy / "audio_denoiser" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    refused(copy, "audio_denoiser")


def test_a_config_of_many_megabytes_is_not_read(copy):
    (copy / "audio_denoiser" / "config.json").write_text('{"a": "' + "x" * 2**25 + '"}')
    refused(copy, "config.json is larger than")


@pytest.mark.parametrize(
    "content", ["[]", "null", '"model"', "{", "[" * 100_000 + "]" * 100_000, '{"a": ' * 100_000 + "1" + "}" * 100_000]
)
def test_a_strange_index_is_named(copy, content):
    (copy / "model_index.json").write_text(content)
    refused(copy, "model_index.json", "restore it")
    with pytest.raises(ConfigurationError, match=r"model_index\.json"):
        components(copy)


@pytest.mark.parametrize(
    "entry", ["UNet", ["UNet"], ["a", "b", "c"], [1, 2], {"class": "UNet"}, [["a"], "B"], 3, [None, "UNet"]]
)
def test_an_odd_entry_of_the_index_is_named(copy, entry):
    change_index(copy, audio_denoiser=entry)
    refused(copy, "model_index.json", "audio_denoiser")


@pytest.mark.parametrize(
    "entry",
    [
        ["antigravity", "Fly"],
        ["os", "System"],
        ["opencodi.cli", "main"],
        ["opencodi.nowhere", "UNet"],
        ["opencodi.denoisers.unet", "Nothing"],
        ["opencodi.errors", "MediaError"],
        ["opencodi.pipeline", "AnyToAnyPipeline"],
        ["diffusers.utils.import_utils", "os"],
        ["diffusers", "StableDiffusionPipeline"],
        ["diffusers", "Nothing"],
        ["transformers", "Trainer"],
        ["transformers", "AutoModel"],
        ["transformers.utils", "Path"],
        ["..", "UNet"],
        ["opencodi.__main__", "Main"],
        ["antigravity;import os", "Fly"],
    ],
)
def test_only_models_schedulers_and_tokenizers_of_known_libraries_are_loaded(copy, entry):
    change_index(copy, audio_denoiser=entry)
    before = set(sys.modules)
    refused(copy, "audio_denoiser")
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert "antigravity" not in new


def test_a_part_of_an_own_class_can_be_given_instead(copy):
    change_index(copy, audio_denoiser=["mylab.networks", "MyUNet"])
    assert "load that part yourself and give it to from_pretrained as audio_denoiser=" in refused(copy, "mylab.networks.MyUNet")
    given = AnyToAnyPipeline.from_pretrained(copy, audio_denoiser=tiny.audio_denoiser())
    assert given(outputs="audio", num_inference_steps=1, output_type="np").audio.shape == (1, 4096)


@pytest.mark.parametrize("name", ["../outside", "a/b", "", "x" * 65, "à"])
def test_the_name_of_a_part_cannot_leave_the_folder(copy, name):
    change_index(copy, **{name: ["opencodi.denoisers.unet", "UNet"]})
    refused(copy, "model_index.json")


def test_a_part_cannot_take_the_name_of_a_method(copy):
    shutil.copytree(copy / "audio_denoiser", copy / "to")
    change_index(copy, to=["opencodi.denoisers.unet", "UNet"])
    with pytest.raises(ValueError, match="a part cannot be named 'to'"):
        AnyToAnyPipeline.from_pretrained(copy)


def test_an_unknown_setting_is_named_with_the_nearest(copy):
    change_index(copy, num_inference_step=3)
    refused(copy, "unknown setting 'num_inference_step'; did you mean 'num_inference_steps'?")


def test_a_setting_beyond_any_sense_is_refused(copy):
    change_index(copy, num_inference_steps={"image": 10**12})
    refused(copy, "num_inference_steps is 1e+12")


def test_missing_weights_are_named_when_the_part_is_loaded(copy):
    (weights,) = (copy / "audio_denoiser").glob("*.safetensors")
    tensors = load_file(weights)
    del tensors["conv_in.bias"]
    save_file(tensors, weights)
    refused(copy, "audio_denoiser: its files lack the weights conv_in.bias")


def test_weights_of_another_shape_are_named_when_the_part_is_loaded(copy):
    (weights,) = (copy / "audio_denoiser").glob("*.safetensors")
    tensors = load_file(weights)
    tensors["conv_in.bias"] = tensors["conv_in.bias"].repeat(2)
    save_file(tensors, weights)
    refused(copy, "audio_denoiser", "conv_in.bias")


def change_config(folder, part: str, **values):
    """Change a part's config; None leaves a value out."""
    config = json.loads((folder / part / "config.json").read_text()) | values
    kept = {name: value for name, value in config.items() if value is not None}
    (folder / part / "config.json").write_text(json.dumps(kept))


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("text_autoencoder", {"latent_dim": None}, ("latent_dim of text_autoencoder is", "in_channels of text_denoiser is 8")),
        ("image_denoiser", {"in_channels": 6, "out_channels": 6}, ("latent_channels of image_autoencoder is 4",)),
        ("audio_prompt_encoder", {"projection_dim": 32}, ("projection_dim of audio_prompt_encoder is 32",)),
        ("text_denoiser", {"cross_attention_dim": 48}, ("cross_attention_dim of text_denoiser is 48",)),
        ("image_alignment", {"environment_dim": 24}, ("environment_dim of image_alignment is 24",)),
        ("image_denoiser", {"model_channels": 12}, ("the width of encoder", "of image_alignment is 16")),
        ("audio_vocoder", {"num_mel_bins": 20}, ("num_mel_bins of audio_vocoder is 20",)),
    ],
)
def test_parts_of_different_models_are_named_when_the_model_is_opened(copy, part, values, words):
    change_config(copy, part, **values)
    with pytest.raises(ConfigurationError) as raised:
        AnyToAnyPipeline.from_pretrained(copy)
    message = str(raised.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_a_part_that_is_given_is_not_compared_with_those_of_the_folder(copy, pipe):
    change_config(copy, "audio_vocoder", num_mel_bins=20)
    opened = AnyToAnyPipeline.from_pretrained(copy, audio_vocoder=pipe.audio_vocoder)
    assert opened.audio_vocoder is pipe.audio_vocoder


@pytest.mark.parametrize(
    "file", ["scheduler/scheduler_config.json", "text_tokenizer/tokenizer.json", "text_prompt_encoder/tokenizer.json"]
)
@pytest.mark.parametrize("content", [None, "[]", "{"])
def test_damaged_schedulers_and_tokenizers_are_named(copy, file, content):
    (copy / file).unlink() if content is None else (copy / file).write_text(content)
    refused(copy, file.partition("/")[0])


@pytest.mark.parametrize("gone", ["model", "part"])
def test_a_folder_that_is_gone_when_a_part_is_needed_is_named(copy, gone):
    opened = AnyToAnyPipeline.from_pretrained(copy)
    opened.set_progress_bar_config(disable=True)
    opened(text="a rooster", outputs="image", num_inference_steps=1)
    _ = opened.audio_autoencoder
    shutil.rmtree(copy if gone == "model" else copy / "audio_denoiser")
    with pytest.raises(ConfigurationError, match=r"/audio_[a-z]+ is gone since the model was opened; put it") as raised:
        opened(text="a rooster", outputs="audio", num_inference_steps=1)
    assert "\n" not in str(raised.value)
    assert opened(text="a rooster", outputs="image", num_inference_steps=1).image  # what is in memory still works


def test_a_named_pipe_in_place_of_a_file_does_not_hang(copy):
    (copy / "audio_denoiser" / "config.json").unlink()
    os.mkfifo(copy / "audio_denoiser" / "config.json")
    refused(copy, "config.json is missing")


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(ConfigurationError, match="'nowhere' is neither installed nor a folder"):
        AnyToAnyPipeline.from_pretrained("nowhere")
