"""How much a file may ask of the machine that reads it."""

from dataclasses import dataclass, fields

from ..errors import ArgumentError


@dataclass(frozen=True)
class Limits:
    """Limits on one file. A file beyond one raises `OverLimit`; the last three make it smaller instead.

    Attributes:
        max_bytes: size of the file.
        max_characters: of a text.
        max_pixels: width x height of an image or of one frame.
        max_side: width or height of an image or of one frame.
        max_seconds: of a sound or a clip.
        max_frames: of a clip.
        max_decoded_bytes: of all frames of a clip, or all samples of a sound, in memory.
        max_decoder_bytes: address space of the process that decodes a clip or a compressed sound.
        timeout_seconds: for decoding one clip or compressed sound; generous, since the machine may be busy.
        max_frame_side: larger frames are scaled down, while decoding, until their shorter side has this many pixels.
            No model here sees more of a clip than 256.
        max_kept_bytes: of a clip whose frames take more, only every second frame is kept, or every fourth, and so on,
            so that a long clip is seen from its beginning to its end.
        max_kept_pixels: of an image; a larger one is scaled down by a whole number. No model here sees more of an image
            than 512 x 512.
    """

    max_bytes: int = 256 * 2**20
    max_characters: int = 10_000
    max_pixels: int = 50_000_000
    max_side: int = 65_535
    max_seconds: float = 600.0
    max_frames: int = 36_000
    max_decoded_bytes: int = 2 * 2**30
    max_decoder_bytes: int = 4 * 2**30
    timeout_seconds: float = 120.0
    max_frame_side: int = 256
    max_kept_bytes: int = 192 * 2**20
    max_kept_pixels: int = 4_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ArgumentError(f"Limits.{field.name}: must be positive, not {getattr(self, field.name)!r}")


DEFAULT_LIMITS = Limits()
