"""The parts of a model folder: loaded when they are needed, by any thread, shared, let go of, offloaded."""

import gc
import json
import weakref

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from safetensors.torch import load_file

from opencodi import AnyToAnyPipeline
from opencodi.errors import ArgumentError

from . import tiny
from .tiny import latents, opened

IMAGE_CALL = {"text": "a rooster", "outputs": ["image"]}
JOINT_CALL = {"text": "a rooster", "outputs": ["image", "audio"]}


def in_memory(pipe) -> dict:
    return pipe.parts.loaded()


def assert_same_results(pipe, other, **call):
    ours, theirs = latents(pipe, **call), latents(other, **call)
    for modality, result in theirs.items():
        torch.testing.assert_close(ours[modality], result, atol=0, rtol=0)


def test_a_saved_pipeline_loads_again_and_gives_the_same(pipe, folder, tmp_path):
    loaded = opened(folder)
    assert not list(folder.rglob("*.bin"))
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            weights, again = part.state_dict(), getattr(loaded, name).state_dict()
            assert weights.keys() == again.keys()
            assert all(torch.equal(weights[key], again[key]) for key in weights), name
    assert_same_results(loaded, pipe, **tiny.media(), outputs="all")
    assert loaded.config.exchange == "others"
    # Saved once more, no file tells where the model was loaded from.
    loaded.save_pretrained(tmp_path / "copy")
    texts = [path.read_text() for path in (tmp_path / "copy").rglob("*.json")]
    assert len(texts) > 10
    assert not any(str(folder.parent) in text for text in texts)


def test_settings_are_saved(tmp_path):
    parts = dict.fromkeys([name for name in tiny.components() if name != "image_denoiser"])
    tiny.pipeline(**parts, exchange="self", num_inference_steps=50, guidance_scale=7.5).save_pretrained(tmp_path)
    loaded = AnyToAnyPipeline.from_pretrained(tmp_path)
    assert loaded.config.exchange == "self"
    assert (loaded.defaults["num_inference_steps"], loaded.defaults["guidance_scale"]) == (50, 7.5)
    assert (loaded.defaults["guidance_interval"], loaded.defaults["modality_scale"]) == ([0.0, 1.0], None)
    assert loaded.audio_denoiser is None
    assert AnyToAnyPipeline.from_pretrained(tmp_path, exchange="others").config.exchange == "others"


# ------------------------------------------------------------------------------------------------- part by part


def test_a_call_reads_only_what_it_needs(pipe, folder, capfd):
    loaded = opened(folder)
    assert in_memory(loaded) == {}
    assert_same_results(loaded, pipe, **IMAGE_CALL)
    # Latents need no autoencoder.
    assert set(in_memory(loaded)) == {"text_prompt_encoder", "image_denoiser", "scheduler"}
    assert loaded(**IMAGE_CALL, num_inference_steps=1).image[0].size == (16, 16)
    assert set(in_memory(loaded)) == {"text_prompt_encoder", "image_denoiser", "image_autoencoder", "scheduler"}
    assert capfd.readouterr().err == ""  # no library has anything to complain of


def test_a_part_is_loaded_once_and_kept(pipe, folder):
    loaded = opened(folder)
    latents(loaded, **IMAGE_CALL)
    first = in_memory(loaded)["image_denoiser"]
    assert_same_results(loaded, pipe, **JOINT_CALL)
    assert in_memory(loaded)["image_denoiser"] is first is loaded.image_denoiser is loaded.denoisers["video"]


def test_all_parts_can_be_had_at_once(pipe, folder, tmp_path):
    loaded = opened(folder)
    latents(loaded, **IMAGE_CALL)
    loaded.save_pretrained(tmp_path)  # the whole, too
    keys = pipe.image_denoiser.state_dict().keys()
    assert load_file(next((tmp_path / "image_denoiser").glob("*.safetensors"))).keys() == keys
    again = opened(folder)
    latents(again, **IMAGE_CALL)
    assert again.image_denoiser.state_dict().keys() == keys
    assert set(again.components) == set(pipe.components)
    copied = AnyToAnyPipeline(**again.components)
    copied.set_progress_bar_config(disable=True)
    assert_same_results(copied, pipe, **JOINT_CALL)


