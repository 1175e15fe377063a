"""Draw what each single input becomes: four inputs by four outputs, in one picture.

    python benchmarks/figure_matrix.py --data tests/data --concept 1f436 --output docs/figures/matrix.png

The inputs are one concept's name, picture, clip and sound from a folder of stickers shards. Clips are drawn as film
strips, sounds as log-mel pictures (time to the right, pitch upwards).
"""

import argparse
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image, ImageDraw, ImageFont

from opencodi import AnyToAnyPipeline, Audio, Modality, Video
from opencodi.device import pick_device

CELL = (264, 132)
GAP = 12
HEADER = 26
FILM_FRAMES = 8


def find_item(shard: Path, concept: str) -> bytes:
    """The first item of a concept in a shard whose members alternate ``KEY.suffix`` and ``KEY.json``."""
    with tarfile.open(shard) as tar:
        while (member := tar.next()) is not None:
            content = tar.extractfile(member).read()
            if json.load(tar.extractfile(tar.next()))["concept"] == concept:
                return content
    raise SystemExit(f"error: {shard} holds no item of concept {concept}; choose another with --concept")


def read_inputs(data: Path, concept: str) -> dict[Modality, Any]:
    """One concept as words, picture, clip and sound."""
    rows = map(json.loads, (data / "concepts.jsonl").read_text(encoding="utf-8").splitlines())
    names = {row["code"]: row["name"] for row in rows}
    if concept not in names:
        raise SystemExit(f"error: {data} knows no concept {concept}; choose from {', '.join(names)}")
    frames = on_white(find_item(data / "videos.tar.gz", concept))
    stacked = np.asarray(frames).reshape(-1, frames.width, frames.width, 3)
    samples, rate = soundfile.read(io.BytesIO(find_item(data / "sounds.tar.gz", concept)), dtype="float32")
    return {
        Modality.TEXT: names[concept],
        Modality.IMAGE: on_white(find_item(data / "images.tar.gz", concept)),
        Modality.VIDEO: Video(stacked, fps=8.0),
        Modality.AUDIO: Audio(samples, rate),
    }


def on_white(encoded: bytes) -> Image.Image:
    """Decode a picture over white."""
    picture = Image.open(io.BytesIO(encoded)).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def draw_text(words: str) -> Image.Image:
    """Words, wrapped to the cell."""
    canvas = Image.new("RGB", CELL, "white")
    font = ImageFont.load_default(18)
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) < CELL[0] - 16 else [*lines, word]
    ImageDraw.Draw(canvas).multiline_text((8, 8), "\n".join(lines), fill="black", font=font)
    return canvas


def draw_image(picture: Image.Image) -> Image.Image:
    """The picture, as large as the cell allows."""
    canvas = Image.new("RGB", CELL, "white")
    canvas.paste(picture.resize((CELL[1], CELL[1]), Image.Resampling.LANCZOS), ((CELL[0] - CELL[1]) // 2, 0))
    return canvas


def draw_video(clip: Video) -> Image.Image:
    """Eight frames, evenly spaced in time, in two rows."""
    canvas = Image.new("RGB", CELL, "white")
    side = CELL[1] // 2
    chosen = np.linspace(0, len(clip.frames) - 1, FILM_FRAMES).round().astype(int)
    for place, number in enumerate(chosen):
        frame = Image.fromarray(clip.frames[number]).resize((side - 2, side - 2), Image.Resampling.LANCZOS)
        canvas.paste(frame, (place % 4 * side, place // 4 * side))
    return canvas


def draw_audio(sound: Audio) -> Image.Image:
    """The magnitude spectrogram in decibels over 70 dB, low pitch at the bottom."""
    window = torch.hann_window(512)
    wave = torch.nn.functional.pad(torch.from_numpy(np.ascontiguousarray(sound.samples)), (0, 512))
    power = torch.stft(wave, 512, 128, window=window, return_complex=True).abs().clamp(min=1e-5)
    decibels = 20 * power.log10()
    shade = ((decibels - decibels.max() + 70) / 70).clamp(0, 1).flip(0)
    return Image.fromarray((255 - 255 * shade).to(torch.uint8).numpy()).convert("RGB").resize(CELL)


DRAW = dict(zip(Modality, (draw_text, draw_image, draw_video, draw_audio)))


def main() -> None:
    """Run the pipeline once per input and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("tests/data"), help="folder of stickers shards")
    parser.add_argument("--concept", default="1f436", help="code of a concept that has all four modalities")
    parser.add_argument("--model", default="stickers")
    parser.add_argument("--steps", type=int, default=None, help="the model's own number if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default=None)
    parser.add_argument("--output", type=Path, default=Path("docs/figures/matrix.png"))
    options = parser.parse_args()

    inputs = read_inputs(options.data, options.concept)
    pipeline = AnyToAnyPipeline.from_pretrained(options.model).to(pick_device(options.device))
    pipeline.set_progress_bar_config(disable=True)
    columns, rows = 1 + len(Modality), len(Modality)
    width, height = (CELL[0] + GAP), (CELL[1] + GAP)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP + HEADER), (236, 238, 241))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, title in enumerate(["input", *(f"to {modality}" for modality in Modality)]):
        pen.text((GAP + column * width, 6), title, fill="black", font=font)
    for row, (modality, item) in enumerate(inputs.items()):
        cells = [DRAW[modality](item)]
        # One output at a time: each cell shows what the input alone becomes.
        for each in Modality:
            generator = torch.Generator().manual_seed(options.seed)
            made = pipeline(**{modality: item}, outputs=[each], num_inference_steps=options.steps, generator=generator)
            cells.append(DRAW[each](made[each][0]))
        for column, cell in enumerate(cells):
            sheet.paste(cell, (GAP + column * width, HEADER + row * height))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.output)
    print(options.output)


if __name__ == "__main__":
    main()
