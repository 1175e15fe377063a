"""What the pipeline refuses at its door, and in which words."""

import numpy as np
import pytest
import torch
from PIL import Image

from opencodi import AnyToAnyPipeline
from opencodi.arguments import parse_weights
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
        ({"guidance_interval": (0.6, 0.2)}, r"guidance_interval: must lie in 0 <= start < end <= 1, got \(0.6, 0.2\)"),
        ({"guidance_interval": {"image": (0, 2)}}, "guidance_interval: must lie in 0 <= start < end <= 1"),
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
        ({"outputs": ["audio"], "seconds": -1}, "seconds: must be positive"),
        ({"output_type": "numpy"}, "output_type: 'numpy' is not one of pil, np, latent"),
        ({"outputs": ["text"], "text_decoding": "beam"}, "text_decoding: 'beam' is not one of greedy, sample"),
        ({"outputs": ["video"], "num_frames": 31}, "num_frames: 31 frames asked, this model knows positions for 30"),
        ({"callback_on_step_end_tensor_inputs": ["prompt"]}, "'prompt' is not one of latents"),
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
