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
from opencodi.collections.stickers.evaluation.judging import best_concepts
from opencodi.collections.stickers.judges.networks import load_judges
from opencodi.data.prepared import PreparedFolder, having
from opencodi.data.shards import find_data, load_concepts

NEW = ["rooster", "guitar", "rocket", "cat face", "cactus", "teapot", "sailboat", "mushroom", "house", "bicycle"]
BINS = 4


def read_own(folder: Path, modality: str) -> tuple[list[Image.Image] | list[Audio], list[str]]:
    """Your items, and the first caption of each."""
    prepared = PreparedFolder(folder)
    places = having(prepared.records, modality)
    return [prepared.media(each, modality) for each in places], [prepared.records[each]["text"][0] for each in places]


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


def for_judge(picture: Image.Image) -> Image.Image:
    """The picture in grey, with white in place of the colour that most of its border has."""
    pixels = np.asarray(picture.convert("RGB").resize((64, 64)), float)
    ground = np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]), axis=0)
    shown = np.clip((np.linalg.norm(pixels - ground, axis=-1, keepdims=True) - 20) / 60, 0, 1)
    return Image.fromarray((pixels * shown + 255 * (1 - shown)).astype(np.uint8)).convert("L").convert("RGB")


def named_right(pictures: Sequence[Image.Image], names: Sequence[str], among: Sequence[str], data: Path) -> list[bool]:
    """Whether the picture judge sees in each picture what its name says, of the names ``among``."""
    codes = {each["name"]: code for code, each in load_concepts(data).items()}
    seen = best_concepts(load_judges(), "image", list(map(for_judge, pictures)), [codes[name] for name in among])
    return [codes[name] == found for name, found in zip(names, seen)]


def prompts_for(called: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ten names among your own items, and names that are not."""
    known = [called[i] for i in np.linspace(0, len(called) - 1, 10).astype(int)]
    return known, [name for name in NEW if name not in called]


def course(sound: Audio) -> np.ndarray:
    """Log power [16 bands, 16 moments] of a sound's first second, with the mean taken off."""
    samples = np.pad(sound.samples, (0, max(0, 16_640 - len(sound.samples))))[:16_640]
    power = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(samples, 512)[::256] * np.hanning(512)))[
        :64, :256
    ]
    log = np.log(power.reshape(-1, 4, 16, 16).mean((1, 3))[:16] + 1e-3 * power.max())
    return log - log.mean()


def nearest_names(made: Sequence[Audio], own: Sequence[Audio], names: Sequence[str]) -> list[str]:
    """The name among your own sounds whose mean course is nearest."""
    known = {name: np.mean([course(s) for s, n in zip(own, names) if n == name], axis=0) for name in set(names)}
    return [min(known, key=lambda name: np.square(course(sound) - known[name]).sum()) for sound in made]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modality", choices=("image", "audio"), default="image")
    parser.add_argument("--own", type=Path, required=True, help="your items, as opencodi data prepare stored them")
    parser.add_argument("--lora", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of the stickers collection, for its names")
    parser.add_argument("--output", type=Path, required=True, help="the picture, or the folder of the sounds")
    parser.add_argument("--weights", type=float, nargs="*", default=[1.0])
    parser.add_argument("--without", nargs="*", default=[], metavar="EXTRA", help="extras of the model to leave out")
    arguments = parser.parse_args()
    own, called = read_own(arguments.own, arguments.modality)
    known, fresh = prompts_for(called)
    if arguments.modality == "audio":
        known, fresh = [name for name in dict.fromkeys(called) for _ in range(2)], []
    names = known + fresh
    pipe = AnyToAnyPipeline.from_pretrained("stickers")
    pipe.set_progress_bar_config(disable=True)
    extras = [name for name in pipe.config["extras"] if name not in arguments.without]
    rows, report = [], {}
    for weight in (0.0, *arguments.weights):
        if weight and not pipe.get_list_adapters():
            pipe.load_lora_weights(arguments.lora, adapter_name="own")
        if weight:
            pipe.set_adapters("own", weight)
        generators = [torch.Generator().manual_seed(place) for place in range(len(names))]
        started = perf_counter()
        made = pipe(text=names, outputs=arguments.modality, generator=generators, extras=extras)[arguments.modality]
        if arguments.modality == "audio":
            right = [name == found for name, found in zip(names, nearest_names(made, own, called))]
        else:
            right = named_right(made, names, names, find_data(arguments.data))
        told = report[f"weight {weight:g}"] = {"seconds": round(perf_counter() - started, 1)}
        for label, part in (("names among them", slice(len(known))), ("other names", slice(len(known), None))):
            if made[part]:
                told[f"distance to own items, {label}"] = round(distance(made[part], own), 3)
                told[f"named right, {label}"] = f"{sum(right[part])} of {len(right[part])}"
        rows.append(made)
    half = np.array_split(np.arange(len(own)), 2)
    report["your items among themselves"] = round(distance(*([own[i] for i in part] for part in half)), 3)
    if arguments.modality == "image":
        shown = [own[called.index(name)] for name in known]
        right = named_right(shown, known, names, find_data(arguments.data))
        report["your items, named right"] = f"{sum(right)} of {len(known)}"
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
