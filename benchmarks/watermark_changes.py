"""What happens to files on their way: the changes after which a watermark is looked for."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import av
import numpy as np
from PIL import Image

from opencodi.media import Audio, Video, resample
from opencodi.modality import Modality

RATE = 16_000


def _encoded(video: Video, bit_rate: int | None) -> tuple[bytes, int]:
    """The frames as H.264 at constant quality as they are written, or at so many bits per second; and its bits per second."""
    content = BytesIO()
    with av.open(content, "w", format="mp4") as container:
        options = {"crf": "12"} if bit_rate is None else {}
        stream = container.add_stream("libx264", rate=round(video.fps), options=options)
        stream.height, stream.width, stream.pix_fmt = *video.frames.shape[1:3], "yuv420p"
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        packets = [p for rgb in video.frames for p in stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24"))]
        packets += stream.encode(None)
        for packet in packets:
            container.mux(packet)
        size = sum(packet.size for packet in packets)
    return content.getvalue(), round(size * 8 / video.seconds)


def _decoded(content: bytes, video: Video) -> Video:
    with av.open(BytesIO(content)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return replace(video, frames=frames)


def written(video: Video) -> Video:
    """As it is saved: H.264 at constant rate factor 12."""
    return _decoded(_encoded(video, None)[0], video)


def half_bit_rate(video: Video) -> Video:
    """Saved, read, and encoded again with half as many bits per second."""
    content, bit_rate = _encoded(video, None)
    return _decoded(_encoded(_decoded(content, video), bit_rate // 2)[0], video)


def mp3(audio: Audio) -> Audio:
    """MP3 at 64 kbit/s and back, with the delay that it adds."""
    content = BytesIO()
    with av.open(content, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=audio.sample_rate, layout="mono")
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(audio.samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = audio.sample_rate, 0
        for given in (frame, None):
            container.mux(stream.encode(given))
    content.seek(0)
    with av.open(content) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return Audio(samples.clip(-1, 1), audio.sample_rate)


def _sound(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Audio], Audio]:
    return lambda audio: Audio(change(audio.samples).clip(-1, 1).astype(np.float32), audio.sample_rate)


def _sound_noise(samples: np.ndarray) -> np.ndarray:
    return samples + np.random.default_rng().normal(size=len(samples)) * np.sqrt(np.mean(samples**2) / 100)


def _cut(samples: np.ndarray) -> np.ndarray:
    begin = np.random.default_rng().integers(0, len(samples) // 10 + 1)
    return samples[begin : begin + len(samples) * 9 // 10]


def _jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        content = BytesIO()
        image.save(content, "JPEG", quality=quality)
        return Image.open(content).convert("RGB")

    return change


def _scaled(*factors: float) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        width, height = image.size
        for factor in factors:
            image = image.resize((round(width * factor), round(height * factor)), Image.Resampling.BILINEAR)
        return image

    return change


def _crop(image: Image.Image) -> Image.Image:
    """Nine tenths of the width and of the height, from anywhere."""
    size = [round(side * 0.9) for side in image.size]
    left, top = (int(np.random.default_rng().integers(0, a - b + 1)) for a, b in zip(image.size, size))
    return image.crop((left, top, left + size[0], top + size[1]))


def _brighter(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: Image.fromarray((np.asarray(image) * factor).clip(0, 255).round().astype(np.uint8))


def _picture_noise(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.float64)
    noise = np.random.default_rng().normal(size=pixels.shape) * np.sqrt(np.mean(pixels**2) / 100)
    return Image.fromarray((pixels + noise).clip(0, 255).round().astype(np.uint8))


def _frames(change: Callable[[Image.Image], Image.Image]) -> Callable[[Video], Video]:
    return lambda video: replace(video, frames=np.stack([np.asarray(change(Image.fromarray(f))) for f in video.frames]))


def _crop_clip(video: Video) -> Video:
    height, width = video.frames.shape[1:3]
    top, left = (int(np.random.default_rng().integers(0, side - round(side * 0.9) + 1)) for side in (height, width))
    return replace(video, frames=video.frames[:, top : top + round(height * 0.9), left : left + round(width * 0.9)])


PICTURES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 75": _jpeg(75),
    "JPEG 50": _jpeg(50),
    "half size": _scaled(0.5),
    "half size and back": _scaled(0.5, 1.0),
    "screenshot at 3.1 times the size": _scaled(3.1),
    "crop of 10 %": _crop,
    "brightness x 1.2": _brighter(1.2),
    "brightness x 0.8": _brighter(0.8),
    "noise at 20 dB": _picture_noise,
}
OF_CLIPS = (
    "JPEG 75",
    "JPEG 50",
    "half size and back",
    "screenshot at 3.1 times the size",
    "brightness x 1.2",
    "noise at 20 dB",
)
SOUNDS: dict[str, Callable[[Audio], Audio]] = {
    "mp3 at 64 kbit/s": mp3,
    "8 kHz": lambda audio: resample(audio, RATE // 2),
    "noise at 20 dB": _sound(_sound_noise),
    "crop of 10 %": _sound(_cut),
    "half as loud": _sound(lambda samples: samples / 2),
}
CHANGES: dict[str, dict[str, Callable[[Any], Any]]] = {
    Modality.IMAGE: {"nothing": lambda image: image, **PICTURES},
    Modality.VIDEO: {
        "nothing": lambda video: video,
        "mp4 as it is saved": written,
        "mp4 again at half the bit rate": half_bit_rate,
        **{name: _frames(PICTURES[name]) for name in OF_CLIPS},
        "crop of 10 %": _crop_clip,
        "one frame alone": lambda video: Image.fromarray(video.frames[len(video.frames) // 2]),
    },
    Modality.AUDIO: {"nothing": lambda audio: audio, **SOUNDS},
}
"""Modality → name → change. What is random differs from item to item."""
