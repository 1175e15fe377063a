"""A model in which every stage has been trained for two steps, for all tests that look at what training leaves behind."""

import shutil

import pytest

from .tiny_recipes import DATA, ORDER, shrink

WATCHED = {
    "bridging_audio": {},
    "bridging_video": {},
    # Steps so large that half precision shows them
    **{name: {"learning_rate": 0.05} for name in ("video_diffuser", *ORDER[-3:])},
}
"""Stages of which ``trained`` keeps what the model was before and after, and what changes in their recipes."""


@pytest.fixture(scope="session")
def short_samples():
    """What a stage has learned so far is shown by a quarter of the items, made in two steps instead of twenty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opencodi.training.tasks.diffusers.SAMPLE_STEPS", 2)
        patch.setattr("opencodi.training.tasks.diffusers.COLUMNS", 4)
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory, short_samples):
    """A folder in which every stage has run for two steps.

    ``trained / "model"`` holds all components; ``trained / name / "before"`` and ``"after"`` what they were around the stage
    ``name``, for those of ``WATCHED``.
    """
    from opencodi.training.components import save_component
    from opencodi.training.run import run_recipe

    from .. import tiny

    folder = tmp_path_factory.mktemp("trained")
    (folder / "model").mkdir()
    save_component(tiny.text_prompt_encoder(), folder / "model" / "text_prompt_encoder")

    def keep(name, moment):
        if name in WATCHED:
            shutil.copytree(folder / "model", folder / name / moment, ignore=shutil.ignore_patterns("training"))

    for name in ORDER:
        keep(name, "before")
        run_recipe(shrink(name, folder, **WATCHED.get(name, {})), data=DATA, device="cpu")
        keep(name, "after")
    return folder
