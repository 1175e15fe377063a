"""Image files ↔ `PIL.Image.Image` in mode RGB."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..errors import ArgumentError, DamagedFile, OverLimit
from .files import replacing, require_kind
from .limits import DEFAULT_LIMITS, Limits

WRITE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_KINDS = ("png", "jpeg", "webp", "gif")
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
}


def read_image(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Read the (first) picture of a PNG, JPEG, WebP or GIF file as RGB, upright, what is transparent over white.

    Raises:
        MissingFile, EmptyFile, WrongKind: if the file is not there, has no bytes, or is no picture of these kinds.
        DamagedFile: if it is truncated or cannot be decoded.
        OverLimit: if it has more bytes or pixels than `limits` allow; nothing is decoded then.
    """
    path, kind = require_kind(path, limits, _KINDS, "an image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked instead
            image = Image.open(path, formats=[kind])
        with image:
            if image.width * image.height > limits.max_pixels:
                size = f"{image.width} x {image.height} = {image.width * image.height:,}"
                raise OverLimit(f"{path}: has {size} pixels, the limit is {limits.max_pixels:,}, scale it down")
            image.load()
            return over_white(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise OverLimit(
            f"{path}: declares far more pixels than the limit of {limits.max_pixels:,}, scale it down"
        ) from error
    except OverLimit:
        raise
    except (
        Exception
    ) as error:  # Pillow's readers raise what their parsers run into: OSError, SyntaxError, struct.error, …
        raise DamagedFile(f"{path}: cannot be decoded ({error}), fetch or export it again") from error


def write_image(image: Image.Image, path: str | Path) -> None:
    """Write a picture as PNG, or as the ending of `path` says: JPEG (quality 95), WebP (lossless) or GIF.

    Raises:
        ArgumentError: if `image` is not a PIL image.
        MediaError: if it cannot be written (see `files.replacing`).
    """
    if not isinstance(image, Image.Image):
        raise ArgumentError(f"image: must be a PIL image, not {type(image).__name__}")
    rgb = over_white(image)
    with replacing(path, WRITE_SUFFIXES) as temporary:
        rgb.save(temporary, **_SAVE_OPTIONS.get(temporary.suffix.lower(), {}))


def over_white(image: Image.Image) -> Image.Image:
    """The picture in mode RGB, composed over white where it is transparent. 16-bit greys keep their upper byte."""
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit greys at 255.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """Fit a picture into `size` x `size` pixels: padded with white to a square, then scaled with a Lanczos filter.

    Padding, not cropping: a sticker is a whole thing on white, and its ears and wheels are at the edges.
    """
    rgb = over_white(image)
    side = max(rgb.size)
    if rgb.width != rgb.height:
        square = Image.new("RGB", (side, side), "white")
        square.paste(rgb, ((side - rgb.width) // 2, (side - rgb.height) // 2))
        rgb = square
    return rgb if side == size else rgb.resize((size, size), Image.Resampling.LANCZOS)
