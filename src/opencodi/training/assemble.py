"""From a trained model folder to one that ships.

    python -m opencodi.training.assemble runs/stickers DESTINATION --sampling recipes/stickers/sampling.yaml

Components in half precision, ``model_index.json`` and ``training.json``, which holds each stage's recipe, steps, seconds, loss
curves and last measures. Prints the stages as the table of the model card.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Any

import diffusers
import torch
import yaml

from ..denoisers import Adapter
from ..errors import ConfigurationError, OpenCoDiError, TrainingError
from ..modality import MODALITIES, parse_modalities
from ..pipeline import EVIDENCE_PARTS, EXTRA_ADAPTERS, EXTRA_COMPONENTS, AnyToAnyPipeline
from ..prompts import TextPromptEncoder
from ..prompts.vocabulary import english_only, quantized
from ..quantized import with_quantized
from .components import forget_paths, put_in_place

SOLVER, CURVES = "scheduler", "curves"


def assemble(
    model_folder: Path,
    destination: Path,
    sampling: Mapping[str, Any] | None = None,
    only: Sequence[str] | None = None,
) -> Path:
    """Write the pipeline of ``model_folder`` to ``destination`` in half precision; a model there before is replaced.

    The sentence encoder keeps only the vocabulary of English (``prompts.vocabulary``). It and the maps of the denoisers are
    stored in 8 bits.

    ``sampling`` holds the pipeline's own arguments, such as steps and guidance. Its ``scheduler`` names a diffusers solver,
    which gets the noise schedule of the training. Files of ``destination`` that are not components (a model card) stay.

    With ``only``, a model of these output modalities is made: components of others may be missing.

    Raises:
        TrainingError: if a component has not been trained yet; the message names all that are missing.
    """
    optional = ("audio_vocoder", *EVIDENCE_PARTS, *EXTRA_COMPONENTS, *EXTRA_ADAPTERS)
    names = [name for name in AnyToAnyPipeline._optional_components if name not in optional]
    needed = names if only is None else _needed(only)
    missing = [name for name in needed if not (model_folder / name).is_dir()]
    if missing:
        raise TrainingError(f"{model_folder} lacks {', '.join(missing)}: train the stages that make them")
    parts = {name: _load(model_folder / name) for name in (*names, *optional) if (model_folder / name).is_dir()}
    if isinstance(parts["text_prompt_encoder"], TextPromptEncoder):
        parts["text_prompt_encoder"] = quantized(english_only(parts["text_prompt_encoder"]))
    for name, part in parts.items():
        if isinstance(part, Adapter):
            parts[name] = with_quantized(part)
    settings = dict(sampling or {})
    if solver := settings.pop(SOLVER, None):
        parts[SOLVER] = getattr(diffusers, solver).from_config(parts[SOLVER].config)
    partial = destination.with_name(destination.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    AnyToAnyPipeline(**parts, **settings).save_pretrained(partial)
    runs = sorted((model_folder / "training").glob("*/summary.json"))
    # A folder that began as a copy of a finished model brings that one's history for the stages not run again.
    before = model_folder / "training.json"
    history = json.loads(before.read_text()) if before.is_file() else {}
    history |= {
        summary.parent.name: json.loads(summary.read_text()) | {CURVES: loss_curves(summary.parent / "log.jsonl")}
        for summary in runs
    }
    for summary in history.values():
        summary["recipe"].pop("model_folder", None)
        summary["recipe"] = without_paths(summary["recipe"])
    history = dict(sorted(history.items()))
    (partial / "training.json").write_text(json.dumps(history, indent=1) + "\n")
    if destination.is_dir():
        for kept in destination.iterdir():
            if kept.is_file() and not (partial / kept.name).exists():
                shutil.copy2(kept, partial / kept.name)
    forget_paths(partial)
    put_in_place(partial, destination)
    return destination


def without_paths(values: Any) -> Any:
    """The values of a recipe, with absolute paths shortened to the last name: paths of this machine stay private."""
    if isinstance(values, dict):
        return {key: without_paths(value) for key, value in values.items()}
    if isinstance(values, list):
        return [without_paths(value) for value in values]
    return Path(values).name if isinstance(values, str) and Path(values).is_absolute() else values


def _needed(modalities: Sequence[str]) -> list[str]:
    """Components without which a model cannot make these modalities, together if they are several."""
    names = [SOLVER]
    for record in (MODALITIES[name] for name in modalities):
        names += [record.denoiser, record.temporal, record.alignment if len(modalities) > 1 else None]
        names += [part for part in record.codec_parts.values() if part not in record.optional_parts]
    return list(dict.fromkeys(filter(None, names)))


def read_sampling(path: Path) -> dict[str, Any]:
    """The pipeline's own arguments from a YAML file.

    Raises:
        ConfigurationError: if the file cannot be read, or names an argument that the pipeline does not have.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML ({error}); give a file like sampling.yaml") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: must hold names and values, such as num_inference_steps: 20")
    components = set(AnyToAnyPipeline._optional_components) - {SOLVER}
    known = [
        SOLVER,
        *(name for name in AnyToAnyPipeline._get_signature_keys(AnyToAnyPipeline)[1] if name not in components),
    ]
    for name in values:
        if name not in known:
            raise ConfigurationError(f"{path}: {name} is nothing the pipeline takes; choose from {', '.join(known)}")
    solver = values.get(SOLVER)
    if solver is not None and not issubclass(getattr(diffusers, str(solver), object), diffusers.SchedulerMixin):
        raise ConfigurationError(f"{path}: scheduler: {solver} is no solver of diffusers; name one like DDIMScheduler")
    return values


