"""The stages of the paper's recipe, one task each."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module

from ...errors import ConfigurationError
from ..task import Task

TASKS = {
    "image_autoencoder": "autoencoders:ImageAutoencoderTask",
    "transparent_image_autoencoder": "transparent_image:TransparentImageAutoencoderTask",
    "transparent_image_decoder": "transparent_image:TransparentImageDecoderTask",
    "audio_autoencoder": "autoencoders:AudioAutoencoderTask",
    "text_autoencoder": "text_autoencoder:TextAutoencoderTask",
    "audio_vocoder": "vocoder:VocoderTask",
    "bridging": "bridging:BridgingTask",
    "image_diffuser": "diffusers:ImageDiffuserTask",
    "video_diffuser": "diffusers:VideoDiffuserTask",
    "audio_diffuser": "diffusers:AudioDiffuserTask",
    "text_diffuser": "diffusers:TextDiffuserTask",
    "evidence": "evidence:EvidenceTask",
    "distillation": "distillation:DistillationTask",
    "alignment": "alignment:AlignmentTask",
    "image_lora": "lora:ImageLoraTask",
    "audio_lora": "lora:AudioLoraTask",
    "manner": "manner:MannerTask",
}
"""Where each recipe's ``task`` is; imported when it is run."""


def find_task(name: str, more: Mapping[str, str]) -> type[Task]:
    """The task class of a recipe's ``task`` value.

    Args:
        name: of the task.
        more: {name: module:class} of tasks that only the recipe's collection has.

    Raises:
        ConfigurationError: if there is none of that name; the nearest is suggested.
    """
    known = {task: f"{__package__}.{place}" for task, place in TASKS.items()} | dict(more)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
        raise ConfigurationError(f"task: unknown task {name!r}; {hint}")
    module, kind = known[name].split(":")
    return getattr(import_module(module), kind)
