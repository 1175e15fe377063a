"""The node pack for ComfyUI, held against ComfyUI's contract for nodes by a small executor of workflows in its API format."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from opencodi import OpenCoDiError
from opencodi.media import read

from .. import tiny

PACK = Path(__file__).parents[2] / "integrations" / "comfyui"


@pytest.fixture(scope="module")
def nodes():
    """The pack, imported as ComfyUI does: by its folder, under a name of its own."""
    spec = importlib.util.spec_from_file_location(
        "opencodi_nodes", PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    pack = importlib.util.module_from_spec(spec)
    sys.modules["opencodi_nodes"] = pack
    spec.loader.exec_module(pack)
    return pack.NODE_CLASS_MAPPINGS


@pytest.fixture
def out(tmp_path, monkeypatch):
    """ComfyUI's output folder."""
    module = ModuleType("folder_paths")
    module.get_output_directory = lambda: str(tmp_path)
    monkeypatch.setitem(sys.modules, "folder_paths", module)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


def execute(nodes, workflow):
    """Every node once, after those it needs: its outputs by id. Inputs are checked as ComfyUI's validation does."""
    done = {}

    def result(id):
        if id not in done:
            node = workflow[id]
            cls = nodes[node["class_type"]]
            declared = cls.INPUT_TYPES()
            accepted = {**declared["required"], **declared.get("optional", {})}
            assert set(declared["required"]) <= set(node["inputs"]) <= set(accepted)
            values = {name: value_of(given, accepted[name]) for name, given in node["inputs"].items()}
            returned = getattr(cls(), cls.FUNCTION)(**values)
            done[id] = returned["result"] if isinstance(returned, dict) else returned
            assert len(done[id]) == len(cls.RETURN_TYPES)
        return done[id]

    def value_of(given, declared):
        kind, *options = declared
        if isinstance(given, list):
            id, slot = given
            assert nodes[workflow[id]["class_type"]].RETURN_TYPES[slot] == kind
            return result(id)[slot]
        if isinstance(kind, list):
            assert given in kind
        else:
            assert isinstance(given, {"STRING": str, "BOOLEAN": bool, "INT": int, "FLOAT": float}[kind])
            limits = options[0] if options else {}
            assert limits.get("min", given) <= given <= limits.get("max", given)
        return given

    for id in workflow:
        result(id)
    return done


def test_every_node_declares_what_comfyui_asks_for(nodes):
    assert len(nodes) == 9
    for node in nodes.values():
        declared = node.INPUT_TYPES()
        assert set(declared) <= {"required", "optional", "hidden"}
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
        assert callable(getattr(node, node.FUNCTION)) and isinstance(node.CATEGORY, str) and node.__doc__


def test_the_example_workflow_makes_a_clip_with_sound_by_the_shipped_model(nodes, out):
    workflow = json.loads((PACK / "workflow.json").read_text())
    workflow["1"]["inputs"]["device"] = "cpu"
    workflow["5"]["inputs"]["steps"] = 2
    made = execute(nodes, workflow)
    text, images, frames, fps, audio = made["6"]
    assert text
    for picture in (images, frames):
        assert picture.dtype == torch.float32 and picture.shape[1:] == (64, 64, 3)
        assert picture.min() >= 0 and picture.max() <= 1
    assert frames.shape[0] == 16 and fps == 8.0
    assert audio["waveform"].shape[:2] == (1, 1) and audio["sample_rate"] == 16_000
    clip = read("video", made["7"][0])
    assert clip.frames.shape == (16, 64, 64, 3) and clip.audio is not None
    assert made["7"][0] == str(out / "opencodi" / "clip_00001.mp4")


def test_nodes_make_what_the_pipeline_makes(nodes, model, out):
    pictures = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    sound = {"waveform": torch.rand(1, 2, 8000) * 0.5, "sample_rate": 16_000}
    pipe = nodes["OpenCoDiLoadModel"]().run(model, "cpu", "float32", True)[0]
    prompts = [
        nodes["OpenCoDiText"]().run("a rooster")[0],
        nodes["OpenCoDiImage"]().run(pictures)[0],
        nodes["OpenCoDiAudio"]().run(sound)[0],
        nodes["OpenCoDiClip"]().run(pictures, 8.0)[0],
    ]
    mixed = prompts[0]
    for prompt in prompts[1:]:
        mixed = nodes["OpenCoDiMix"]().run(mixed, 1.0, prompt, 0.5)[0]
    asked = {"text": True, "image": True, "video": True, "audio": True}
    settings = {"steps": 2, "guidance": 2.0, "partner_guidance": 1.5}
    latents = nodes["OpenCoDiSample"]().run(model=pipe, seed=3, number=2, prompt=mixed, **asked, **settings)[0]
    text, images, frames, _, audio = nodes["OpenCoDiDecode"]().run(pipe, latents, 1)
    direct = pipe(
        **mixed.arguments,
        outputs="all",
        num_outputs_per_prompt=2,
        num_inference_steps=2,
        guidance_scale=2.0,
        modality_scale=1.5,
        generator=[torch.Generator().manual_seed(3), torch.Generator().manual_seed(4)],
    )
    assert text.splitlines() == [line for words in direct.text for line in words.splitlines()]
    assert images.shape[0] == 2
    for place in range(2):
        assert np.abs(images[place].numpy() * 255 - np.asarray(direct.image[place], dtype=float)).max() <= 1
    assert np.abs(frames.numpy() * 255 - direct.video[1].frames).max() <= 1
    assert np.abs(audio["waveform"][1, 0].numpy() - direct.audio[1].samples).max() < 1e-4
    shares = mixed.arguments["weights"]
    assert shares["text"] == (1.0,) and shares["image"] == (0.25, 0.25) and shares["video"] == (0.5,)


def test_what_was_not_asked_for_is_empty_and_what_is_wrong_is_said(nodes, model, out):
    pipe = nodes["OpenCoDiLoadModel"]().run(model, "cpu", "float32", False)[0]
    asked = {"text": False, "image": True, "video": False, "audio": False}
    settings = {"steps": 1, "guidance": 0.0, "partner_guidance": 0.0}
    latents = nodes["OpenCoDiSample"]().run(model=pipe, seed=0, number=1, **asked, **settings)[0]
    text, images, frames, _, audio = nodes["OpenCoDiDecode"]().run(pipe, latents, 0)
    assert text == "" and images.shape[0] == 1
    assert frames.shape == (1, 1, 1, 3) and audio["waveform"].shape == (1, 1, 1)
    with pytest.raises(OpenCoDiError, match="outputs"):
        nodes["OpenCoDiSample"]().run(model=pipe, seed=0, number=1, **dict.fromkeys(asked, False), **settings)
    with pytest.raises(OpenCoDiError, match="neither installed nor a folder"):
        nodes["OpenCoDiLoadModel"]().run("nowhere", "cpu", "float32", True)
    for prefix in ("../clip", "/tmp/clip", ""):
        with pytest.raises(ValueError, match="below the output folder"):
            nodes["OpenCoDiSaveClip"]().run(torch.zeros(2, 8, 8, 3), 8.0, prefix)


def test_a_transparent_picture_stands_on_white_and_stereo_becomes_mono(nodes):
    convert = sys.modules["opencodi_nodes.media"]
    picture = torch.zeros(1, 4, 4, 4)
    assert np.asarray(convert.to_pictures(picture)[0]).min() == 255
    stereo = torch.stack([torch.full((100,), 0.5), torch.full((100,), -0.1)])[None]
    assert convert.to_sounds({"waveform": stereo, "sample_rate": 8000})[0].samples[0] == pytest.approx(0.2)
