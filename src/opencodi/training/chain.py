"""A folder of recipes as one command: all stages in the order that their ``reads`` and ``writes`` give."""

import json
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import yaml

from ..device import pick_device
from ..errors import ConfigurationError, TrainingError
from .checkpoint import find_checkpoints, read_recipe
from .components import find_component
from .options import Options
from .processes import make_accelerator, on_first
from .recipe import Recipe, changes_since, load_recipe
from .run import folder_of, run_recipe

FINISHED, STOPPED, NEW = "finished", "stopped", "new"
REPLACED = "replaced"
"""Where runs of stages that are trained again are kept, below ``training``."""


@dataclass(frozen=True)
class Stage:
    """One recipe of a folder.

    Attributes:
        path: of its file.
        recipe: with the model folder that it is trained into.
    """

    path: Path
    recipe: Recipe

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.path.stem

    @property
    def run_folder(self) -> Path:
        """Where its log and checkpoints are."""
        return folder_of(self.recipe, self.path)

    def state(self) -> str:
        """``finished``, ``stopped`` (it can be resumed) or ``new``."""
        whole = all(find_component(Path(self.recipe.model_folder) / name) for name in self.recipe.writes)
        if whole and self._summary().get("step", 0) >= self.recipe.steps:
            return FINISHED
        return STOPPED if find_checkpoints(self.run_folder) else NEW

    def changes(self) -> list[str]:
        """What the recipe says otherwise than the run that was begun, see ``changes_since``."""
        begun = self._summary().get("recipe") or read_recipe(self.run_folder)
        return changes_since(begun, self.recipe) if begun else []

    def _summary(self) -> dict:
        path = self.run_folder / "summary.json"
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except ValueError as error:
            raise TrainingError(
                f"{path} is damaged: remove it, and the stage ends again from its checkpoint"
            ) from error


def load_stages(folder: Path, output: str | Path | None = None) -> list[Stage]:
    """The recipes (``*.yaml`` with a ``task``) of a folder in their order; ``output`` replaces their model folder.

    Raises:
        ConfigurationError: if there is none, one is wrong, they name several model folders, or they have no order.
    """
    stages = []
    for path in sorted(folder.glob("*.yaml")):
        if not _is_recipe(path):
            continue
        recipe = load_recipe(path)
        if output is not None:
            recipe = recipe.model_copy(update={"model_folder": str(output)})
        stages.append(Stage(path, recipe))
    if not stages:
        raise ConfigurationError(f"{folder} holds no recipe (*.yaml with a task); name another folder")
    targets = sorted({stage.recipe.model_folder for stage in stages})
    if len(targets) > 1:
        raise ConfigurationError(f"{folder}: recipes name several model folders ({', '.join(targets)}); give --output")
    return in_order(stages)


def _is_recipe(path: Path) -> bool:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return True  # loading it says what is wrong
    return isinstance(values, dict) and "task" in values


def in_order(stages: Sequence[Stage]) -> list[Stage]:
    """Stages so that each comes after those whose components it reads.

    A component is made by the stage that writes it without reading it, then changed by those that read and write it, then
    read by all others. A stage that is needed for a change may read the component before it.

    Raises:
        ConfigurationError: if two stages make the same component, or stages wait for one another.
    """
    by_name = {stage.name: stage for stage in stages}
    needs: dict[str, set[str]] = {name: set() for name in by_name}
    wishes: list[tuple[str, str]] = []
    for component in sorted({name for stage in stages for name in stage.recipe.writes}):
        writers = [stage for stage in stages if component in stage.recipe.writes]
        makers = [stage.name for stage in writers if component not in stage.recipe.reads]
        changers = [stage.name for stage in writers if component in stage.recipe.reads]
        if len(makers) > 1 and component != "scheduler":  # all denoisers share one, which every diffuser writes alike
            raise ConfigurationError(
                f"{', '.join(makers)} all make {component}; keep one of them, or let the later one read {component}"
            )
        readers = [stage.name for stage in stages if component in stage.recipe.reads]
        for reader in readers:
            needs[reader] |= set(makers) - {reader}
        wishes += [(reader, changer) for reader in readers if reader not in changers for changer in changers]
        wishes += list(zip(changers[1:], changers))
    for later, earlier in wishes:
        if later not in _ancestors(earlier, needs):
            needs[later].add(earlier)
    try:
        sorter = TopologicalSorter(needs)
        sorter.prepare()
    except CycleError as error:
        raise ConfigurationError(f"{' → '.join(error.args[1])}: these stages wait for one another") from error
    found: list[Stage] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found += [by_name[name] for name in ready]
        sorter.done(*ready)
    return found


