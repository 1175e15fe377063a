"""What the judges say of media objects, real or made."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image

from ....latents.mel import prepare_waveform
from ....media import Audio, Media, Video, resample
from ....modality import Modality
from ....prompts.image import to_pixel_values
from ..judges.networks import JudgeOutput, Judges

CHUNK = 64


@torch.no_grad()
def _in_chunks(judge: Any, inputs: torch.Tensor) -> JudgeOutput:
    parts = [judge(chunk.to(judge.device)) for chunk in inputs.split(CHUNK)]
    columns = [(part.features, part.concept_logits, part.style_logits) for part in parts]
    joined = [None if any(c is None for c in column) else torch.cat(column).float().cpu() for column in zip(*columns)]
    return JudgeOutput(features=joined[0], concept_logits=joined[1], style_logits=joined[2])


def judge_images(judges: Judges, images: Sequence[Image.Image]) -> JudgeOutput:
    """Pictures → features [B, F], concept logits [B, C] and style logits [B, S]."""
    return _in_chunks(judges.image, to_pixel_values(images, judges.image.config.sample_size))


def judge_videos(judges: Judges, videos: Sequence[Video]) -> JudgeOutput:
    """Clips → the same, the mean over their frames."""
    frames = judge_images(judges, [Image.fromarray(frame) for video in videos for frame in video.frames])
    lengths = [len(video.frames) for video in videos]

    def mean(values: torch.Tensor) -> torch.Tensor:
        return torch.stack([part.mean(0) for part in values.split(lengths)])

    style = None if frames.style_logits is None else mean(frames.style_logits)
    return JudgeOutput(features=mean(frames.features), concept_logits=mean(frames.concept_logits), style_logits=style)


def judge_sounds(judges: Judges, sounds: Sequence[Audio]) -> JudgeOutput:
    """Sounds → features [B, F] and concept logits [B, C]."""
    config = judges.audio.config
    waveforms = [torch.from_numpy(resample(sound, config.sample_rate).samples.copy()) for sound in sounds]
    prepared = [prepare_waveform(wave, config.waveform_peak, config.num_samples) for wave in waveforms]
    return _in_chunks(judges.audio, torch.stack(prepared))


JUDGE: dict[Modality, Callable[[Judges, Sequence[Any]], JudgeOutput]] = {
    Modality.IMAGE: judge_images,
    Modality.VIDEO: judge_videos,
    Modality.AUDIO: judge_sounds,
}
"""How each modality but text, which says its concept itself, is judged."""


def judge(judges: Judges, modality: Modality, media: Sequence[Media]) -> JudgeOutput:
    """What the judge of this modality says."""
    return JUDGE[modality](judges, media)


def known_concepts(judges: Judges, modality: Modality) -> list[str]:
    """The concept codes that the judge of this modality tells apart, in the order of its logits."""
    return list({Modality.AUDIO: judges.audio}.get(modality, judges.image).config.concepts)


def known_styles(judges: Judges) -> list[str]:
    """The style names that the picture judge tells apart, in the order of its logits."""
    return list(judges.image.config.styles)


def best_concepts(
    judges: Judges, modality: Modality, media: Sequence[Media], among: Sequence[str] | None = None
) -> list[str]:
    """The likeliest concept of each item; ``among`` names those to choose from."""
    labels, logits = known_concepts(judges, modality), judge(judges, modality, media).concept_logits
    if among is not None:
        allowed = set(among)
        logits = logits.masked_fill(torch.tensor([label not in allowed for label in labels]), -torch.inf)
    return [labels[place] for place in logits.argmax(1).tolist()]
