"""Real files of every format that is read, small enough to be mutated many times."""

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from opencodi.media import write_audio, write_video

from ..media.samples import clip, encode, picture, tone

PICTURES = ("png", "jpg", "webp", "gif", "bmp", "avif")
CLIPS = ("mp4", "mov", "webm", "gif", "webp", "apng", "avi", "mkv")
SOUNDS = ("wav", "wav24", "float.wav", "flac", "mp3", "ogg", "opus", "m4a", "aiff", "au", "caf", "w64")


def pictures(folder: Path) -> dict[str, bytes]:
    """One picture of each format; palette, alpha and EXIF are among them."""
    plain, found = picture(24, 20), {}
    for ending in PICTURES:
        plain.save(folder / f"picture.{ending}")
        found[ending] = (folder / f"picture.{ending}").read_bytes()
    clear = plain.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(plain.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image, options in (
        ("alpha.png", clear, {}),
        ("alpha.webp", clear, {"lossless": True}),
        ("palette.png", plain.quantize(16), {}),
        ("turned.jpg", plain, {"exif": exif, "progressive": True}),
        ("grey16.png", Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100), {}),
    ):
        image.save(folder / name, **options)
        found[name] = (folder / name).read_bytes()
    return found


def clips(folder: Path) -> dict[str, bytes]:
    """One clip of each container, with a sound where it can have one."""
    video = clip(6, size=(32, 32), audio=tone(0.75))
    for name in ("a.mp4", "a.gif", "a.webp"):
        write_video(video, folder / name)
    for name in ("a.mov", "a.webm"):
        encode(folder / name, video, tone(0.75, 48_000).samples[:, None])
    frames = [Image.fromarray(frame) for frame in video.frames]
    frames[0].save(folder / "a.apng", save_all=True, append_images=frames[1:], duration=125)
    encode(folder / "a.avi", video)
    encode(folder / "a.mkv", video, tone(0.75, 48_000).samples[:, None])
    return {ending: (folder / f"a.{ending}").read_bytes() for ending in CLIPS}


def sounds(folder: Path) -> dict[str, bytes]:
    """One sound of each format."""
    sound, found = tone(0.3), {}
    for ending in ("wav", "flac"):
        write_audio(sound, folder / f"a.{ending}")
        found[ending] = (folder / f"a.{ending}").read_bytes()
    for name, options in (
        ("wav24", {"format": "WAV", "subtype": "PCM_24"}),
        ("float.wav", {"format": "WAV", "subtype": "FLOAT"}),
        ("ogg", {"format": "OGG", "subtype": "VORBIS"}),
        ("aiff", {"format": "AIFF"}),
        ("au", {"format": "AU"}),
        ("caf", {"format": "CAF"}),
        ("w64", {"format": "W64"}),
    ):
        soundfile.write(folder / name, sound.samples, sound.sample_rate, **options)
        found[name] = (folder / name).read_bytes()
    for ending in ("mp3", "m4a", "opus"):
        encode(folder / f"a.{ending}", samples=tone(0.3, 48_000).samples[:, None])
        found[ending] = (folder / f"a.{ending}").read_bytes()
    return found
