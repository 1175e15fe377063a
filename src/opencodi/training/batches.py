"""The batches of a run: each is drawn from its number alone, here or by worker processes."""

import sys

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset

from ..data.epochs import BatchRandom
from .recipe import Recipe
from .task import Task


class _Batches(Dataset):
    """This process's share of every batch of a run by its number: those of a step's parts follow one another."""

    def __init__(self, task: Task, recipe: Recipe, process: int, processes: int):
        self.task, self.recipe, self.place = task, recipe, (process, processes)

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.gradient_accumulation_steps

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        step, part = divmod(number, self.recipe.gradient_accumulation_steps)
        rng = BatchRandom(number, (self.recipe.seed, step, part, 0))
        return self.task.sample_share(rng, self.recipe.batch_size, *self.place)


def loader(task: Task, recipe: Recipe, step: int, workers: int, accelerator: Accelerator) -> DataLoader:
    """The batches from ``step`` on, in order."""
    batches = _Batches(task, recipe, accelerator.process_index, accelerator.num_processes)
    return DataLoader(
        batches,
        batch_size=None,
        sampler=range(step * recipe.gradient_accumulation_steps, len(batches)),
        num_workers=workers,
        pin_memory=accelerator.device.type == "cuda",
        # Data sets are large and in memory: a fork shares them.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )
