"""What each modality is: one record, which everything that enumerates them reads. Imports no torch.

A modality of your own is one more record, ``register(ModalityRecord(...))``, and the classes that it names.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from .errors import ArgumentError


class Modality(StrEnum):
    """The names of the four modalities that come with the package, in the order used everywhere."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True)
class ModalityRecord:
    """One modality: its files, and the components of a model that read and make it.

    Components are named as in ``model_index.json``. Classes and functions are given as callables that import them, so
    that reading this table loads no library.

    Attributes:
        name: how users call it.
        media_type: returns the class of its media objects.
        read: ``(path, limits) -> media``, or None if no file is read as this modality.
        write: ``(media, path)``, or None if it is not written to files.
        read_suffixes: endings (lower case, with the dot) that are read as this modality. A ``.gif`` or ``.webp`` may be
            an image or a video; which one is the caller's choice (``--image`` or ``--video``).
        write_suffix: the ending written by default.
        prompt_encoder: component that turns this modality into a condition.
        codec: returns the class of its codec (``opencodi.latents.Codec``), or a function that makes one.
        codec_parts: argument of the codec → component that it is given.
        optional_parts: components of the codec that a model may lack.
        prompt_encoder_parts: argument of the prompt encoder's ``encode``, ``embed`` and ``unconditional`` → component that it
            is given: clips are read with the image prompt encoder.
        denoiser: component that generates its latents. Video uses the image denoiser (paper §3.2).
        temporal: component that adds time to that denoiser, or None.
        alignment: component that lets that denoiser see the other modalities (paper §3.3), or None.
        evidence: component that reads its noisy latents (``opencodi.denoisers.EvidenceEncoder``), or None.
    """

    name: str
    media_type: Callable[[], type]
    read: Callable[..., Any] | None
    write: Callable[[Any, Any], None] | None
    read_suffixes: tuple[str, ...]
    write_suffix: str
    prompt_encoder: str
    codec: Callable[[], Callable[..., Any]]
    codec_parts: Mapping[str, str]
    denoiser: str
    temporal: str | None = None
    alignment: str | None = None
    evidence: str | None = None
    optional_parts: frozenset[str] = field(default_factory=frozenset)
    prompt_encoder_parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def autoencoder(self) -> str:
        """The component that turns media into latents and back."""
        return self.codec_parts["autoencoder"]

    def build_codec(self, part: Callable[[str], Any]) -> Any:
        """The codec, from the components that ``part(name)`` returns."""
        return self.codec()(**{argument: part(name) for argument, name in self.codec_parts.items()})


def _text_media() -> type:
    return str


def _image_media() -> type:
    from PIL import Image

    return Image.Image


def _video_media() -> type:
    from .media.objects import Video

    return Video


def _audio_media() -> type:
    from .media.objects import Audio

    return Audio


def _media_function(name: str) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        from . import media

        return getattr(media, name)(*args)

    return call


def _codec_class(name: str) -> Callable[[], type]:
    def find() -> type:
        from . import latents

        return getattr(latents, name)

    return find


MODALITIES: dict[str, ModalityRecord] = {}
"""Name → record, in the order used everywhere."""


def register(record: ModalityRecord) -> None:
    """Add a modality to ``MODALITIES``.

    Raises:
        ArgumentError: if there is one of that name.
    """
    if record.name in MODALITIES:
        raise ArgumentError(f"modality: there is already one named {record.name!r}; choose another name")
    MODALITIES[record.name] = record


register(
    ModalityRecord(
        name=Modality.TEXT,
        media_type=_text_media,
        read=_media_function("read_text"),
        write=_media_function("write_text"),
        read_suffixes=(".txt",),
        write_suffix=".txt",
        prompt_encoder="text_prompt_encoder",
        codec=_codec_class("TextCodec"),
        codec_parts={"autoencoder": "text_autoencoder", "tokenizer": "text_tokenizer"},
        denoiser="text_denoiser",
        alignment="text_alignment",
        evidence="text_evidence",
    )
)
register(
    ModalityRecord(
        name=Modality.IMAGE,
        media_type=_image_media,
        read=_media_function("read_image"),
        write=_media_function("write_image"),
        read_suffixes=(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif"),
        write_suffix=".png",
        prompt_encoder="image_prompt_encoder",
        codec=_codec_class("image_codec"),
        codec_parts={"autoencoder": "image_autoencoder"},
        denoiser="image_denoiser",
        alignment="image_alignment",
        evidence="image_evidence",
    )
)
register(
    ModalityRecord(
        name=Modality.VIDEO,
        media_type=_video_media,
        read=_media_function("read_video"),
        write=_media_function("write_video"),
        read_suffixes=(
            *(".mp4", ".webm", ".mov", ".gif", ".webp", ".apng", ".png"),
            *(".m4v", ".mkv", ".avi", ".wmv", ".3gp", ".ogv", ".mpg", ".mpeg", ".ts", ".flv"),
        ),
        write_suffix=".mp4",
        prompt_encoder="video_prompt_encoder",
        prompt_encoder_parts={"image": "image_prompt_encoder"},
        codec=_codec_class("VideoCodec"),
        codec_parts={"autoencoder": "image_autoencoder"},
        denoiser="image_denoiser",
        temporal="video_temporal",
        alignment="image_alignment",
        evidence="video_evidence",
    )
)
register(
    ModalityRecord(
        name=Modality.AUDIO,
        media_type=_audio_media,
        read=_media_function("read_audio"),
        write=_media_function("write_audio"),
        read_suffixes=(
            *(".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"),
            *(".aac", ".aif", ".aiff", ".amr", ".au", ".caf", ".mp2", ".oga", ".spx", ".w64", ".wma", ".wv"),
        ),
        write_suffix=".wav",
        prompt_encoder="audio_prompt_encoder",
        codec=_codec_class("AudioCodec"),
        codec_parts={"autoencoder": "audio_autoencoder", "vocoder": "audio_vocoder"},
        optional_parts=frozenset({"audio_vocoder"}),
        denoiser="audio_denoiser",
        alignment="audio_alignment",
        evidence="audio_evidence",
    )
)


def parse_modalities(names: str | Iterable[str], argument: str = "outputs") -> list[str]:
    """Turn ``"image,audio"``, ``"all"`` or a list of names into modalities, in the fixed order, without repeats.

    Raises:
        ArgumentError: if a name is unknown (the nearest one is suggested) or none is given.
    """
    listed = names.split(",") if isinstance(names, str) else list(names)
    wanted = {str(name).strip().lower() for name in listed if str(name).strip()}
    if "all" in wanted:
        return list(MODALITIES)
    known = [str(name) for name in MODALITIES]
    for name in sorted(wanted - set(known)):
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ArgumentError(f"{argument}: unknown modality {name!r}, choose from {', '.join(known)} or 'all'{hint}")
    if not wanted:
        raise ArgumentError(f"{argument}: name at least one of {', '.join(known)}, or 'all'")
    return [name for name in MODALITIES if name in wanted]
