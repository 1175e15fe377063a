"""Image files ↔ `PIL.Image.Image` in mode RGB, and the one normaliser that every picture passes, file or object."""

import warnings
from io import BytesIO
from math import ceil, isfinite, sqrt
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from ..errors import ArgumentError, DamagedFile, EmptyFile, OpenCoDiError, OverLimit
from .files import opened_kind, replacing
from .limits import DEFAULT_LIMITS, Limits
from .system import is_system_failure, refused

WRITE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_KINDS = ("png", "jpeg", "webp", "gif", "bmp", "avif")
# Pillow imports its readers when a file is opened. Imported here, they do not fail later for want of file handles.
_READERS = (
    *(PngImagePlugin, JpegImagePlugin, MpoImagePlugin),
    *(WebPImagePlugin, GifImagePlugin, BmpImagePlugin, AvifImagePlugin),
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation (2.3, tag 0x0112) → what undoes it."""
_KEEP_ALPHA = (".png", ".webp")
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
}


def read_image(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Read the (first) picture of a PNG, JPEG, WebP, GIF, BMP or AVIF file, as `normalise` returns it.

    Raises:
        MissingFile, EmptyFile, WrongKind: if the file is not there, has no bytes, or is no picture of these kinds.
        DamagedFile: if it is truncated or cannot be decoded.
        OverLimit: if it has more bytes or pixels than `limits` allow; nothing is decoded then.
        SystemFailure: if the system lacks memory or file handles.
    """
    with opened_kind(path, limits, _KINDS, "an image (PNG, JPEG, WebP, GIF, BMP or AVIF)") as (file, kind):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked instead
                image = Image.open(_with_riff_length(file) if kind == "webp" else file, formats=[kind])
            with image:
                _check_size(path, image, limits, EmptyFile)
                image.load()
                return normalise(image, limits=limits)
        except Image.DecompressionBombError as error:
            raise OverLimit(
                f"{path}: declares far more pixels than the limit of {limits.max_pixels:,}, scale it down"
            ) from error
        except (OverLimit, EmptyFile):
            raise
        except Exception as error:  # Pillow raises what its parsers run into: OSError, SyntaxError, struct.error, …
            if is_system_failure(error):
                raise refused(f"{path}: cannot be read", error) from error
            reason = "its header is damaged" if isinstance(error, UnidentifiedImageError) else error
            raise DamagedFile(f"{path}: cannot be decoded ({reason}), fetch or export it again") from error


def write_image(image: Image.Image, path: str | Path) -> None:
    """Write a picture as PNG, or as the ending of `path` says: JPEG (quality 95), WebP (lossless) or GIF.

    PNG and WebP keep what is transparent so in an RGBA picture; elsewhere it lies over white.

    Raises:
        ArgumentError: if `image` is not a PIL image, or has no pixels.
        MediaError: if it cannot be written (see `files.replacing`).
    """
    if not isinstance(image, Image.Image):
        raise ArgumentError(f"image: must be a PIL image, not {type(image).__name__}")
    with replacing(path, WRITE_SUFFIXES) as temporary:
        suffix = temporary.suffix.lower()
        picture = normalise(image, alpha=suffix in _KEEP_ALPHA and _is_clear_somewhere(image))
        content = BytesIO()  # encoded in memory first, so that a full disk speaks as the system does
        picture.save(content, format=Image.registered_extensions()[suffix], **_SAVE_OPTIONS.get(suffix, {}))
        temporary.write_bytes(content.getbuffer())


def _is_clear_somewhere(image: Image.Image) -> bool:
    """Whether an RGBA picture, as a model with transparency makes it, shows what lies under it anywhere."""
    return image.mode == "RGBA" and image.getchannel("A").getextrema()[0] < 255


def normalise(image: Image.Image, alpha: bool = False, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Any PIL image in mode RGB: upright, over white where it is transparent, deep greys scaled to 8 bits.

    One of more than `limits.max_kept_pixels` is scaled down by a whole number. An image that is already as it should be
    comes back itself; a given image is never changed.

    Args:
        image: in any mode that Pillow knows.
        alpha: keep what is transparent so, in mode RGBA.
        limits: on its size.

    Raises:
        ArgumentError: if it has no pixels, or values that are not finite.
        OverLimit: if it has more pixels than `limits` allow.
    """
    _check_size("image", image, limits, ArgumentError)
    mode = "RGBA" if alpha else "RGB"
    to_8_bits = _range_of(image)
    factor = ceil(sqrt(image.width * image.height / limits.max_kept_pixels))
    if factor == 1:
        result = _converted(image, mode, to_8_bits)
    else:  # in strips, so that a large picture never needs a second and a third copy of itself
        factors = min(factor, image.width), min(factor, image.height)
        size = tuple(-(-side // step) for side, step in zip(image.size, factors))
        result = Image.new(mode, size)
        rows = factors[1] * max(1, 2**20 // (image.width * factors[1]))
        for top in range(0, image.height, rows):
            strip = image.crop((0, top, image.width, min(top + rows, image.height)))
            result.paste(_converted(strip, mode, to_8_bits).reduce(factors), (0, top // factors[1]))
    turn = _TURNS.get(_orientation(image))
    return result if turn is None else result.transpose(turn)


def fit_square(image: Image.Image, size: int) -> Image.Image:
    """Fit a picture into `size` x `size` pixels: scaled with a Lanczos filter, then centred on white.

    Padded, not cropped: a sticker is a whole thing on white, and its ears and wheels are at the edges. Scaled first,
    so that a panorama needs no square of its own width; its shorter side keeps at least one pixel.
    """
    rgb = normalise(image)
    longer = max(rgb.size)
    width, height = (max(1, round(side / longer * size)) for side in rgb.size)
    if rgb.size != (width, height):
        rgb = rgb.resize((width, height), Image.Resampling.LANCZOS)
    if width == height:
        return rgb
    square = Image.new("RGB", (size, size), "white")
    square.paste(rgb, (round((size - width) * 0.5), round((size - height) * 0.5)))
    return square


def _with_riff_length(file: BinaryIO) -> BytesIO:
    """A WebP file whose header tells no more bytes than there are: its decoder believes it, though the picture is whole."""
    content = bytearray(file.read())
    declared, there = int.from_bytes(content[4:8], "little"), len(content) - 8
    if not 0 < declared <= there:
        content[4:8] = there.to_bytes(4, "little")
    return BytesIO(content)


def _check_size(name: object, image: Image.Image, limits: Limits, if_empty: type[OpenCoDiError]) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise if_empty(f"{name}: has no pixels ({width} x {height}), give a picture")
    if width * height > limits.max_pixels:
        raise OverLimit(
            f"{name}: has {width} x {height} = {width * height:,} pixels, "
            f"the limit is {limits.max_pixels:,}, scale it down"
        )
    if max(width, height) > limits.max_side:
        raise OverLimit(
            f"{name}: is {width} x {height} pixels, the limit of a side is {limits.max_side:,}, scale it down"
        )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 if there is none or the data are damaged: the picture is whole all the same."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises what its parser runs into
        return 1


def _converted(image: Image.Image, mode: str, full: float | None) -> Image.Image:
    """A picture (or a strip of one) in mode RGB over white, or RGBA; `full` is the value that becomes 255 of a deep grey."""
    if image.mode == mode:
        if mode == "RGBA" or "transparency" not in image.info:
            return image
    elif full is not None:
        image = _scaled_to_8_bits(image, full)
    elif image.mode == "LAB":
        image = _lab_to_rgb(image)
    elif image.mode == "La":
        image = image.convert("LA")
    if mode == "RGBA" or not image.has_transparency_data:
        return image.convert(mode)
    rgba = image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _range_of(image: Image.Image) -> float | None:
    """The value that becomes 255 in a picture of deep greys: the end of the smallest usual range that holds all values.

    Whole numbers: 8 bits (unless the mode is a 16-bit one), 16 or 32. Floats: 1, 255, 65,535 or the largest value.
    """
    if not (image.mode.startswith("I") or image.mode == "F"):
        return None
    lowest, largest = image.getextrema()
    if image.mode == "F" and not (isfinite(lowest) and isfinite(largest) and np.isfinite(np.asarray(image)).all()):
        raise ArgumentError("image: holds values that are not finite, replace them first")
    if image.mode.startswith("I;16"):
        return 65535.0
    ranges = (1.0, 255.0, 65535.0, largest) if image.mode == "F" else (255.0, 65535.0, 2.0**31 - 1)
    return next(limit for limit in ranges if largest <= limit)


def _scaled_to_8_bits(image: Image.Image, full: float) -> Image.Image:
    """Deep greys as L, or LA where one value is transparent."""
    values = np.asarray(image).astype(np.float32)
    grey = Image.fromarray((values.clip(0, full) * (255 / full)).round().astype(np.uint8))
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    opaque = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, opaque))


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "LAB", "RGB"))
