"""Sounds: mixing and resampling of what decoders yield, and the kinds that libsndfile reads."""

import io
from typing import BinaryIO

import av
import numpy as np
from refusal import Refusal

_EXACT_LENGTH = ("flac", "wv", "tta", "ape")
"""Kinds whose headers count their samples, where FFmpeg reads them."""
_UNKNOWN = 2**40
"""libsndfile's number of samples where the header tells none is larger."""


def ogg_links(file: BinaryIO) -> list[tuple[bytes, bool]]:
    """The links of an Ogg file that holds one sound after the other (RFC 3533, section 4); none if it holds tracks.

    With each comes whether its last page says that it is the last: a recorder that is killed writes no such page.
    """
    file.seek(0)
    links: list[list[bytes]] = []
    ends: list[bool] = []
    begun = False
    while len(header := file.read(27)) == 27 and header[:4] == b"OggS":
        table = file.read(header[26])
        is_first = bool(header[5] & 2)
        if is_first and begun:
            return []  # a second track begins beside the first
        if is_first:
            links.append([])
            ends.append(False)
        if not links:
            return []
        begun = is_first
        ends[-1] = bool(header[5] & 4)
        links[-1].append(header + table + file.read(sum(table)))
    file.seek(0)
    return [(b"".join(pages), is_whole) for pages, is_whole in zip(links, ends)]


def decode_links(request: dict, links: list[tuple[bytes, bool]]) -> tuple[dict, list[np.ndarray]]:
    """Sounds one after the other, of any rates: by libsndfile, which knows to a sample where a link ends, or by FFmpeg."""
    sound = Sound(request)
    for link, is_whole in links:
        if is_whole and (link[28:35] == b"\x01vorbis" or link[28:36] == b"OpusHead"):
            import soundfile

            with soundfile.SoundFile(io.BytesIO(link)) as file:
                sound.write_blocks(file)
        else:
            with av.open(io.BytesIO(link), format="ogg", metadata_errors="replace") as container:
                if not container.streams.audio:
                    raise Refusal("WrongKind", "has no sound track, give a sound")
                for frame in container.decode(audio=0):
                    sound.write(frame)
    return sound.answer(), sound.parts


def decode_sndfile(request: dict, file: BinaryIO) -> tuple[dict, list[np.ndarray]] | None:
    """A sound by libsndfile; None if it cannot read it, but FFmpeg may."""
    import soundfile

    sound = Sound(request)
    try:
        with soundfile.SoundFile(file) as sounds:
            rate, declared = sounds.samplerate, sounds.frames
            if declared < _UNKNOWN and declared > request["max_seconds"] * rate:
                limit = f"the limit is {request['max_seconds']:g} s"
                raise Refusal("OverLimit", f"lasts {declared / rate:.1f} s, {limit}")
            sound.write_blocks(sounds)
    except soundfile.LibsndfileError:
        if not request["parser"]:
            raise
        file.seek(0)
        return None
    # The last block of compressed samples may be left out; a fiftieth of a second is not missed.
    if declared < _UNKNOWN and sound.decoded < declared - rate / 50:
        raise Refusal("DamagedFile", f"is truncated ({sound.decoded:,} of {declared:,} samples are there)")
    return sound.answer(), sound.parts


class Sound:
    """Mixes and resamples decoded sound; what it holds are float32 samples."""

    def __init__(self, request: dict):
        self.request = request
        self.resampler = self.layout = None
        self.start = 0.0
        self.rate = self.count = self.decoded = 0
        self.parts: list[np.ndarray] = []

    def write(self, frame) -> None:
        layout = frame.format.name, frame.layout.name, frame.sample_rate
        self.decoded += frame.samples
        if layout != self.layout:  # the first frame, or the next link of a chained Ogg
            if frame.sample_rate not in range(*self.request["sample_rates"]):
                raise Refusal("DamagedFile", f"declares an impossible rate of {frame.sample_rate:,} samples per second")
            if self.resampler is None:
                self.rate = self.request["sample_rate"] or frame.sample_rate
                self.start = frame.time or 0.0
            else:
                self._store(self.resampler.resample(None))
            self.layout = layout
            self.resampler = av.AudioResampler(format="flt", layout="mono", rate=self.rate)
        frame.pts = None  # the resampler counts by itself; gaps in damaged time stamps are no reason to fail
        self._store(self.resampler.resample(frame))

    def write_blocks(self, file) -> None:
        """All of a `soundfile.SoundFile`, in blocks, so that many channels of it are never all in memory."""
        while len(block := file.read(2**16, dtype="float32", always_2d=True)):
            # The resampler takes no infinite samples, and would make them silent.
            if not np.isfinite(block).all():
                raise Refusal("DamagedFile", "holds samples that are not numbers")
            frame = av.AudioFrame.from_ndarray(block.mean(axis=1)[None], format="flt", layout="mono")
            frame.sample_rate = file.samplerate
            self.write(frame)

    def _store(self, frames) -> None:
        # FFmpeg adds left and right at 0.71 each when it works in floats; at half each nothing gets louder.
        gain = np.float32(1.0 if self.layout[1] == "mono" or self.layout[1].startswith("1 channel") else 0.5**0.5)
        for frame in frames:
            self.parts.append(frame.to_ndarray()[0] * gain)
            self.count += len(self.parts[-1])
        if self.count > self.request["max_seconds"] * self.rate:
            raise Refusal("OverLimit", f"its sound lasts longer than the limit of {self.request['max_seconds']:g} s")
        if self.count * 4 > self.request["max_decoded_bytes"]:
            reason = f"takes more than the limit of {self.request['max_decoded_bytes']:,} bytes when decoded"
            raise Refusal("OverLimit", reason)

    def finish(self, video_start: float, stream) -> dict:
        """What there is, and how many samples to `skip` (negative: silence to add) to start with the frames."""
        if self.resampler is None:
            return {}
        self._store(self.resampler.resample(None))
        declared = float(stream.duration * stream.time_base) if stream is not None and stream.duration else 0.0
        if declared and self.request["kind"] in _EXACT_LENGTH and self.decoded < (declared - 0.01) * stream.rate:
            reason = f"is truncated ({self.decoded:,} of {round(declared * stream.rate):,} samples are there)"
            raise Refusal("DamagedFile", reason)
        if self.request["kind"] in ("mp4", "wav") and declared:
            # Codecs work in blocks of up to 2,048 samples: what they add to fill the last one is not part of the sound.
            wanted = round(declared * self.rate)
            if 0 < self.count - wanted <= 2048 * self.rate / stream.rate:
                self.count = max(1, wanted)
        self.parts = [np.concatenate([*self.parts, np.zeros(0, np.float32)])[: self.count]]
        skip = round((video_start - self.start) * self.rate) if self.request["frames"] else 0
        if -skip > self.request["max_seconds"] * self.rate:
            raise Refusal("DamagedFile", "its sound begins after the longest time a clip may last")
        return {"num_samples": self.count, "sample_rate": self.rate, "skip": skip}

    def answer(self) -> dict:
        """What to say about a sound alone."""
        answer = {"shape": [], "times": [], "end": 0.0, "rate": None, "num_samples": 0} | self.finish(0.0, None)
        if not answer["num_samples"]:
            raise Refusal("EmptyFile", "holds no sample")
        return answer
