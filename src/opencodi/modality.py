"""The four modalities and the one table of what each of them is. No other file lists the four by hand."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from .errors import ArgumentError


class Modality(StrEnum):
    """Text, image, video and audio, in the order used everywhere."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True)
class ModalityInfo:
    """What one modality is.

    Attributes:
        read_suffixes: file name endings (lower case, with the dot) that are read as this modality. A ``.gif`` or
            ``.webp`` may be an image or a video; which one is the caller's choice (``--image`` or ``--video``).
        write_suffix: the ending written by default.
        prompt_encoder: pipeline component that turns this modality into a condition.
        autoencoder: pipeline component that turns it into latents and back. Video uses the image autoencoder.
        denoiser: pipeline component that generates its latents. Video uses the image denoiser (paper §3.2).
    """

    read_suffixes: tuple[str, ...]
    write_suffix: str
    prompt_encoder: str
    autoencoder: str
    denoiser: str


INFO: dict[Modality, ModalityInfo] = {
    Modality.TEXT: ModalityInfo(
        read_suffixes=(".txt",),
        write_suffix=".txt",
        prompt_encoder="text_prompt_encoder",
        autoencoder="text_autoencoder",
        denoiser="text_denoiser",
    ),
    Modality.IMAGE: ModalityInfo(
        read_suffixes=(".png", ".jpg", ".jpeg", ".webp", ".gif"),
        write_suffix=".png",
        prompt_encoder="image_prompt_encoder",
        autoencoder="image_autoencoder",
        denoiser="image_denoiser",
    ),
    Modality.VIDEO: ModalityInfo(
        read_suffixes=(".mp4", ".webm", ".mov", ".gif", ".webp", ".apng", ".png"),
        write_suffix=".mp4",
        prompt_encoder="video_prompt_encoder",
        autoencoder="image_autoencoder",
        denoiser="image_denoiser",
    ),
    Modality.AUDIO: ModalityInfo(
        read_suffixes=(".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"),
        write_suffix=".wav",
        prompt_encoder="audio_prompt_encoder",
        autoencoder="audio_autoencoder",
        denoiser="audio_denoiser",
    ),
}


def parse_modalities(names: str | Iterable[str], argument: str = "outputs") -> list[Modality]:
    """Turn ``"image,audio"``, ``"all"`` or a list of names into modalities, in the fixed order, without repeats.

    Raises:
        ArgumentError: if a name is unknown (the nearest one is suggested) or none is given.
    """
    listed = names.split(",") if isinstance(names, str) else list(names)
    wanted = {str(name).strip().lower() for name in listed if str(name).strip()}
    if "all" in wanted:
        return list(Modality)
    known = [modality.value for modality in Modality]
    for name in sorted(wanted - set(known)):
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ArgumentError(f"{argument}: unknown modality {name!r}, choose from {', '.join(known)} or 'all'{hint}")
    if not wanted:
        raise ArgumentError(f"{argument}: name at least one of {', '.join(known)}, or 'all'")
    return [modality for modality in Modality if modality in wanted]
