"""Several jobs → one call of the pipeline → the results of each. Results do not depend on the batch they are made in."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from PIL import Image

from ..media import Audio, Media, Video
from ..trust import Statement

StepCallback = Callable[[int], None]


@dataclass
class Work:
    """What a job asks of the pipeline, and what is done with the results.

    Attributes:
        inputs: conditions of one prompt by modality.
        outputs: modalities to make.
        number: results of the prompt; their seeds are ``seed``, ``seed + 1`` and so on.
        negative_prompt: what to steer away from.
        settings: further arguments of the pipeline, only those that were given.
        size: of the inputs, in bytes of memory.
        finish: applied to the results of each modality before they are saved, such as enlarging.
        audio_format: ending under which sounds are saved, if not as ``.save`` does.
        statement: what the credentials of the results say.
    """

    inputs: dict[str, list[Media]]
    outputs: list[str]
    number: int
    seed: int
    negative_prompt: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    finish: Callable[[str, list[Any]], list[Any]] | None = None
    audio_format: str | None = None
    statement: Statement = field(default_factory=Statement)

    @cached_property
    def size(self) -> int:
        return sum(size_of(item) for items in self.inputs.values() for item in items)

    @cached_property
    def key(self) -> str:
        """Works of the same key can be made in one run: the same kinds of inputs, the same outputs and settings."""
        counts = {modality: len(items) for modality, items in self.inputs.items()}
        # Without inputs the pipeline counts one prompt, which has one negative
        negative = self.negative_prompt if not self.inputs else self.negative_prompt is not None
        return json.dumps([counts, self.outputs, negative, self.settings], sort_keys=True)


def call_arguments(works: Sequence[Work]) -> dict[str, Any]:
    """The arguments of the one call that makes all these works: a row of the batch for each result.

    Each result has a generator of its own, so it is the same in every batch.
    """
    import torch

    rows = [work for work in works for _ in range(work.number)]
    first = works[0]
    seeds = [work.seed + place for work in works for place in range(work.number)]
    call: dict[str, Any] = {
        **first.settings,
        "outputs": first.outputs,
        "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
    }
    for modality, items in first.inputs.items():
        several = len(items) > 1
        call[modality] = [tuple(row.inputs[modality]) if several else row.inputs[modality][0] for row in rows]
    if not first.inputs:
        call["num_outputs_per_prompt"] = len(rows)
    if first.negative_prompt is not None:
        call["negative_prompt"] = [row.negative_prompt for row in rows] if first.inputs else first.negative_prompt
    return call


def run(pipeline: Any, works: Sequence[Work], after_step: StepCallback) -> list[dict[str, list[Any]]]:
    """Make all works in one call; the media of each by modality.

    ``after_step(steps done)`` may raise to stop the call between two steps.
    """
    done = 0

    def callback(*_: Any) -> dict[str, Any]:
        nonlocal done
        done += 1
        after_step(done)
        return {}

    made = pipeline(**call_arguments(works), callback_on_step_end=callback)
    results, start = [], 0
    for work in works:
        end = start + work.number
        results.append({modality: list(made[modality][start:end]) for modality in work.outputs})
        start = end
    return results


def expected_steps(pipeline: Any, work: Work) -> int:
    """How often the callback will be called, as far as the pipeline can tell."""
    try:
        steps, extras = work.settings.get("num_inference_steps"), work.settings.get("extras")
        return pipeline.num_ticks(work.outputs, list(work.inputs), steps, extras)
    except Exception:  # bad settings are refused by the call itself, with a sentence
        return 1


def size_of(media: Any) -> int:
    """Bytes that a media object keeps in memory."""
    if isinstance(media, Video):
        return media.frames.nbytes + size_of(media.audio)
    if isinstance(media, Audio):
        return media.samples.nbytes
    if isinstance(media, Image.Image):
        return media.width * media.height * len(media.getbands())
    return len(media) if isinstance(media, str) else 0
