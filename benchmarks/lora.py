"""What a low-rank adapter of your own items changes: the same prompts and seeds with the shipped model, with and without it.

    python benchmarks/lora.py --modality image --own my-stickers --lora runs/my-stickers/image_lora --output lora.png

Prompts are names that are among your own items and names that are not. For pictures and sounds alike the measure is how far
the results are from your items in one simple number: of pictures the mean distance of their colour histograms, of sounds that
of their mean log spectra. The judges say how many results still show what the prompt names.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from opencodi import AnyToAnyPipeline, Audio
from opencodi.collections.files import read_captioned
from opencodi.collections.stickers.evaluation.judging import best_concepts
from opencodi.collections.stickers.judges.networks import load_judges
from opencodi.data.shards import find_data, load_concepts

NEW = {
    "image": ["rooster", "guitar", "rocket", "cat face", "cactus", "teapot", "sailboat", "mushroom", "house", "bicycle"],
    "audio": ["dog face", "drum", "guitar", "cat face", "rooster", "violin", "bell", "trumpet", "cow face", "piano"],
}
BINS = 4


def fingerprint(item: Image.Image | Audio) -> np.ndarray:
    """A picture's colour histogram [64], or a sound's mean log spectrum [64], relative to its loudness."""
    if isinstance(item, Audio):
        windows = np.lib.stride_tricks.sliding_window_view(item.samples, 512)[::256] * np.hanning(512)
        power = np.abs(np.fft.rfft(windows))[:, :256].mean(0).reshape(64, 4).mean(1)
        return power / max(power.sum(), 1e-9)
    pixels = np.asarray(item.convert("RGB").resize((64, 64)), int).reshape(-1, 3) * BINS // 256
    counts = np.bincount(pixels @ np.array([BINS * BINS, BINS, 1]), minlength=BINS**3)
    return counts / counts.sum()


def distance(made: Sequence, own: Sequence) -> float:
    """Total variation between the mean fingerprints, from 0 (alike) to 1."""
    first, second = (np.mean([fingerprint(each) for each in items], axis=0) for items in (made, own))
    return float(np.abs(first - second).sum() / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modality", choices=sorted(NEW), default="image")
    parser.add_argument("--own", type=Path, required=True, help="folder of your items and their captions")
    parser.add_argument("--lora", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of the stickers collection, for its names")
    parser.add_argument("--output", type=Path, required=True, help="the picture, or the folder of the sounds")
    parser.add_argument("--weights", type=float, nargs="*", default=[1.0])
    arguments = parser.parse_args()
    own, captions = read_captioned(arguments.own, arguments.modality)
    known = [captions[i][0] for i in np.linspace(0, len(captions) - 1, 10).astype(int)]
    fresh = [name for name in NEW[arguments.modality] if name not in {each[0] for each in captions}]
    names = known + fresh
    pipe = AnyToAnyPipeline.from_pretrained("stickers")
    pipe.set_progress_bar_config(disable=True)
    codes = {concept["name"]: code for code, concept in load_concepts(find_data(arguments.data)).items()}
    judges = load_judges()
    rows, report = [], {}
    for weight in (0.0, *arguments.weights):
        if weight and not pipe.get_list_adapters():
            pipe.load_lora_weights(arguments.lora, adapter_name="own")
        if weight:
            pipe.set_adapters("own", weight)
        generators = [torch.Generator().manual_seed(place) for place in range(len(names))]
        started = perf_counter()
        made = pipe(text=names, outputs=arguments.modality, generator=generators)[arguments.modality]
        seen = best_concepts(judges, arguments.modality, made)
        right = [codes.get(name) == found for name, found in zip(names, seen)]
        count = len(known)
        report[f"weight {weight:g}"] = {
            "distance to own items, names among them": round(distance(made[:count], own), 3),
            "other names": round(distance(made[count:], own), 3),
            "named right, names among them": f"{sum(right[:count])} of {count}",
            "named right, other names": f"{sum(right[count:])} of {len(fresh)}",
            "seconds": round(perf_counter() - started, 1),
        }
        rows.append(made)
    half = np.array_split(np.arange(len(own)), 2)
    report["your items among themselves"] = round(distance(*([own[i] for i in part] for part in half)), 3)
    print(json.dumps({"prompts": names, **report}, indent=1))
    if arguments.modality == "image":
        sheet = Image.new("RGB", (64 * len(names), 64 * (len(rows) + 1)), "white")
        shown = [own[i] for i in np.linspace(0, len(own) - 1, len(names)).astype(int)]
        for row, pictures in enumerate([shown, *rows]):
            for column, picture in enumerate(pictures):
                sheet.paste(picture.convert("RGB").resize((64, 64)), (64 * column, 64 * row))
        sheet.save(arguments.output)
    else:
        from opencodi.media import write_audio

        arguments.output.mkdir(parents=True, exist_ok=True)
        for label, sounds in zip(("before", "after"), (rows[0], rows[-1])):
            for name, sound in zip(names, sounds):
                write_audio(sound, arguments.output / f"{name.replace(' ', '-')}-{label}.wav")


if __name__ == "__main__":
    main()
