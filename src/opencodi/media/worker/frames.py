"""Frames of a clip as they are collected, within the limits."""

import numpy as np
from refusal import Refusal


class Frames:
    """Collects frames of one size, within the limits, and notes when each begins.

    When they take more than `max_kept_bytes`, every second one is dropped, and from then on every second new one.
    """

    def __init__(self, request: dict, width: int, height: int, about: float = 0.0):
        if width * height > request["max_pixels"] or max(width, height) > request["max_side"]:
            pixels = f"{width} x {height} = {width * height:,}"
            raise Refusal("OverLimit", f"has frames of {pixels} pixels, the limit is {request['max_pixels']:,}")
        scale = min(1.0, request["max_frame_side"] / max(1, min(width, height)))
        self.size = max(1, round(width * scale)), max(1, round(height * scale))
        self.request = request
        self.frame_bytes = 3 * self.size[0] * self.size[1]
        self.kept: list[np.ndarray] = []
        self.times: list[float] = []
        self.count = 0
        self.every = 1
        while about * self.frame_bytes / self.every > request["max_kept_bytes"]:
            self.every *= 2

    def wants(self, time: float) -> bool:
        """Whether the next frame, which begins at `time`, is to be kept."""
        request = self.request
        self.count += 1
        if self.count > request["max_frames"]:
            raise Refusal("OverLimit", f"has more frames than the limit of {request['max_frames']:,}")
        if time > request["max_seconds"]:
            raise Refusal("OverLimit", f"lasts longer than the limit of {request['max_seconds']:g} s")
        return (self.count - 1) % self.every == 0

    def keep(self, frame: np.ndarray, time: float) -> None:
        request = self.request
        self.kept.append(np.ascontiguousarray(frame))
        self.times.append(time)
        if len(self.kept) * self.frame_bytes > request["max_decoded_bytes"]:
            reason = f"takes more than the limit of {request['max_decoded_bytes']:,} bytes when decoded"
            raise Refusal("OverLimit", reason)
        if len(self.kept) > 2 and len(self.kept) * self.frame_bytes > request["max_kept_bytes"]:
            del self.kept[1::2], self.times[1::2]
            self.every *= 2

    def answer(self) -> dict:
        return {"shape": [len(self.kept), *self.kept[0].shape], "times": self.times}
