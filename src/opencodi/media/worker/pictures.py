"""Moving pictures: animated GIF, WebP (which FFmpeg does not read) and PNG."""

import io
from typing import BinaryIO

import numpy as np
from frames import Frames
from PIL import Image, ImageSequence
from refusal import Refusal

PICTURES = ("gif", "webp", "png")


def decode_pictures(request: dict, file: BinaryIO) -> tuple[dict, list[np.ndarray]]:
    """Animated GIF, WebP (which FFmpeg does not read) and PNG."""
    Image.MAX_IMAGE_PIXELS = None  # ours is checked instead
    if request["kind"] == "webp":
        file = io.BytesIO(_with_riff_length(file.read()))
    with Image.open(file, formats=[request["kind"]]) as image:
        if getattr(image, "n_frames", 1) < 2:
            raise Refusal("WrongKind", "is a still picture, give it as an image")
        frames = Frames(request, *image.size, about=image.n_frames)
        end = 0.0
        for index, picture in enumerate(ImageSequence.Iterator(image)):
            if index == 0 and getattr(image, "default_image", False):
                continue  # an APNG may begin with a picture for programs that cannot animate it
            picture.load()  # a WebP knows how long a frame lasts only then
            if frames.wants(end):
                rgba = picture.convert("RGBA")
                rgb = Image.new("RGB", rgba.size, "white")
                rgb.paste(rgba, mask=rgba.getchannel("A"))
                if rgb.size != frames.size:
                    rgb = rgb.resize(frames.size, Image.Resampling.BOX)
                frames.keep(np.asarray(rgb), end)
            milliseconds = picture.info.get("duration", 0)
            end += (milliseconds if milliseconds > 10 else 100) / 1000  # as browsers show frames without a duration
    return frames.answer() | {"end": end, "rate": None, "num_samples": 0}, frames.kept


def _with_riff_length(content: bytes) -> bytes:
    """A WebP file whose header tells no more bytes than there are: its decoder believes it, though the frames are whole."""
    if 0 < int.from_bytes(content[4:8], "little") <= len(content) - 8:
        return content
    return content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:]
