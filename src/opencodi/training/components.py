"""The model folder, seen from a stage: components of earlier stages come out, this stage's go in."""

import copy
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from ..denoisers.maps import with_exact_maps
from ..denoisers.topology import Denoiser
from ..device import pick_device
from ..errors import TrainingError


def load_component(kind: type, model_folder: Path, name: str) -> Any:
    """A component of an earlier stage, frozen, float32, in evaluation mode, on the device that a run works on.

    Raises:
        TrainingError: if that stage has not been trained yet.
    """
    folder = model_folder / name
    if not folder.is_dir():
        raise TrainingError(f"{folder} is missing: first train the stage that makes it")
    network = kind.from_pretrained(folder)
    if not isinstance(network, nn.Module):
        return network
    if isinstance(network, Denoiser):
        network = with_exact_maps(network)
    return network.float().requires_grad_(False).eval().to(pick_device())


def save_component(network: Any, folder: Path) -> None:
    """Save one component in half precision under a temporary name, then put it in place of the old one.

    Master weights stay in the run's checkpoint; the folder is what is loaded for generation in whatever precision fits.
    """
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    half = copy.deepcopy(network)
    half = half.half() if isinstance(half, nn.Module) else half
    half.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
