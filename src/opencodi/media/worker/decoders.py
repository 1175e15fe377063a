"""Which decoder reads which kind of file."""

from typing import BinaryIO

import av  # noqa: F401
import numpy as np
from pictures import PICTURES, decode_pictures
from sounds import decode_links, decode_sndfile, ogg_links
from streams import decode_streams


def decode(request: dict, file: BinaryIO) -> tuple[dict, list[np.ndarray]]:
    """What to say about a file, and its frames and samples."""
    if request["kind"] in PICTURES:
        return decode_pictures(request, file)
    if request["kind"] == "ogg" and not request["frames"] and (links := ogg_links(file)):
        return decode_links(request, links)
    if request["libsndfile"] and (decoded := decode_sndfile(request, file)):
        return decoded
    return decode_streams(request, file)


def load(request: dict) -> None:
    """Import what `decode` would import only then."""
    if request["kind"] in PICTURES:
        from PIL import GifImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401
    if request["libsndfile"] or request["kind"] == "ogg":
        import soundfile  # noqa: F401