def loss_curves(log: Path, points: int = 40) -> dict[str, dict[str, list[float]]]:
    """The loss curves of a run, from its log.

    Args:
        log: a line of JSON for each report: ``step`` and losses, or ``step`` and ``validation/…`` measures.
        points: largest number of points of the loss curve, each the mean of neighbouring reports.

    Returns:
        ``{"loss": {"step": […], "value": […]}, "validation/psnr": …}``; validation measures as they are.
    """
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    curves: dict[str, dict[str, list[float]]] = {}
    reports = [line for line in lines if "loss" in line]
    size = max(1, -(-len(reports) // points))
    parts = [reports[start : start + size] for start in range(0, len(reports), size)]
    for part in parts:
        curve = curves.setdefault("loss", {"step": [], "value": []})
        curve["step"].append(part[-1]["step"])
        curve["value"].append(float(f"{fmean(line['loss'] for line in part):.4g}"))
    for line in lines:
        for name in (name for name in line if name.startswith("validation/")):
            curve = curves.setdefault(name, {"step": [], "value": []})
            curve["step"].append(line["step"])
            curve["value"].append(float(f"{line[name]:.4g}"))
    return curves


def stage_table(history: dict[str, dict]) -> str:
    """The stages as a Markdown table for the model card: recipe, steps, items seen, minutes, last measures."""
    lines = ["| recipe | steps | items seen | minutes | on validation items |", "|---|---|---|---|---|"]
    for name, summary in history.items():
        recipe = summary["recipe"]
        items = summary["step"] * recipe["batch_size"] * recipe["gradient_accumulation_steps"]
        known = {"step", "seconds", "peak_memory_mb", "recipe", CURVES}
        shown = {key: value for key, value in summary.items() if key not in known and not key.startswith("loss_at_")}
        measures = ", ".join(f"{key} {value:.3g}" for key, value in shown.items())
        minutes = round(summary["seconds"] / 60)
        lines.append(f"| `{name}.yaml` | {summary['step']:,} | {items:,} | {minutes} | {measures} |")
    return "\n".join(lines)


def _load(folder: Path):
    """A component, of whatever class its own config names."""
    if (folder / "scheduler_config.json").is_file():
        kind = json.loads((folder / "scheduler_config.json").read_text())["_class_name"]
        return getattr(diffusers, kind).from_pretrained(folder)
    if (folder / "tokenizer_config.json").is_file():
        return import_module("transformers").PreTrainedTokenizerFast.from_pretrained(folder)
    kind = json.loads((folder / "config.json").read_text())["_class_name"]
    rooms = ("opencodi.prompts", "opencodi.latents", "opencodi.denoisers", "opencodi.extras")
    found = next(getattr(import_module(room), kind) for room in rooms if hasattr(import_module(room), kind))
    return found.from_pretrained(folder, torch_dtype=torch.float16)


def main() -> None:
    """Read the arguments, assemble, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_folder", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument(
        "--sampling", type=Path, help="YAML of the pipeline's own arguments, such as num_inference_steps"
    )
    parser.add_argument("--only", help="output modalities of the model, such as text,image; by default all")
    given = parser.parse_args()
    sampling = {} if given.sampling is None else read_sampling(given.sampling)
    only = None if given.only is None else parse_modalities(given.only, "--only")
    made = assemble(given.model_folder, given.destination, sampling, only)
    print(stage_table(json.loads((made / "training.json").read_text())))


if __name__ == "__main__":
    try:
        main()
    except OpenCoDiError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
