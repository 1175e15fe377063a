"""Seconds a user waits."""

import os
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch

from ....modality import Modality
from ....pipeline import AnyToAnyPipeline
from .bench import Bench

PROMPT = "a rooster"


def measure(bench: Bench) -> dict[str, Any]:
    """Median seconds of one prompt to all four outputs and to a picture alone, everything loaded, and of loading.

    Returns:
        ``{"all_four", "image_alone", "load", "vocoder_per_second", "repeats", "threads", "cores", "device"}``, times in
        seconds; ``load`` is None where the model is not in a folder. ``vocoder_per_second`` is for a second of sound, on one
        thread; None without a vocoder.
    """
    repeats = bench.budget.repeats
    bench.progress.begin("timing", 2 * repeats + 2)

    def generate(outputs: list[Modality]) -> float:
        generator = torch.Generator().manual_seed(bench.seed)
        seconds = _clocked(lambda: bench.pipeline(text=PROMPT, outputs=outputs, generator=generator))
        bench.progress.advance(1)
        return seconds

    found = {
        "image_alone": median(generate([Modality.IMAGE]) for _ in range(repeats)),
        "all_four": median(generate(list(Modality)) for _ in range(repeats)),
        "load": None,
        "vocoder_per_second": _vocoding(bench),
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": str(bench.pipeline.device),
    }
    if bench.model_folder is not None:
        device = bench.pipeline.device
        found["load"] = _clocked(lambda: _load(bench, device))
    bench.progress.advance(1)
    return found


@torch.no_grad()
def _vocoding(bench: Bench, repeats: int = 5) -> float | None:
    """Median seconds that the vocoder takes for a second of sound on one thread."""
    vocoder, autoencoder = bench.pipeline.audio_vocoder, bench.pipeline.audio_autoencoder
    threads = torch.get_num_threads()
    if vocoder is None:
        return None
    frames = round(autoencoder.config.sample_rate / autoencoder.config.hop_length)
    mel = torch.full((1, frames, autoencoder.config.num_mel_bins), autoencoder.config.mel_mean)
    mel = mel.to(vocoder.device, vocoder.dtype)
    torch.set_num_threads(1)
    try:
        vocoder(mel)
        return median(_clocked(lambda: vocoder(mel)) for _ in range(repeats))
    finally:
        torch.set_num_threads(threads)
        bench.progress.advance(1)


def _load(bench: Bench, device: torch.device) -> None:
    """Read every part, as the first call for all four outputs does."""
    pipeline = AnyToAnyPipeline.from_pretrained(bench.model_folder).to(device)
    for name in pipeline.components:
        getattr(pipeline, name)


def _clocked(action: Callable[[], Any]) -> float:
    started = perf_counter()
    action()
    return perf_counter() - started