def test_parts_replaced_before_they_were_read_stay_replaced(folder, tmp_path):
    loaded = opened(folder)
    loaded.text_denoiser = None
    loaded.scheduler = DPMSolverMultistepScheduler.from_config(loaded.scheduler.config)
    loaded.image_denoiser = tiny.image_denoiser(context_scale=2.0)
    with pytest.raises(ArgumentError, match="no text_denoiser, which it needs to make text"):
        loaded(outputs=["text"])
    latents(loaded, **JOINT_CALL)
    loaded.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["text_denoiser"] == [None, None]
    assert index["scheduler"] == ["diffusers", "DPMSolverMultistepScheduler"]
    assert AnyToAnyPipeline.from_pretrained(tmp_path).image_denoiser.config.context_scale == 2.0


def test_parts_can_be_unloaded_and_come_again(pipe, folder):
    loaded = opened(folder)
    latents(loaded, **JOINT_CALL)
    denoiser = weakref.ref(in_memory(loaded)["image_denoiser"])
    loaded.parts.unload("image_denoiser")
    gc.collect()
    assert denoiser() is None and "audio_denoiser" in in_memory(loaded)
    assert_same_results(loaded, pipe, **JOINT_CALL)
    loaded.parts.unload()
    assert in_memory(loaded) == {}
    with pytest.raises(ArgumentError, match="unload: 'image_denoiser' cannot be loaded from"):
        pipe.parts.unload("image_denoiser")


def test_what_a_model_reads_and_makes_is_known_without_reading_it(folder):
    loaded = opened(folder, audio_prompt_encoder=None)
    assert [*loaded.prompt_encoders] == ["text", "image", "video"]
    assert [*loaded.denoisers] == ["text", "image", "video", "audio"]
    assert in_memory(loaded) == {}
    assert loaded.denoisers["video"] is loaded.image_denoiser


def test_a_bad_size_is_refused_before_anything_is_read(folder):
    loaded = opened(folder)
    for call in ({"outputs": ["video"], "num_frames": 31}, {"outputs": ["image"], "height": 13}):
        with pytest.raises(ArgumentError, match=r"num_frames|height"):
            loaded(**call)
    assert in_memory(loaded) == {}


PROMPTS = {name: tiny.media()[name] for name in ("text", "image", "video")}


def test_a_clip_is_read_with_the_image_prompt_encoder_which_is_stored_and_held_once(pipe, folder):
    loaded = opened(folder)
    assert_same_results(loaded, pipe, video=PROMPTS["video"], num_inference_steps=1)
    assert {"image_prompt_encoder", "video_prompt_encoder"} <= set(in_memory(loaded))
    stored = load_file(folder / "video_prompt_encoder" / "diffusion_pytorch_model.safetensors")
    assert all(name.startswith("temporal.") for name in stored)
    loaded.parts.unload("image_prompt_encoder")
    assert_same_results(loaded, pipe, **PROMPTS, num_inference_steps=1)


