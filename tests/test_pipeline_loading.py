"""The pipeline as a folder: saved, loaded, cast, offloaded, damaged."""

import shutil

import pytest
import torch

from opencodi import AnyToAnyPipeline
from opencodi.errors import ArgumentError, ConfigurationError

from . import tiny
from .tiny import latents


@pytest.fixture(scope="module")
def folder(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    pipe.save_pretrained(folder)
    return folder


def test_a_saved_pipeline_loads_again_and_gives_the_same(pipe, folder, tmp_path):
    loaded = AnyToAnyPipeline.from_pretrained(folder)
    assert not list(folder.rglob("*.bin"))
    loaded.set_progress_bar_config(disable=True)
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            weights, again = part.state_dict(), getattr(loaded, name).state_dict()
            assert weights.keys() == again.keys()
            assert all(torch.equal(weights[key], again[key]) for key in weights), name
    call = {**tiny.media(), "outputs": "all"}
    for modality, result in latents(pipe, **call).items():
        # Where the loader puts weights in memory may change the last bit.
        torch.testing.assert_close(latents(loaded, **call)[modality], result, atol=1e-4, rtol=0)
    assert loaded.config.exchange == "others"
    # Saved once more, no file tells where the model was loaded from.
    loaded.save_pretrained(tmp_path / "copy")
    texts = [path.read_text() for path in (tmp_path / "copy").rglob("*.json")]
    assert len(texts) > 10
    assert not any(str(folder.parent) in text for text in texts)


def test_exchange_is_saved(tmp_path):
    parts = dict.fromkeys([name for name in tiny.components() if name != "image_denoiser"])
    tiny.pipeline(**parts, exchange="self").save_pretrained(tmp_path)
    loaded = AnyToAnyPipeline.from_pretrained(tmp_path)
    assert loaded.config.exchange == "self"
    assert loaded.audio_denoiser is None


def test_half_precision_files_load_as_float32_unless_asked_otherwise(folder, tmp_path):
    AnyToAnyPipeline.from_pretrained(folder, torch_dtype=torch.float16).save_pretrained(tmp_path)
    assert AnyToAnyPipeline.from_pretrained(tmp_path).image_denoiser.dtype == torch.float32
    kept = AnyToAnyPipeline.from_pretrained(tmp_path, torch_dtype=torch.float16)
    assert {part.dtype for part in kept.components.values() if isinstance(part, torch.nn.Module)} == {torch.float16}


def test_a_part_passed_as_none_is_not_loaded(folder):
    loaded = AnyToAnyPipeline.from_pretrained(folder, text_denoiser=None)
    assert loaded.text_denoiser is None
    with pytest.raises(ArgumentError, match="no text_denoiser, which it needs to make text"):
        loaded(outputs=["text"])


def test_it_runs_in_bfloat16(folder):
    pipe = AnyToAnyPipeline.from_pretrained(folder).to("cpu", torch.bfloat16)
    pipe.set_progress_bar_config(disable=True)
    out = pipe(**tiny.media(), outputs="all", num_inference_steps=1)
    assert all(len(items) == 1 for items in out.to_tuple())


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_model_is_named(folder, tmp_path, damage):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (weights,) = (copy / "audio_denoiser").glob("*.safetensors")
    if damage == "missing":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match="copy cannot be loaded"):
        AnyToAnyPipeline.from_pretrained(copy)


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(ConfigurationError, match="'nowhere' is neither installed nor a folder"):
        AnyToAnyPipeline.from_pretrained("nowhere")


def test_offloading_moves_all_but_the_denoisers_and_changes_no_result(pipe):
    offloaded = tiny.pipeline()
    offloaded.enable_model_cpu_offload(device="cpu")
    hooked = {name for name, part in offloaded.components.items() if hasattr(part, "_hf_hook")}
    networks = {name for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    assert hooked == networks - {"text_denoiser", "image_denoiser", "audio_denoiser"}
    call = {**tiny.media(), "outputs": "all", "num_inference_steps": 1}
    for modality, result in latents(pipe, **call).items():
        torch.testing.assert_close(latents(offloaded, **call)[modality], result, atol=1e-5, rtol=0)
