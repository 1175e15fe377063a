"""Our networks give what the reference gives (stored outputs of the reference, README of the goldens: 1e-4)."""

import pytest
import torch

from opencodi.denoisers import environment_tokens, joint_forward
from opencodi.modality import Modality
from opencodi.prompts import Condition, mix
from tests.denoisers.reference import cases, denoisers, descriptions, network
from tests.published import assert_close

SINGLE_OR_JOINT = [name for name, case in descriptions().items() if isinstance(case, dict) and "conditions" in case]


def mixed_context(case: dict) -> torch.Tensor:
    weights = [case.get("mix_weight", {}).get(kind, 1.0) for kind in case["condition_types"]]
    contexts = [cases()[f"input.{name}"] for name in case["conditions"]]
    return mix([Condition(c, torch.ones(c.shape[:2], dtype=torch.bool)) for c in contexts], weights).tokens


def inputs(modalities: list[str]) -> tuple[dict, dict]:
    latents = {Modality(name): cases()[f"input.{name}"] for name in modalities}
    return latents, dict.fromkeys(latents, cases()["input.t"])


@pytest.mark.parametrize("name", SINGLE_OR_JOINT)
def test_a_stored_case_of_the_reference_is_reproduced(name):
    case = descriptions()[name]
    latents, timesteps = inputs(case["xtype"])
    exchange = "others" if name.startswith("crossed_") else "self"
    out = joint_forward(denoisers(case["xtype"]), latents, timesteps, mixed_context(case), exchange)
    assert list(out) == list(latents)
    for modality, prediction in out.items():
        assert_close(prediction, cases()[f"{name}.out.{modality}"])


@pytest.mark.parametrize("name", [name for name in SINGLE_OR_JOINT if name.startswith("joint_")])
def test_environment_tokens_are_the_references(name):
    latents, timesteps = inputs(descriptions()[name]["xtype"])
    found = environment_tokens(denoisers([*latents]), latents, timesteps)
    assert found.keys() == latents.keys()
    for modality, tokens in found.items():
        assert_close(tokens, cases()[f"{name}.env.{modality}"])


@pytest.mark.parametrize("name", ["image", "audio", "text"])
def test_ordinary_skips_match_the_references_own_forward(name):
    sample, timesteps, context = (cases()[f"input.{key}"] for key in (name, "t", "context_a"))
    assert_close(network(name, skip="ordinary")(sample, timesteps, context), cases()[f"std_skip_{name}.out"])


def test_a_video_of_one_frame_is_not_an_image():
    sample, timesteps, context = (cases()[f"input.{key}"] for key in ("video", "t", "context_a"))
    expected = cases()["video_single_frame.out.video"]
    assert_close(network("image")(sample[:, :, :1], timesteps, context), expected)
    assert (network("image")(sample[:, :, 0], timesteps, context) - expected[:, :, 0]).abs().max() > 1e-2


def block_after(adapter, name):
    return adapter.blocks[adapter.config.block_names.index(name)]


def test_stored_weights_and_hash_weights_agree():
    net = network("image")
    assert_close(
        block_after(net.temporal, "middle.0.residual").attention.position_embedding.flatten()[:16],
        cases()["check.unet_image.middle_block.0.1.temporal_attn.pos_embeds"],
        0,
    )
    assert_close(net.denoiser.conv_in.weight.flatten()[:16], cases()["check.unet_image.input_blocks.0.0.weight"], 0)
    assert_close(
        network("audio").denoiser.conv_out.proj.weight.flatten()[:16], cases()["check.unet_audio.out.2.weight"], 0
    )
