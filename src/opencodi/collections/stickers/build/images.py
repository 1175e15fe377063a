"""Drawings → square RGBA pictures, in the plain colours and in five skin tones."""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from .drawings import Drawing
from .emoji import Emoji
from .libraries import require, version
from .shards import Item, Plan

SIZE = 64
"""Height and width of pictures, unless a build says otherwise."""
OVERSAMPLING = 2
"""Vector drawings are rasterised at twice the size and averaged: smoother edges than at the size itself."""
TONED_STYLES = {"noto", "twemoji", "openmoji", "fluent-emoji-flat", "fluent-3d"}
SVG_FILE_WIDTH = 256
"""The same for SVG files, whose own size is anything from an icon's to a poster's."""
LEAST_OPACITY = 4
"""Drawings whose mean alpha (0–255) is below this are blank: a renderer that could not draw them."""

Unit = tuple[Emoji, str, Drawing]
"""What is drawn, the style and the drawing."""


def plan_images(
    shard: str,
    toned: bool,
    concepts: Mapping[str, Emoji],
    emoji: Mapping[str, Emoji],
    drawings: Mapping[str, Mapping[str, Drawing]],
    made_from: Iterable[str],
    size: int = SIZE,
) -> Plan:
    """The shard of the concepts' pictures of size x size without (``toned=False``) or with skin tones; concept by concept."""
    units = [
        (row, style, drawn[code])
        for code, row in emoji.items()
        if row.base in concepts and toned == (row.tone is not None)
        for style, drawn in drawings.items()
        if code in drawn and (not toned or style in TONED_STYLES)
    ]

    def make(unit: Unit) -> Iterator[Item]:
        row, style, drawing = unit
        picture = fit(open_drawing(drawing, size), size)
        if np.asarray(picture)[..., 3].mean() < LEAST_OPACITY:
            return
        concept = concepts[row.base]
        fields = {"concept": row.base, "code": row.code, "style": style, "tone": row.tone}
        yield Item(encode(picture), "webp", fields | {"name": concept.name, "group": concept.group})

    return Plan(shard, (*made_from, version("resvg-py"), version("pillow")), units, make, units_per_part=500)


def open_drawing(drawing: Drawing, size: int = SIZE) -> Image.Image:
    """SVG text, or the path of an SVG or picture file → RGBA picture, to be scaled to ``size``."""
    if isinstance(drawing, str):
        return rasterise(svg_string=drawing, width=OVERSAMPLING * size, height=OVERSAMPLING * size)
    if drawing.suffix == ".svg":
        return rasterise(svg_path=str(drawing), width=SVG_FILE_WIDTH)
    with Image.open(drawing) as picture:
        return picture.convert("RGBA")


def rasterise(**options: Any) -> Image.Image:
    """An SVG → RGBA picture. options: of ``resvg_py.svg_to_bytes``."""
    resvg = require("resvg_py", "rasterising")
    with Image.open(io.BytesIO(bytes(resvg.svg_to_bytes(**options)))) as picture:
        return picture.convert("RGBA")


def fit(picture: Image.Image, size: int = SIZE) -> Image.Image:
    """Scale a square RGBA picture to ``size``; with premultiplied alpha, so that no colour bleeds from clear pixels."""
    if picture.size == (size, size):
        return picture
    kernel = Image.Resampling.LANCZOS if max(picture.size) > 2 * size else Image.Resampling.BOX
    return picture.convert("RGBa").resize((size, size), kernel).convert("RGBA")


def encode(picture: Image.Image, quality: int = 90, alpha_quality: int = 100) -> bytes:
    """RGBA picture → WebP bytes."""
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=quality, alpha_quality=alpha_quality, method=4)
    return file.getvalue()
