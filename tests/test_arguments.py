"""What the pipeline refuses at its door, and in which words."""

import numpy as np
import pytest
import torch
from PIL import Image

from opencodi import AnyToAnyPipeline
from opencodi.arguments import CallArguments, parse_weights
from opencodi.errors import ArgumentError

from . import tiny
from .tiny import seeded

IMAGE = Image.new("RGB", (16, 16))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"outputs": ["picture"]}, "outputs: unknown modality 'picture'"),
        ({"outputs": ["vidoe"]}, "did you mean 'video'"),
        ({"outputs": []}, "outputs: name at least one"),
        ({"text": 3}, "text: expected str items, got int"),
        ({"image": "cat.png"}, "image: expected Image items, got str"),
        ({"audio": np.zeros(10)}, "audio: expected Audio items, got ndarray"),
        ({"text": []}, "text: the list is empty"),
        ({"text": ["a", "b"], "image": [IMAGE] * 3}, r"the lists differ in length \(text 2, image 3\)"),
        ({"text": ["a", ("b", "c")]}, "text: every prompt of a batch needs the same number of conditions"),
        ({"text": "a", "weights": {"txet": 1}}, "weights: unknown modality 'txet'; did you mean 'text'"),
        ({"text": "a", "weights": {"image": 1}}, "weights: names 'image', which is not among the inputs"),
        ({"text": "a", "weights": {"text": (1, 2)}}, "text has 1 conditions but 2 weights"),
        ({"text": "a", "weights": {"text": -1}}, "weights: none may be negative"),
        ({"text": "a", "weights": {"text": "much"}}, "weights: text: must be a finite number"),
        ({"text": "a", "weights": {"text": 0}}, "weights: at least one must be larger than 0"),
        ({"num_inference_steps": 0}, "num_inference_steps: must be a whole number of at least 1"),
        ({"num_inference_steps": -5}, "num_inference_steps: must be a whole number of at least 1"),
        ({"num_inference_steps": 2.5}, "num_inference_steps: must be a whole number"),
        ({"num_inference_steps": {"audio": 5}}, "num_inference_steps: names 'audio', which is not among the outputs"),
        ({"guidance_scale": float("nan")}, "guidance_scale: must be a finite number"),
        ({"guidance_scale": {"image": "high"}}, "guidance_scale: must be a finite number"),
        ({"guidance_interval": 0.5}, "guidance_interval: must be two numbers, start and end, got 0.5"),
        ({"guidance_interval": (0.6, 0.2)}, r"guidance_interval: must satisfy 0 <= start < end <= 1, got \(0.6, 0.2\)"),
        ({"guidance_interval": {"image": (0, 2)}}, "guidance_interval: must satisfy 0 <= start < end <= 1"),
        ({"guidance_interval": {"audio": (0, 1)}}, "guidance_interval: names 'audio', which is not among the outputs"),
        ({"num_candidates": 0}, "num_candidates: must be a whole number of at least 1"),
        ({"num_candidates": {"audio": 2}}, "num_candidates: names 'audio', which is not among the outputs"),
        ({"num_outputs_per_prompt": 0}, "num_outputs_per_prompt: must be a whole number of at least 1"),
        ({"text": "a", "negative_prompt": 7}, "negative_prompt: expected text"),
        ({"text": "a", "negative_prompt": ["b", "c"]}, "negative_prompt: 2 given for 1 prompts"),
        ({"generator": [seeded(), seeded()]}, "generator: 2 given for 1 outputs"),
        ({"latents": {"image": torch.zeros(1, 3, 3)}}, r"latents: image must be \[1, 4, 4, 4\], not \[1, 3, 3\]"),
        ({"latents": {"audio": torch.zeros(1)}}, "latents: names 'audio', which is not among the outputs"),
        ({"height": 13}, "height: must be a positive multiple of 4 pixels"),
        ({"outputs": ["audio"], "seconds": -1}, "seconds: -1 is too small; give at least 0.001"),
        ({"output_type": "numpy"}, "output_type: 'numpy' is not one of pil, np or latent"),
        ({"outputs": ["text"], "text_decoding": "beam"}, "text_decoding: 'beam' is not one of greedy or sample"),
        ({"outputs": ["video"], "num_frames": 31}, "num_frames: 31 frames asked, this model knows positions for 30"),
        ({"callback_on_step_end_tensor_inputs": ["prompt"]}, "'prompt' is not one of latents"),
        ({"callback_on_step_end": "print"}, "callback_on_step_end: expected a function, got 'print'"),
        ({"seconds": float("inf")}, "seconds: must be a finite number of at most 600, got inf"),
        ({"seconds": "2"}, "seconds: must be a finite number of at most 600, got '2'"),
        ({"seconds": 1e9}, "seconds: 1000000000.0 is too large; give at most 600"),
        ({"height": "64"}, "height: must be a whole number of at least 1 and at most 4,096, got '64'"),
        ({"height": 64.0}, "height: must be a whole number of at least 1 and at most 4,096, got 64.0"),
        ({"height": 0}, "height: must be a whole number of at least 1 and at most 4,096, got 0"),
        ({"width": True}, "width: must be a whole number"),
        ({"num_frames": 1.5}, "num_frames: must be a whole number of at least 1 and at most 3,600, got 1.5"),
        ({"height": 100_000, "width": 100_000}, "height: must be a whole number of at least 1 and at most 4,096"),
        ({"height": 4096, "width": 4096, "num_frames": 100}, "height, width, num_frames: 4096 x 4096 pixels in 100 frames"),
        ({"height": 10**5000}, "height: must be a whole number .* got a number of more than 30 digits"),
        ({"num_inference_steps": 10**6}, "num_inference_steps: must be a whole number of at least 1 and at most 1,000"),
        ({"num_outputs_per_prompt": 10**6}, "num_outputs_per_prompt: must be a whole number .* at most 1,024"),
        ({"num_candidates": {"image": 10**6}}, "num_candidates: must be a whole number of at least 1 and at most 256"),
        ({"guidance_scale": 1e20}, r"guidance_scale: 1e\+20 is too large; give at most 100"),
        ({"guidance_scale": {"image": -1e20}}, r"guidance_scale: -1e\+20 is too small; give at least -100"),
        ({"guidance_scale": 10**400}, "guidance_scale: a number of more than 30 digits is too large"),
        ({"text": "a", "weights": {"text": 1e9}}, "weights: text: 1000000000.0 is too large; give at most 1000"),
        ({"text": "a", "weights": [1]}, "weights: expected a dictionary such as"),
        ({"text": "caf\udce9"}, r"text: 'caf\\udce9' is not valid UTF-8 text"),
        ({"text": "a" * 10_001}, "text: has 10,001 characters; give at most 10,000"),
        ({"text": "a", "negative_prompt": "caf\udce9"}, "negative_prompt: .* is not valid UTF-8 text"),
        ({"generator": 3}, "generator: expected a torch.Generator or a list of them, got 3"),
        ({"latents": {"image": torch.full((1, 4, 4, 4), torch.nan)}}, "latents: image holds NaN or infinity"),
        ({"latents": torch.zeros(1, 4, 4, 4)}, "latents: expected a dictionary with a tensor for each output"),
        ({"outputs": 3}, "outputs: expected a list of names, got 3"),
        ({"return_dict": "no"}, "return_dict: input should be a valid boolean, got 'no'"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_bad_arguments_are_refused_in_one_sentence(pipe, call, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        pipe(**{"num_inference_steps": 1, **call})
    assert "\n" not in str(caught.value)


def test_what_a_model_lacks_is_named():
    parts = tiny.components()
    bare = AnyToAnyPipeline(**{name: parts[name] for name in ("text_prompt_encoder", "image_denoiser", "scheduler")})
    with pytest.raises(ArgumentError, match="no audio_prompt_encoder, which it needs to read audio"):
        bare(audio=tiny.media()["audio"])
    with pytest.raises(ArgumentError, match="no image_autoencoder, which it needs to make image"):
        bare(text="a rooster")
    with pytest.raises(ArgumentError, match="no audio_denoiser, which it needs to make audio"):
        bare(text="a rooster", outputs=["audio"])
    empty = AnyToAnyPipeline(**{name: parts[name] for name in ("image_autoencoder", "image_denoiser", "scheduler")})
    with pytest.raises(ArgumentError, match="no prompt encoder"):
        empty()


def test_weights_are_read_from_words():
    assert parse_weights("text=1, image=0.5") == {"text": 1.0, "image": 0.5}
    assert parse_weights("image=1,text=2,IMAGE=0.5") == {"image": (1.0, 0.5), "text": 2.0}
    for words in ("text", "text=much", "=", ""):
        with pytest.raises(ArgumentError, match="is not of the form text=1"):
            parse_weights(words)


def test_everything_a_call_takes_comes_out_in_one_shape():
    request = CallArguments.check(
        {"text": ["a", "b"], "image": (IMAGE, IMAGE)},
        {"num_inference_steps": {"image": 6, "text": 8}, "guidance_scale": 3.0},
        outputs="image,text",
        weights={"image": (1, 0.5)},
        negative_prompt="c",
        num_inference_steps={"text": 4},
        modality_scale={"text": 2},
        modality_interval=(0.2, 0.8),
        num_outputs_per_prompt=2,
        extras=["anchors"],
    )
    assert request.outputs == ["text", "image"]
    assert request.inputs == {"text": [["a", "b"]], "image": [[IMAGE], [IMAGE]]}
    assert (request.batch_size, request.weights, request.negative_prompt) == (2, [1.0, 1.0, 0.5], ["c"])
    assert request.num_inference_steps == {"text": 4, "image": 6}
    assert request.guidance_scale == {"text": 3.0, "image": 3.0}
    assert request.guidance_interval == {"text": (0.0, 1.0), "image": (0.0, 1.0)}
    assert request.modality_scale == {"text": 2.0, "image": None}
    assert request.modality_interval == {"text": (0.2, 0.8), "image": (0.2, 0.8)}
    assert (request.extras, request.latents, request.height) == (("anchors",), {}, None)


def test_numbers_of_numpy_are_numbers():
    request = CallArguments.check(
        {},
        {},
        height=np.int64(64),
        width=np.uint8(64),
        seconds=np.float32(0.5),
        guidance_scale={"image": np.float64(2)},
        num_inference_steps=np.int32(3),
    )
    assert (request.height, request.width, request.seconds) == (64, 64, 0.5)
    assert request.guidance_scale == {"image": 2.0} and request.num_inference_steps == {"image": 3}
    assert all(type(value) is int for value in (request.height, request.width, request.num_inference_steps["image"]))
    for bad in (np.bool_(True), np.float64("nan"), np.float32("inf")):
        with pytest.raises(ArgumentError, match="seconds: must be a finite number"):
            CallArguments.check({}, {}, seconds=bad)
    with pytest.raises(ArgumentError, match="height: must be a whole number"):
        CallArguments.check({}, {}, height=np.float64(64))


def test_a_further_output_takes_the_models_own_settings_and_the_first_keep_theirs():
    defaults = {"num_inference_steps": {"image": 6, "text": 8}, "guidance_scale": 3.0}
    asked = CallArguments.check({"image": IMAGE}, defaults, outputs="image", num_inference_steps=2, guidance_scale=1.5)
    both = asked.including(["text"], defaults)
    assert both.outputs == ["image"]
    assert list(both.num_inference_steps.items()) == [("text", 8), ("image", 2)]
    assert both.guidance_scale == {"text": 3.0, "image": 1.5}
    assert asked.num_inference_steps == {"image": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text_decodin": "greedy"}, "text_decodin: unknown argument; did you mean 'text_decoding'"),
        ({"extras": "anchors"}, "extras: expected a list of names, got 'anchors'"),
        ({"extras": [3]}, r"extras: expected a list of names, got \[3\]"),
        ({"modality_scale": "much"}, "modality_scale: must be a finite number of at most 100, got 'much'"),
        ({"modality_scale": {"audio": 1}}, "modality_scale: names 'audio', which is not among the outputs"),
        ({"modality_interval": (0.5, 0.5)}, "modality_interval: must satisfy 0 <= start < end <= 1"),
        ({"inputs": {}}, "inputs: unknown argument"),
    ],
    ids=str,
)
def test_the_schema_refuses_what_it_does_not_know(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        CallArguments.check({}, {}, **arguments)
    with pytest.raises(ArgumentError, match="inputs: unknown modality 'smell'"):
        CallArguments.check({"smell": "roses"}, {})


def test_a_modality_that_somebody_adds_is_taken_without_further_ado():
    from opencodi.modality import MODALITIES, ModalityRecord, register

    record = ModalityRecord("smell", lambda: bytes, None, None, (), ".bin", "nose", lambda: object, {"autoencoder": "n"}, "n")
    register(record)
    try:
        request = CallArguments.check({"smell": b"roses"}, {}, outputs="smell", weights={"smell": 2}, guidance_scale=4)
        assert request.inputs == {"smell": [[b"roses"]]}
        assert (request.weights, request.guidance_scale) == ([2.0], {"smell": 4.0})
        with pytest.raises(ArgumentError, match="smell: expected bytes items, got str"):
            CallArguments.check({"smell": "roses"}, {})
    finally:
        del MODALITIES["smell"]


def test_a_refusal_comes_before_any_part_of_a_model_is_loaded(tmp_path):
    folder = tmp_path / "model"
    tiny.pipeline().save_pretrained(folder)
    stored = AnyToAnyPipeline.from_pretrained(folder)
    for part in ("image_denoiser", "text_prompt_encoder", "image_autoencoder"):
        (folder / part / "config.json").write_text("{")  # whoever opens it now falls over
    for bad in ({"seconds": 1e9}, {"height": 100_000}, {"num_frames": 1.5}, {"guidance_scale": 1e20}, {"text": "\udce9"}):
        with pytest.raises(ArgumentError):
            stored(**bad)
