"""How much a file may ask of the machine that reads it."""

from dataclasses import dataclass, fields

from ..errors import ArgumentError


@dataclass(frozen=True)
class Limits:
    """Limits on one file. Passing one raises `OverLimit` (a timeout: `DamagedFile`); `max_frame_side` scales instead.

    Attributes:
        max_bytes: size of the file.
        max_characters: of a text.
        max_pixels: width x height of an image or of one frame.
        max_seconds: of a sound or a clip.
        max_frames: of a clip.
        max_frame_side: larger frames are scaled down, while decoding, until their shorter side has this many pixels:
            all frames of a clip are held in memory, and no model here sees more than 256.
        max_decoded_bytes: of all frames of a clip, or all samples of a sound, in memory.
        max_decoder_bytes: address space of the process that decodes a clip.
        timeout_seconds: for decoding one clip or compressed sound; generous, since a busy machine is no damage.
    """

    max_bytes: int = 256 * 2**20
    max_characters: int = 10_000
    max_pixels: int = 50_000_000
    max_seconds: float = 600.0
    max_frames: int = 3_600
    max_frame_side: int = 512
    max_decoded_bytes: int = 2 * 2**30
    max_decoder_bytes: int = 4 * 2**30
    timeout_seconds: float = 120.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ArgumentError(f"Limits.{field.name}: must be positive, not {getattr(self, field.name)!r}")


DEFAULT_LIMITS = Limits()
