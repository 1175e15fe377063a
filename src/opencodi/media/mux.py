"""A clip and its sound in one MP4: H.264 and AAC, as every browser and player reads them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .audio import resample
from .objects import Video

# Near lossless at sticker size, where H.264's usual 23 smears outlines.
CRF = 12
AUDIO_BITS_PER_SECOND = 128_000
_AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
# The conversion from RGB below is BT.601's; said in the file, so that no player has to guess.
_COLOURS = {"colorspace": "smpte170m", "color_primaries": "smpte170m", "color_trc": "smpte170m", "color_range": "tv"}


def write_mp4(video: Video, path: Path) -> None:
    """Write frames and sound, index first (faststart), 4:2:0. An odd width or height repeats its last column or row.

    Raises:
        OSError: as the system refuses, such as when the disk is full.
    """
    rate = Fraction(video.fps).limit_denominator(1001 * 60)
    frames = np.pad(
        video.frames, ((0, 0), (0, video.frames.shape[1] % 2), (0, video.frames.shape[2] % 2), (0, 0)), "edge"
    )
    with av.open(path, "w", options={"movflags": "+faststart"}) as container:
        pictures = container.add_stream("libx264", rate=rate, options={"crf": str(CRF)} | _COLOURS)
        pictures.height, pictures.width = frames.shape[1:3]
        pictures.pix_fmt = "yuv420p"
        sound = None
        if video.audio is not None:
            audio = video.audio
            audio = audio if audio.sample_rate in _AAC_RATES else resample(audio, 48_000)
            sound = container.add_stream("aac", rate=audio.sample_rate, layout="mono")
            sound.bit_rate = AUDIO_BITS_PER_SECOND
        for number, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(audio.samples[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = audio.sample_rate, 0, Fraction(1, audio.sample_rate)
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