def _ancestors(name: str, needs: dict[str, set[str]]) -> set[str]:
    found, waiting = set(), [name]
    while waiting:
        for earlier in needs[waiting.pop()] - found:
            found.add(earlier)
            waiting.append(earlier)
    return found


def trained_again(stages: Sequence[Stage], changed: Collection[str]) -> list[Stage]:
    """The stages that must begin anew because those named ``changed`` do: whatever reads what these write, and so on.

    Where a stage goes on from what another made, that one begins anew as well.
    """
    found = set(changed)
    while True:
        again = [stage for stage in stages if stage.name in found]
        written = {name for stage in again for name in stage.recipe.writes}
        continued = {name for stage in again for name in set(stage.recipe.writes) & set(stage.recipe.reads)}
        more = {
            stage.name for stage in stages if written & set(stage.recipe.reads) or continued & set(stage.recipe.writes)
        }
        if more <= found:
            return again
        found |= more


def run_recipes(folder: Path, options: Options) -> None:
    """Train all stages of a folder: finished ones are skipped, stopped ones go on.

    Before the first step it prints what is left and how long that takes here. ``options.minutes`` is for all of it.

    Raises:
        ConfigurationError: if the recipes are wrong, or have no order.
        TrainingError: if a component is missing that no stage makes, or a recipe has changed since it was trained and
            ``options.override`` is not given.
    """
    from .plan import print_stages

    stages = load_stages(folder, options.output)
    accelerator = make_accelerator(pick_device(options.device), "no")
    on_first(accelerator, lambda: _begin(stages, options.override))
    left = [stage for stage in stages if stage.state() != FINISHED]
    first = accelerator.is_main_process
    if left:
        on_first(accelerator, lambda: print_stages(stages, left, options))
    for stage in left:
        if first:
            print(f"\n{stage.name}: {stage.state()}", flush=True)
        resume = stage.state() == STOPPED
        run_recipe(stage.path, **vars(replace(options, resume=resume, override=False)))
        if stage.state() != FINISHED:
            if first:
                print(f"{stage.name} has stopped; the same command goes on from there")
            return
    if first:
        print(f"\nall {len(stages)} stages are finished in {stages[0].recipe.model_folder}")


def _begin(stages: Sequence[Stage], override: bool) -> None:
    """Check that the stages can be trained; put the runs of those that begin anew aside."""
    model_folder = Path(stages[0].recipe.model_folder)
    made = {name for stage in stages for name in set(stage.recipe.writes) - set(stage.recipe.reads)}
    for stage in stages:
        for name in stage.recipe.reads:
            if name not in made and not find_component(model_folder / name):
                raise TrainingError(
                    f"{stage.path}: reads {name}, which no recipe here makes and {model_folder} lacks; add a recipe, or put "
                    "the component there"
                )
    changes = {stage.name: stage.changes() for stage in stages if stage.changes()}
    if not changes:
        return
    again = trained_again(stages, changes)
    names = ", ".join(stage.name for stage in again)
    told = "; ".join(f"{name}: {', '.join(sentences)}" for name, sentences in changes.items())
    if not override:
        raise TrainingError(
            f"{told}, unlike what was trained in {model_folder}; change it back, or train {names} again with --override"
        )
    print(f"{told}; trained again: {names}", file=sys.stderr)
    for stage in again:
        if stage.run_folder.is_dir():
            aside = model_folder / "training" / REPLACED
            aside.mkdir(exist_ok=True)
            number = len([path for path in aside.iterdir() if path.name.startswith(f"{stage.name}-")])
            os.replace(stage.run_folder, aside / f"{stage.name}-{number}")
