import pytest

from opencodi.training.components import save_component
from opencodi.training.run import run_recipe

from .. import tiny
from .tiny_recipes import DATA, ORDER, shrink


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder in which every stage has run for two steps: ``trained / "model"`` holds all components."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "model").mkdir()
    save_component(tiny.text_prompt_encoder(), folder / "model" / "text_prompt_encoder")
    for name in ORDER:
        run_recipe(shrink(name, folder), data=DATA, device="cpu")
    return folder
