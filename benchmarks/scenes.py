"""How fast scenes are composed on one core, and sheets of them to look at.

    python benchmarks/scenes.py --data FOLDER --output FOLDER

prints a table and writes ``scenes.webp`` (60 scenes with their captions) and ``moving.webp`` (16 clips as strips, a red mark
where something is heard or seen to happen). FOLDER holds the shards at 128 pixels.
"""

import argparse
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from opencodi.collections.stickers.moving_scenes import Sounds, draw_moving_scene, random_moving_scene
from opencodi.collections.stickers.scene_captions import scene_caption
from opencodi.collections.stickers.scene_sampling import is_withheld, random_scene
from opencodi.collections.stickers.scene_texts import scene_drawings
from opencodi.collections.stickers.scenes import draw_scene
from opencodi.collections.stickers.splits import split
from opencodi.data.shards import find_data, load_audio

GROUND = (170, 190, 170)
"""Sheets have a coloured ground, so that transparency can be seen."""


def per_second(make: Callable[[], object], count: int) -> float:
    """How many a second of one core's time."""
    started = time.process_time()
    for _ in range(count):
        make()
    return count / (time.process_time() - started)


def scene_sheet(drawings, count: int, seed: int, columns: int = 10, cell: int = 150) -> Image.Image:
    """Random scenes, each over the caption that was drawn for it."""
    rng = np.random.default_rng(seed)
    sheet = Image.new("RGB", (columns * cell, -(-count // columns) * (cell + 36)), GROUND)
    pen = ImageDraw.Draw(sheet)
    for number in range(count):
        scene = random_scene(drawings, rng)
        picture = Image.fromarray(draw_scene(scene, drawings, rng)).resize((cell - 6, cell - 6))
        left, top = number % columns * cell, number // columns * (cell + 36)
        sheet.paste(picture, (left + 3, top), picture)
        for line, words in enumerate(textwrap.wrap(scene_caption(scene, rng), 26)[:3]):
            pen.text((left + 3, top + cell - 6 + 12 * line), words, fill=0)
    return sheet


def strip_sheet(drawings, sounds: Sounds, count: int, seed: int, cell: int = 80) -> Image.Image:
    """Random clips, one a row: all frames under the caption; events are marked red."""
    rng = np.random.default_rng(seed)
    sheet = Image.new("RGB", (16 * cell, count * (cell + 16)), GROUND)
    pen = ImageDraw.Draw(sheet)
    for row in range(count):
        moving = random_moving_scene(drawings, sounds, rng)
        clip = draw_moving_scene(moving, drawings, sounds, rng)
        top = row * (cell + 16)
        pen.text((3, top), moving.caption(rng), fill=(120, 0, 0))
        for number, frame in enumerate(clip.frames):
            picture = Image.fromarray(frame).resize((cell - 2, cell - 2))
            sheet.paste(picture, (number * cell, top + 15), picture)
        for _, second in clip.events:
            left = second * 8 * cell
            pen.rectangle((left, top + 13, left + cell - 3, top + 15), fill=(230, 0, 0))
    return sheet


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the shards; by default $OPENCODI_DATA")
    parser.add_argument("--output", type=Path, required=True, help="folder for the sheets")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = find_data(options.data)
    drawings, rng = scene_drawings(folder), np.random.default_rng(options.seed)
    sounds = Sounds(split(load_audio(folder, ("sounds",)))[0])
    for _ in range(500):  # drawings are cut out and grounds painted once
        draw_scene(random_scene(drawings, rng), drawings, rng)

    scenes = [random_scene(drawings, rng, withheld=None) for _ in range(500)]
    order = iter(scenes)
    rows = {
        "scenes chosen": per_second(lambda: random_scene(drawings, rng), 500),
        "scenes drawn": per_second(lambda: draw_scene(next(order), drawings, rng), 500),
        "captions": per_second(lambda: scene_caption(scenes[0], rng), 500),
        "clips chosen and drawn": per_second(
            lambda: draw_moving_scene(random_moving_scene(drawings, sounds, rng), drawings, sounds, rng), 60
        ),
    }
    print(f"{'a second, one core':<28}")
    for name, rate in rows.items():
        print(f"{name:<28}{rate:>10,.0f}")
    print(f"{'withheld from training':<28}{np.mean([is_withheld(scene) for scene in scenes]):>10.1%}")
    options.output.mkdir(parents=True, exist_ok=True)
    scene_sheet(drawings, 60, options.seed).save(options.output / "scenes.webp", quality=70)
    strip_sheet(drawings, sounds, 16, options.seed).save(options.output / "moving.webp", quality=70)


if __name__ == "__main__":
    main()
