"""A task with its data, as ``run_recipe`` makes it, from values of both kinds."""

from pathlib import Path
from typing import Any

from opencodi.collections import find_collection
from opencodi.training.components import ModelFolder
from opencodi.training.recipe import checked
from opencodi.training.task import Task
from opencodi.training.tasks import find_task

from .tiny_recipes import DATA


def make_task(name: str, model_folder: Path, **values: Any) -> Task:
    """The task ``name`` on the sample data; what the collection knows of ``values`` says which data, the rest is settings."""
    collection = find_collection("stickers")
    kind, source = find_task(name, collection.TASKS), collection.DATA[name]
    wanted = checked(source, {key: values[key] for key in values if key in source.model_fields}, "test")
    settings = checked(kind.Settings, {key: values[key] for key in values if key not in source.model_fields}, "test")
    parts = ModelFolder(model_folder)
    return kind(settings, wanted.load(DATA, parts, settings), parts)
