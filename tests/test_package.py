"""The package as a whole: light to import, honest about what it holds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import opencodi
from opencodi import models
from opencodi.errors import ConfigurationError

ROOT = Path(__file__).parents[1]


def test_importing_the_package_loads_no_torch():
    code = "import sys, opencodi, opencodi.cli; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "opencodi" in loaded
    assert not {"torch", "diffusers", "transformers", "numpy", "av"} & set(loaded)


def test_every_public_name_can_be_imported():
    for name in opencodi.__all__:
        assert getattr(opencodi, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = opencodi.Nonsense


def test_constraints_pin_every_dependency_of_the_project():
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    project = (ROOT / "pyproject.toml").read_text()
    wanted = {name.lower().replace("_", "-") for name in re.findall(r'"([A-Za-z][\w-]*)>=', project)} - {"hatchling"}
    assert len(wanted) > 15
    assert wanted <= pinned


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of models with one model, ``small``, whose only part has six parameters."""
    import torch
    from safetensors.torch import save_file

    part = tmp_path / "small" / "image_denoiser"
    part.mkdir(parents=True)
    save_file({"weight": torch.zeros(2, 3, dtype=torch.float16)}, part / "diffusion_pytorch_model.safetensors")
    index = '{"image_denoiser": ["opencodi.denoisers.unet", "UNet"], "scheduler": [null, null], "exchange": "others"}'
    (tmp_path / "small" / models.INDEX).write_text(index)
    monkeypatch.setenv("OPENCODI_MODELS", str(tmp_path))
    return tmp_path


def test_a_model_is_found_by_name_and_by_folder(home):
    assert models.installed()["small"] == home / "small"
    assert models.resolve("small") == models.resolve(home / "small") == home / "small"


def test_an_unknown_model_says_what_is_installed(home):
    with pytest.raises(ConfigurationError, match=r"'large' is neither installed nor a folder; installed: .*small"):
        models.resolve("large")
    with pytest.raises(ConfigurationError, match=r"holds no model_index.json"):
        models.resolve(home)


def test_sizes_are_read_from_the_files_alone(home):
    (part,) = models.components(home / "small")
    assert (part.name, part.class_name, part.parameters) == ("image_denoiser", "UNet", 6)
    assert part.size == (home / "small/image_denoiser/diffusion_pytorch_model.safetensors").stat().st_size


def test_a_damaged_model_folder_is_named(home):
    weights = home / "small/image_denoiser/diffusion_pytorch_model.safetensors"
    weights.write_bytes(b"\xff" * 40)
    with pytest.raises(ConfigurationError, match=r"diffusion_pytorch_model.safetensors is not a readable"):
        models.components(home / "small")
    (home / "small" / models.INDEX).write_text("{")
    with pytest.raises(ConfigurationError, match=r"model_index.json cannot be read"):
        models.components(home / "small")
