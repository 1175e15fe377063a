"""The full-size benchmark, on the reduced published networks."""

import pytest
import torch

from opencodi.modality import INFO, Modality
from tests.denoisers import reference

CONFIGS = {
    f"{name}_denoiser": {**reference.SHARED, **config, "skip": "aliased"}
    for name, (_, config) in reference.CONFIGS.items()
}
CASES = {
    "image": {"image": (4, 8, 8)},
    "text": {"text": (24,)},
    "image+audio": {"image": (4, 8, 8), "audio": (8, 8, 8)},
    "video8": {"video": (4, 2, 8, 8)},
}


@pytest.mark.parametrize("left_out", [{}, {"alignment": False}], ids=str)
def test_networks_are_built_with_the_weights_of_the_reference(left_out):
    from full_size import build

    weights = build("audio_denoiser", CONFIGS["audio_denoiser"], left_out, "hash", torch.float32).state_dict()
    whole = reference.network("audio").state_dict()
    assert (weights.keys() == whole.keys()) == (not left_out) and weights.keys() <= whole.keys()
    assert all(torch.equal(tensor, whole[key]) for key, tensor in weights.items())


@pytest.mark.parametrize("case", list(CASES))
def test_a_case_is_measured_with_the_parts_it_needs_only(case):
    from full_size import measure

    found = measure(case, "fp32", 1, 2, "random", shapes=CASES[case], configs=CONFIGS)
    assert 0 < found["wall"] < 60 and 0 < found["cpu"] < 60 and found["peak"] > 1e7
    nets = {name: reference.network(name) for name in ("image", "audio", "text")}
    expected = 0
    for name in dict.fromkeys({"video": "image"}.get(each, each) for each in CASES[case]):
        expected += sum(p.numel() for p in nets[name].parameters())
        if case != "image+audio":
            expected -= sum(p.numel() for _, p in nets[name].alignment_parameters())
        if case == "image":
            expected -= sum(p.numel() for _, p in nets[name].temporal_parameters())
        if case == "image+audio":
            temporal = [p.numel() for key, p in nets[name].named_parameters() if ".temporal." in key]
            expected -= sum(temporal)
    assert found["parameters"] == expected


def test_every_case_has_a_time_of_the_reference_and_a_published_network():
    from full_size import CASES, CONFIGS, REFERENCE

    assert CASES.keys() == REFERENCE.keys()
    assert all(INFO[Modality(name)].denoiser in CONFIGS for shapes in CASES.values() for name in shapes)
