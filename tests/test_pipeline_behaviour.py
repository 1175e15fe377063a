"""What diffusers expects of any pipeline, as far as loading, saving and placing go (its ``PipelineTesterMixin``)."""

import copy
import json

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from diffusers.hooks.group_offloading import _is_group_offload_enabled
from torch import nn

from opencodi import AnyToAnyPipeline
from opencodi.errors import ArgumentError, ConfigurationError
from opencodi.parts.placing import balanced

from . import tiny
from .tiny import differ, latents

ALL = {**tiny.media(), "outputs": "all"}
IMAGE = {"text": "a rooster", "outputs": ["image"]}
JOINT = {"text": "a rooster", "outputs": ["image", "audio"]}


@pytest.fixture(scope="module")
def folder(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    pipe.save_pretrained(folder)
    return folder


def opened(folder, **options):
    pipe = AnyToAnyPipeline.from_pretrained(folder, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def assert_same(pipe, other, atol: float = 0.0, **call):
    ours, theirs = latents(pipe, **call), latents(other, **call)
    assert ours.keys() == theirs.keys()
    for modality, result in theirs.items():
        assert torch.isfinite(ours[modality]).all()
        torch.testing.assert_close(ours[modality], result, atol=atol, rtol=0)


def networks(pipe) -> dict[str, nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


# ------------------------------------------------------------------------------------------------- saving and opening


def test_a_saved_pipeline_makes_the_same_bits_in_what_people_get(pipe, folder):
    call = {**ALL, "num_inference_steps": 2, "output_type": "np"}
    ours = opened(folder)(**call, generator=tiny.seeded())
    theirs = pipe(**call, generator=tiny.seeded())
    assert ours.text == theirs.text
    for modality in ("image", "video", "audio"):
        assert (ours[modality] == theirs[modality]).all(), modality


def test_weights_lie_where_torch_would_put_them(folder):
    for name, part in networks(opened(folder)).items():
        odd = [key for key, tensor in part.state_dict().items() if tensor.data_ptr() % 64]
        assert odd == [], name


def test_every_part_is_saved_and_opened_with_a_variant(pipe, tmp_path):
    pipe.save_pretrained(tmp_path, variant="fp16")
    files = list(tmp_path.rglob("*.safetensors"))
    assert len(files) == len(networks(pipe)) and all(file.name.endswith(".fp16.safetensors") for file in files)
    assert_same(opened(tmp_path, variant="fp16"), pipe, **ALL)
    with pytest.raises(ConfigurationError, match="it has only the variant 'fp16': give it as variant"):
        AnyToAnyPipeline.from_pretrained(tmp_path)
    # Beside it without a variant, both can be opened.
    pipe.save_pretrained(tmp_path / "both")
    with pytest.raises(ConfigurationError, match="has no weights of the variant 'fp16'; open it without variant"):
        AnyToAnyPipeline.from_pretrained(tmp_path / "both", variant="fp16")


def test_a_variant_that_only_some_parts_have_is_used_for_these(pipe, folder, tmp_path):
    pipe.save_pretrained(tmp_path)
    half = copy.deepcopy(pipe.audio_denoiser).to(torch.float16)
    half.save_pretrained(tmp_path / "audio_denoiser", variant="fp16")
    loaded = opened(tmp_path, variant="fp16")
    assert torch.equal(loaded.audio_denoiser.conv_in.weight, half.conv_in.weight.float())
    assert torch.equal(loaded.text_denoiser.conv_in.weight, pipe.text_denoiser.conv_in.weight)
    assert torch.equal(opened(tmp_path).audio_denoiser.conv_in.weight, pipe.audio_denoiser.conv_in.weight)


def test_shards_are_written_and_read(pipe, tmp_path):
    pipe.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list((tmp_path / "image_denoiser").glob("*-of-*.safetensors"))) > 1
    assert_same(opened(tmp_path), pipe, **JOINT)
    shard = sorted((tmp_path / "image_denoiser").glob("*-of-*.safetensors"))[0]
    shard.unlink()
    with pytest.raises(ConfigurationError, match=f"{shard.name} is missing; restore it"):
        AnyToAnyPipeline.from_pretrained(tmp_path)


def test_only_safetensors_are_written(pipe, tmp_path):
    with pytest.raises(ArgumentError, match="safe_serialization: only safetensors are written"):
        pipe.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    assert not (tmp_path / "pickled").exists()
    with pytest.raises(ArgumentError, match="use_safetensors: only safetensors are read"):
        AnyToAnyPipeline.from_pretrained("stickers", use_safetensors=False)


def test_optional_parts_may_be_missing(tmp_path):
    kept = {"image_denoiser", "image_autoencoder", "scheduler", "text_prompt_encoder"}
    parts = dict.fromkeys(name for name in tiny.components() if name not in kept)
    small = tiny.pipeline(**parts)
    small.save_pretrained(tmp_path)
    loaded = opened(tmp_path)
    assert {name for name, part in loaded.components.items() if part is not None} == kept
    assert loaded.audio_denoiser is None and "audio_denoiser" not in loaded.parts and "image_denoiser" in loaded.parts
    assert_same(loaded, small, text="a rooster", outputs=["image"])


def test_a_pipeline_can_be_saved_over_the_folder_it_came_from(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = opened(tmp_path)
    _ = loaded.image_denoiser  # some of its weights may be mapped from the file that is replaced
    loaded.save_pretrained(tmp_path)
    assert_same(loaded, pipe, **JOINT)
    assert_same(opened(tmp_path), pipe, **ALL)
    assert not list(tmp_path.glob(".partial-*"))


def test_saving_loads_one_part_after_another(folder, tmp_path):
    loaded = opened(folder)
    _ = loaded.text_denoiser
    loaded.save_pretrained(tmp_path)
    assert set(loaded.parts.loaded()) == {"text_denoiser"}


def test_no_file_tells_where_a_part_was_loaded_from(pipe, folder, tmp_path):
    own = tiny.image_denoiser().__class__.from_pretrained(folder / "image_denoiser")
    assert str(own.config._name_or_path) == str(folder / "image_denoiser")
    changed = opened(folder, image_denoiser=own)
    changed.save_pretrained(tmp_path)
    for file in tmp_path.rglob("*.json"):
        assert str(folder.parent) not in file.read_text(), file


def test_a_pipeline_while_it_is_offloaded_is_saved_whole(pipe, folder, tmp_path):
    for way in ("sequential", "leaves on disk"):
        loaded = opened(folder)
        OFFLOADS[way](loaded, tmp_path / "offload")
        latents(loaded, **IMAGE)
        loaded.save_pretrained(tmp_path / way)
        assert_same(opened(tmp_path / way), pipe, **IMAGE)
        assert_same(loaded, pipe, atol=1e-5, **IMAGE)


@pytest.mark.parametrize("argument", ["torch_dtyp", "device_maps", "image_denoisr", "quantization_config"])
def test_unknown_arguments_are_refused(folder, argument):
    with pytest.raises(ArgumentError, match=f"unknown argument '{argument}'"):
        AnyToAnyPipeline.from_pretrained(folder, **{argument: 1})


def test_a_pipeline_made_from_another_has_the_same_parts_and_settings(pipe, folder):
    loaded = opened(folder, exchange="self")
    made = AnyToAnyPipeline.from_pipe(loaded, text_denoiser=None, num_inference_steps=3)
    made.set_progress_bar_config(disable=True)
    assert made.parts.loaded() == {}  # nothing was loaded for it
    assert made.config.exchange == "self" and made.defaults["num_inference_steps"] == 3 and made.text_denoiser is None
    assert_same(made, loaded, **JOINT)
    assert made.device == torch.device("cpu") and AnyToAnyPipeline.from_pipe(pipe).image_denoiser is pipe.image_denoiser


def test_a_pipeline_can_be_copied(pipe, folder):
    for original in (pipe, opened(folder)):
        copied = copy.deepcopy(original)
        assert_same(copied, pipe, **JOINT)
        assert copied.image_denoiser is not original.image_denoiser


# ------------------------------------------------------------------------------------------------- parts


def test_any_entry_that_names_a_class_is_a_part(pipe, folder, tmp_path):
    changed = opened(folder)
    changed.register_modules(smell_denoiser=tiny.audio_denoiser(), smell_scheduler=tiny.scheduler())
    changed.save_pretrained(tmp_path)
    loaded = opened(tmp_path)
    assert loaded.parts.loaded() == {}
    assert loaded.parts.config("smell_denoiser")["model_channels"] == 8
    assert isinstance(loaded.smell_scheduler, DDIMScheduler)
    assert {"smell_denoiser", "smell_scheduler"} <= set(loaded.components)
    assert torch.equal(loaded.smell_denoiser.conv_in.weight, changed.smell_denoiser.conv_in.weight)
    with pytest.raises(AttributeError):
        _ = pipe.smell_denoiser  # another pipeline of the class has no such part
    assert AnyToAnyPipeline.from_pretrained(tmp_path, smell_denoiser=None).smell_denoiser is None


def test_what_a_part_is_is_known_without_loading_it(pipe, folder):
    loaded = opened(folder)
    assert loaded.parts.config("image_denoiser")["model_channels"] == 8
    skeleton = loaded.parts.skeleton("image_autoencoder")
    assert {parameter.device.type for parameter in skeleton.parameters()} == {"meta"}
    assert loaded.parts.size("image_denoiser") == pipe.parts.size("image_denoiser") > 10_000
    assert loaded.parts.loaded() == {} and loaded.dtype == torch.float32 and loaded.device == torch.device("cpu")
    assert not hasattr(loaded, "nothing_of_the_kind")


def test_the_scheduler_can_be_swapped(pipe, folder):
    loaded = opened(folder)
    loaded.scheduler = DPMSolverMultistepScheduler.from_config(loaded.scheduler.config)
    call = {"text": "a rooster", "num_inference_steps": 4}
    assert differ(latents(loaded, **call)["image"], latents(pipe, **call)["image"])
    assert loaded.config.scheduler == ("diffusers", "DPMSolverMultistepScheduler")


# ------------------------------------------------------------------------------------------------- precision and place


def test_to_a_precision_and_back(folder):
    loaded = opened(folder)
    _ = loaded.image_denoiser
    loaded.to(dtype=torch.bfloat16)
    assert {part.dtype for part in networks(loaded).values()} == {torch.bfloat16} and loaded.dtype == torch.bfloat16
    loaded.to(torch.float32)
    assert {part.dtype for part in networks(loaded).values()} == {torch.float32}
    loaded.to("cpu", torch.float16).to(device="cpu", dtype=torch.float32)
    assert loaded.image_denoiser.dtype == torch.float32


def test_precisions_by_dictionary(folder):
    loaded = opened(folder, torch_dtype={"image_denoiser": torch.bfloat16, "default": torch.float16})
    kinds = {name: part.dtype for name, part in networks(loaded).items()}
    assert kinds.pop("image_denoiser") == torch.bfloat16 and set(kinds.values()) == {torch.float16}
    assert opened(folder, dtype={"image_denoiser": torch.bfloat16}).audio_denoiser.dtype == torch.float32
    with pytest.raises(ArgumentError, match="torch_dtype: this model has no part 'unet'"):
        opened(folder, torch_dtype={"unet": torch.float16})
    with pytest.raises(ArgumentError, match="torch_dtype: 'half' is no precision"):
        opened(folder, torch_dtype="half")


@pytest.mark.parametrize("place", ["meta", "nowhere", "cuda:x"])
def test_places_that_hold_no_values_are_refused(folder, place):
    for ask in (lambda: opened(folder).to(place), lambda: opened(folder, device_map=place)):
        with pytest.raises(ArgumentError, match="device: "):
            ask()


def test_a_device_map_says_where_parts_are(pipe, folder):
    loaded = opened(folder, device_map={"image_denoiser": "cpu", "": "cpu"})
    assert loaded.parts.loaded() == {}
    assert_same(loaded, pipe, **JOINT)
    assert loaded.hf_device_map == {"image_denoiser": torch.device("cpu"), "": torch.device("cpu")}
    assert hasattr(loaded.image_denoiser, "_hf_hook")  # its inputs come to it
    for act in (lambda: loaded.to("cpu"), lambda: loaded.enable_model_cpu_offload(device="cpu")):
        with pytest.raises(ArgumentError, match=r"reset_device_map\(\)"):
            act()
    loaded.reset_device_map()
    assert loaded.hf_device_map is None and not hasattr(loaded.image_denoiser, "_hf_hook")
    assert_same(loaded.to("cpu"), pipe, **JOINT)
    assert opened(folder, device_map="cpu").device == torch.device("cpu")
    with pytest.raises(ArgumentError, match="device_map: this model has no part 'unet'"):
        opened(folder, device_map={"unet": "cpu"})


def test_parts_are_balanced_over_accelerators():
    sizes = {"a": 50, "b": 40, "c": 30, "d": 1000}
    found = balanced(sizes, {"cuda:0": 100, "cuda:1": 60})
    assert {name: str(place) for name, place in found.items()} == {"a": "cuda:0", "b": "cuda:1", "c": "cuda:0", "d": "cpu"}
    with pytest.raises(ArgumentError, match="device_map: this machine has no accelerator"):
        balanced(sizes, {})


# ------------------------------------------------------------------------------------------------- offloading

OFFLOADS = {
    "model": lambda pipe, folder: pipe.enable_model_cpu_offload(device="cpu"),
    "sequential": lambda pipe, folder: pipe.enable_sequential_cpu_offload(device="cpu"),
    "leaves": lambda pipe, folder: pipe.enable_group_offload("cpu", offload_type="leaf_level"),
    "blocks": lambda pipe, folder: pipe.enable_group_offload("cpu", num_blocks_per_group=1),
    "leaves on disk": lambda pipe, folder: pipe.enable_group_offload(
        torch.device("cpu"), offload_type="leaf_level", offload_to_disk_path=str(folder)
    ),
    "blocks on disk": lambda pipe, folder: pipe.enable_group_offload(
        "cpu", num_blocks_per_group=2, offload_to_disk_path=folder
    ),
    "disk": lambda pipe, folder: pipe.enable_disk_offload(),
}


@pytest.mark.parametrize("way", OFFLOADS)
def test_offloading_changes_no_result_twice_in_a_row_and_after_it_ends(pipe, folder, tmp_path, way):
    before, after = opened(folder), opened(folder)
    before.parts.load_all()
    for each in (before, after):  # enabled when parts are in memory, and when they are not
        OFFLOADS[way](each, tmp_path)
        assert_same(each, pipe, atol=1e-5, **IMAGE)
        assert_same(each, pipe, atol=1e-5, **ALL)
        each.remove_all_hooks()
        assert_same(each, pipe, **ALL)
        assert not list(tmp_path.iterdir())


def test_after_a_call_whole_parts_are_back_and_hooked(pipe, folder):
    loaded = opened(folder)
    loaded.enable_model_cpu_offload(device="cpu")
    latents(loaded, **ALL)
    hooked = {name for name, part in networks(loaded).items() if hasattr(part, "_hf_hook")}
    assert hooked == set(networks(loaded)) - set(loaded._exclude_from_cpu_offload)
    loaded.remove_all_hooks()
    assert not any(hasattr(part, "_hf_hook") for part in networks(loaded).values())


def test_with_group_offloading_weights_on_disk_leave_memory(pipe, folder, tmp_path):
    loaded = opened(folder)
    disk = {"offload_type": "leaf_level", "offload_to_disk_path": tmp_path}
    loaded.enable_group_offload("cpu", **disk, exclude_modules="text_denoiser")
    assert_same(loaded, pipe, atol=1e-5, **ALL)
    grouped = {name for name, part in networks(loaded).items() if _is_group_offload_enabled(part)}
    assert {"image_denoiser", "audio_denoiser", "text_prompt_encoder"} <= grouped and "text_denoiser" not in grouped
    assert {path.name.rpartition("-")[0] for path in tmp_path.iterdir()} == grouped
    away = loaded.image_denoiser.state_dict()["conv_in.weight"]
    assert not torch.equal(away, pipe.image_denoiser.conv_in.weight)
    loaded.parts.unload("image_denoiser")
    del away, loaded
    # A folder goes with its part; what another program left is not taken for ours.
    (tmp_path / "group_0.safetensors").write_bytes(b"")
    again = opened(folder)
    again.enable_group_offload("cpu", **disk)
    assert_same(again, pipe, atol=1e-5, **JOINT)


def test_one_offload_takes_the_place_of_another(pipe, folder, tmp_path):
    loaded = opened(folder)
    for enable in OFFLOADS.values():
        enable(loaded, tmp_path)
        assert_same(loaded, pipe, atol=1e-5, **IMAGE)


def test_offloads_that_cannot_be_are_refused(folder):
    loaded = opened(folder)
    with pytest.raises(ArgumentError, match="num_blocks_per_group: say how many"):
        loaded.enable_group_offload("cpu")
    with pytest.raises(ArgumentError, match="exclude_modules: this model has no part 'unet'"):
        loaded.enable_group_offload("cpu", offload_type="leaf_level", exclude_modules=["unet"])
    with pytest.raises(ArgumentError, match="gpu_id is 1 but device is cuda:0"):
        loaded.enable_model_cpu_offload(gpu_id=1, device="cuda:0")
    if not torch.cuda.is_available():
        for enable in (loaded.enable_model_cpu_offload, loaded.enable_sequential_cpu_offload):
            with pytest.raises(ArgumentError, match="this machine has no accelerator"):
                enable()
    loaded.enable_model_cpu_offload(device="cpu")
    with pytest.raises(ArgumentError, match=r"to: parts are offloaded; call remove_all_hooks\(\) first"):
        loaded.to("cuda")


def test_parts_can_be_cast_while_they_are_offloaded(folder, tmp_path):
    for way in ("model", "sequential", "leaves on disk"):
        loaded = opened(folder)
        _ = loaded.image_denoiser
        OFFLOADS[way](loaded, tmp_path)
        loaded.to(torch.bfloat16)
        assert latents(loaded, **IMAGE)["image"].dtype == torch.bfloat16


def test_the_index_holds_what_diffusers_writes(folder):
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "AnyToAnyPipeline" and "_name_or_path" not in index
    assert index["scheduler"] == ["diffusers", "DDIMScheduler"]
    assert index["image_denoiser"] == ["opencodi.denoisers.unet", "UNet"]
