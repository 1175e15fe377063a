"""A text that nobody asked for, through which outputs agree and inputs are named."""

import torch

from opencodi import Modality

from .. import tiny

SETTINGS = {"in_turn": {"order": ["text", "image"]}, "rereading": {"weight": 4.0}}
BRIDGES = ({}, {"text_bridge": {}})
STEPS = {"num_inference_steps": {"text": 2, "image": 2, "audio": 2}}


def latents(pipe, **call):
    made = pipe(**call, output_type="latent", generator=torch.Generator().manual_seed(0))
    return {modality: getattr(made, modality) for modality in Modality}


def test_outputs_are_what_they_are_beside_a_text_but_the_text_stays_unseen():
    plain, bridged = (tiny.pipeline(extras=SETTINGS | bridge, **STEPS) for bridge in BRIDGES)
    picture = tiny.media()["image"]
    for outputs in (["image"], ["image", "audio"]):
        made = latents(bridged, image=picture, outputs=outputs)
        beside = latents(plain, image=picture, outputs=["text", *outputs])
        without = latents(plain, image=picture, outputs=outputs)
        assert made["text"] is None and beside["text"] is not None
        assert torch.equal(made["image"], beside["image"]) and not torch.equal(made["image"], without["image"])


def test_a_text_given_alone_to_one_output_needs_no_other():
    plain, bridged = (tiny.pipeline(extras=SETTINGS | bridge, **STEPS) for bridge in BRIDGES)
    assert torch.equal(*(latents(each, text="a dog", outputs="image")["image"] for each in (plain, bridged)))
    several = {"text": "an animal", "outputs": ["image", "audio"]}
    assert not torch.equal(*(latents(each, **several)["image"] for each in (plain, bridged)))


def test_a_text_among_other_inputs_is_not_their_name_yet():
    plain, bridged = (tiny.pipeline(extras=SETTINGS | bridge, **STEPS) for bridge in BRIDGES)
    mixed = {"text": "a dog", "image": tiny.media()["image"]}
    found, without = (latents(each, **mixed, outputs="audio")["audio"] for each in (bridged, plain))
    beside = latents(plain, **mixed, outputs=["text", "audio"])["audio"]
    assert torch.equal(found, beside) and not torch.equal(found, without)


def test_a_model_that_makes_no_text_does_without():
    plain, bridged = (tiny.pipeline(extras=SETTINGS | bridge, **STEPS, text_denoiser=None) for bridge in BRIDGES)
    call = {"image": tiny.media()["image"], "outputs": ["image"]}
    assert torch.equal(*(latents(each, **call)["image"] for each in (plain, bridged)))
