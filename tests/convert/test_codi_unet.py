"""Names and shapes of the denoisers are checked strictly; ``test_manifests`` checks them at full size."""

import pytest
import torch

from opencodi.convert.codi_unet import convert_unet
from opencodi.errors import ConfigurationError
from tests.denoisers.reference import network, reference_state


def test_a_missing_unknown_or_misshapen_key_is_named():
    net, state = network("text").denoiser, reference_state("text")
    with pytest.raises(ConfigurationError, match=r"out\.2\.bias: is missing"):
        convert_unet({key: value for key, value in state.items() if key != "out.2.bias"}, net)
    with pytest.raises(ConfigurationError, match="surprise"):
        convert_unet({**state, "surprise": torch.zeros(1)}, net)
    with pytest.raises(ConfigurationError, match=r"out\.2\.bias: shape \[7\] does not fit"):
        convert_unet({**state, "out.2.bias": torch.zeros(7)}, net)