@pytest.mark.parametrize("offload", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_a_clip_is_read_while_parts_are_offloaded(pipe, folder, offload):
    loaded = opened(folder)
    getattr(loaded, offload)(device="cpu")
    for _ in range(2):
        assert_same_results(loaded, pipe, **PROMPTS, num_inference_steps=1)


def test_without_the_image_prompt_encoder_no_clip_is_read(folder):
    loaded = opened(folder, image_prompt_encoder=None)
    with pytest.raises(ArgumentError, match="no image_prompt_encoder, which it needs to read video"):
        loaded(video=PROMPTS["video"])


# ------------------------------------------------------------------------------------------------- precision and place


def test_half_precision_files_load_as_float32_unless_asked_otherwise(folder, tmp_path):
    AnyToAnyPipeline.from_pretrained(folder, torch_dtype=torch.float16).save_pretrained(tmp_path)
    assert AnyToAnyPipeline.from_pretrained(tmp_path).image_denoiser.dtype == torch.float32
    kept = AnyToAnyPipeline.from_pretrained(tmp_path, torch_dtype=torch.float16)
    assert kept.dtype == torch.float16
    assert {part.dtype for part in kept.components.values() if isinstance(part, torch.nn.Module)} == {torch.float16}
    some = AnyToAnyPipeline.from_pretrained(tmp_path, torch_dtype={"image_denoiser": torch.bfloat16})
    assert (some.image_denoiser.dtype, some.audio_denoiser.dtype) == (torch.bfloat16, torch.float32)


def test_a_part_passed_as_none_is_not_loaded(folder):
    loaded = AnyToAnyPipeline.from_pretrained(folder, text_denoiser=None)
    assert loaded.text_denoiser is None
    with pytest.raises(ArgumentError, match="no text_denoiser, which it needs to make text"):
        loaded(outputs=["text"])


def test_it_runs_in_bfloat16_asked_for_before_or_after_its_parts_are_read(folder):
    for pipe in (opened(folder).to("cpu", torch.bfloat16), opened(folder, torch_dtype=torch.bfloat16)):
        out = pipe(**tiny.media(), outputs="all", num_inference_steps=1)
        assert all(len(items) == 1 for items in out.to_tuple())
        assert pipe.image_denoiser.dtype == torch.bfloat16


def test_offloading_moves_all_but_the_denoisers_and_changes_no_result(pipe):
    offloaded = tiny.pipeline()
    offloaded.enable_model_cpu_offload(device="cpu")
    hooked = {name for name, part in offloaded.components.items() if hasattr(part, "_hf_hook")}
    networks = {name for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}
    assert hooked == {name for name in networks if not name.endswith(("_denoiser", "_alignment", "_temporal"))}
    assert_same_results(offloaded, pipe, **tiny.media(), outputs="all", num_inference_steps=1)


@pytest.mark.parametrize("unconditional", ["zeros", "empty"])
def test_sequential_offload_brings_prompt_encoders_layer_by_layer_and_changes_no_result(pipe, unconditional):
    offloaded, plain = tiny.pipeline(), tiny.pipeline()
    for each in (offloaded, plain):
        for encoder in each.prompt_encoders.values():
            encoder.register_to_config(unconditional=unconditional)
    offloaded.enable_sequential_cpu_offload(device="cpu")
    away = []  # share of an encoder's weights that are not there, whenever one of its layers has computed

    def watch(layer, encoder):
        def look(*_):
            meta = [p.is_meta for p in encoder.parameters()]
            away.append(sum(meta) / len(meta))

        layer.register_forward_hook(look)

    for encoder in offloaded.prompt_encoders.values():
        for layer in encoder.modules():
            if not [*layer.children()]:
                watch(layer, encoder)
    assert_same_results(offloaded, plain, **tiny.media(), outputs="all", num_inference_steps=1)
    assert len(away) > 20 and min(away) > 0.5
    for encoder in offloaded.prompt_encoders.values():
        assert {p.device.type for p in encoder.parameters()} == {"meta"} and encoder.device == torch.device("cpu")


@pytest.mark.parametrize("offload", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_parts_read_after_offloading_was_enabled_are_offloaded_too(pipe, folder, offload):
    loaded = opened(folder)
    getattr(loaded, offload)(device="cpu")
    for call in (IMAGE_CALL, {**tiny.media(), "outputs": "all"}, IMAGE_CALL):
        assert_same_results(loaded, pipe, **call, num_inference_steps=1)
    assert loaded(**JOINT_CALL, num_inference_steps=1).audio[0].samples.shape == (4096,)
    held = in_memory(loaded)
    assert hasattr(held["text_prompt_encoder"], "_hf_hook")
    layerwise = offload == "enable_sequential_cpu_offload"
    assert ({p.device.type for p in held["image_denoiser"].parameters()} == {"meta"}) == layerwise
    loaded.remove_all_hooks()
    assert {p.device.type for p in held["image_denoiser"].parameters()} == {"cpu"}
    assert_same_results(loaded, pipe, **IMAGE_CALL)


def test_with_disk_offload_nothing_stays_after_a_call(pipe, folder):
    loaded = opened(folder)
    loaded.enable_disk_offload()
    most = []
    call = {**JOINT_CALL, "num_inference_steps": 1, "generator": tiny.seeded()}
    out = loaded(**call, callback_on_step_end=lambda pipe, *_: most.append(set(in_memory(pipe))))
    joint = {f"{modality}_{part}" for modality in ("image", "audio") for part in ("denoiser", "alignment")}
    assert most == [{*joint, "scheduler"}]
    assert set(in_memory(loaded)) == {"scheduler"}
    again = loaded(**{**call, "generator": tiny.seeded()})
    assert list(out.image[0].getdata()) == list(again.image[0].getdata())
    assert_same_results(loaded, pipe, **IMAGE_CALL)
