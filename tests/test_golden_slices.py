"""The shipped model makes what it made: a net under every change of the code between a prompt and its results."""

import json

import numpy as np
import pytest

from opencodi import AnyToAnyPipeline

from . import golden_slices

TOLERANCE = 5e-3
"""Largest difference of a value; float32 on other processors differs by about 1e-4 after twenty steps."""


@pytest.fixture(scope="module")
def stickers() -> AnyToAnyPipeline:
    return AnyToAnyPipeline.from_pretrained("stickers")


@pytest.mark.parametrize("case", golden_slices.CASES)
def test_the_shipped_model_makes_what_it_made(stickers, case):
    expected = json.loads(golden_slices.FILE.read_text(encoding="utf-8"))[case]
    made = golden_slices.compute(stickers, case)
    assert made.keys() == expected.keys()
    for modality, slices in expected.items():
        if modality == "text":
            assert made["text"]["media"] == slices["media"]
        else:
            np.testing.assert_allclose(made[modality]["media"], slices["media"], atol=TOLERANCE, err_msg=modality)
        np.testing.assert_allclose(made[modality]["latents"], slices["latents"], atol=TOLERANCE, err_msg=modality)
