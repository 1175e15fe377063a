"""The full-size benchmark, on the reduced published networks."""

import pytest
import torch

from opencodi.modality import MODALITIES, Modality
from tests.denoisers import reference

CONFIGS = {
    **{f"{name}_denoiser": {**config, "skip": "aliased"} for name, (_, config) in reference.CONFIGS.items()},
    **{f"{name}_alignment": config for name, config in reference.ALIGNMENT.items()},
    "video_temporal": reference.TEMPORAL,
}
CASES = {
    "image": {"image": (4, 8, 8)},
    "text": {"text": (24,)},
    "image+audio": {"image": (4, 8, 8), "audio": (8, 8, 8)},
    "video8": {"video": (4, 2, 8, 8)},
}


@pytest.mark.parametrize(("component", "part"), [("image_denoiser", "denoiser"), ("video_temporal", "temporal")])
def test_networks_are_built_with_the_weights_of_the_reference(component, part):
    from full_size import build

    timed = reference.TEMPORAL["block_names"]
    weights = build(component, CONFIGS[component], timed, "hash", torch.float32).state_dict()
    expected = getattr(reference.network("image"), part).state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in weights.items())


PARTS = {
    "image": [("image", "denoiser")],
    "text": [("text", "denoiser")],
    "image+audio": [(name, part) for name in ("image", "audio") for part in ("denoiser", "alignment")],
    "video8": [("image", "denoiser"), ("image", "temporal")],
}


@pytest.mark.parametrize("case", list(CASES))
def test_a_case_is_measured_with_the_parts_it_needs_only(case):
    from full_size import measure

    found, published = (measure(case, "fp32", 1, 2, "random", each, CASES[case], CONFIGS) for each in (False, True))
    assert published["parameters"] == found["parameters"] and 0 < published["cpu"] < 60
    assert 0 < found["wall"] < 60 and 0 < found["cpu"] < 60 and found["peak"] > 1e7
    parts = [getattr(reference.network(name), part) for name, part in PARTS[case]]
    assert found["parameters"] == sum(p.numel() for part in parts for p in part.parameters())


def test_every_case_has_a_time_of_the_reference_and_a_published_network():
    from full_size import CASES, CONFIGS, REFERENCE

    assert CASES.keys() == REFERENCE.keys()
    assert all(MODALITIES[Modality(name)].denoiser in CONFIGS for shapes in CASES.values() for name in shapes)


def test_as_published_is_the_references_computation_and_its_result():
    from full_size import published_attention

    from opencodi.denoisers import joint_forward

    nets = {Modality(name): reference.network(name) for name in ("image", "audio")}
    generator = torch.Generator().manual_seed(0)
    latents = {m: torch.randn(2, *CASES["image+audio"][m], generator=generator) for m in nets}
    prompt = torch.randn(2, 1, nets[Modality.IMAGE].config.cross_attention_dim, generator=generator)

    def run():
        with torch.no_grad(), torch.profiler.profile() as profile:
            out = joint_forward(nets, latents, dict.fromkeys(nets, torch.tensor([9, 9])), prompt, exchange="self")
        return out, {event.key: event.count for event in profile.key_averages()}

    ours, fused = run()
    with published_attention():
        published, written_out = run()
    for modality, x in ours.items():
        torch.testing.assert_close(published[modality], x, atol=1e-4, rtol=0)
    assert not any("scaled_dot_product" in name for name in written_out)
    # Both attentions of every transformer, where ours has the first alone
    attentions = fused["aten::scaled_dot_product_attention"]
    assert written_out["aten::softmax"] == 2 * attentions
