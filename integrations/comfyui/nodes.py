"""The nodes: load a model, say what to make something of, mix, denoise outputs together, decode, save a clip with its sound."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from opencodi import AnyToAnyPipeline
from opencodi.device import pick_device
from opencodi.media import write_video
from opencodi.models import resolve

from . import media

MODEL, PROMPT, LATENTS = "OPENCODI_MODEL", "OPENCODI_PROMPT", "OPENCODI_LATENTS"
"""Types of sockets of our own, beside ComfyUI's."""
OUTPUTS = ("text", "image", "video", "audio")
MODELS_OWN = 0
"""A number of steps or a scale of 0 leaves it to the model."""


@dataclass(frozen=True)
class Prompt:
    """Inputs and the weight of each, in the order in which they were mixed."""

    parts: tuple[tuple[str, Any, float], ...]

    def scaled(self, weight: float) -> "Prompt":
        """The same with another share of a mixture."""
        return Prompt(tuple((modality, item, each * weight) for modality, item, each in self.parts))

    @property
    def modalities(self) -> list[str]:
        """Of the inputs."""
        return list(dict.fromkeys(modality for modality, *_ in self.parts))

    @property
    def arguments(self) -> dict[str, Any]:
        """As the pipeline takes them: several inputs of a modality are conditions of one prompt."""
        inputs: dict[str, tuple[Any, ...]] = {}
        weights: dict[str, tuple[float, ...]] = {}
        for modality, item, weight in self.parts:
            inputs[modality] = (*inputs.get(modality, ()), item)
            weights[modality] = (*weights.get(modality, ()), weight)
        return {**inputs, "weights": weights}

    @classmethod
    def of(cls, modality: str, items: list[Any]) -> "Prompt":
        """Items of one modality, which share the weight of one input."""
        return cls(tuple((modality, item, 1 / len(items)) for item in items))


@dataclass(frozen=True)
class Latents:
    """What a sampler made, and what decoding it needs to know."""

    latents: dict[str, torch.Tensor]
    prompt: Prompt
    number: int


class Node:
    """What all nodes have in common."""

    TITLE: ClassVar[str]
    FUNCTION = "run"
    CATEGORY = "OpenCoDi"


class OpenCoDiLoadModel(Node):
    """A model folder, or the name of an installed model."""

    TITLE = "Load Model"
    RETURN_TYPES, RETURN_NAMES = (MODEL,), ("model",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("STRING", {"default": "stickers", "tooltip": "An installed model, or a model folder."}),
                "device": (["best", "cpu", "cuda", "mps"],),
                "dtype": (["float32", "float16", "bfloat16"],),
                "extras": ("BOOLEAN", {"default": True, "tooltip": "Off: the paper's core alone."}),
            }
        }

    def run(self, model: str, device: str, dtype: str, extras: bool) -> tuple[AnyToAnyPipeline]:
        settings = {} if extras else {"extras": {}}
        pipeline = AnyToAnyPipeline.from_pretrained(resolve(model), torch_dtype=getattr(torch, dtype), **settings)
        pipeline.to(pick_device(None if device == "best" else device))
        pipeline.set_progress_bar_config(disable=True)
        return (pipeline,)


class OpenCoDiText(Node):
    """Words as a prompt."""

    TITLE = "Text Prompt"
    RETURN_TYPES, RETURN_NAMES = (PROMPT,), ("prompt",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"text": ("STRING", {"multiline": True, "default": "a rooster"})}}

    def run(self, text: str) -> tuple[Prompt]:
        return (Prompt.of("text", [text]),)


class OpenCoDiImage(Node):
    """Pictures as a prompt; several share its weight."""

    TITLE = "Image Prompt"
    RETURN_TYPES, RETURN_NAMES = (PROMPT,), ("prompt",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"images": ("IMAGE",)}}

    def run(self, images: torch.Tensor) -> tuple[Prompt]:
        return (Prompt.of("image", media.to_pictures(images)),)


class OpenCoDiClip(Node):
    """The frames of one clip as a prompt."""

    TITLE = "Clip Prompt"
    RETURN_TYPES, RETURN_NAMES = (PROMPT,), ("prompt",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        fps = {"default": 8.0, "min": 0.1, "max": 240.0, "step": 0.1}
        return {"required": {"frames": ("IMAGE",), "fps": ("FLOAT", fps)}}

    def run(self, frames: torch.Tensor, fps: float) -> tuple[Prompt]:
        return (Prompt.of("video", [media.to_clip(frames, fps)]),)


class OpenCoDiAudio(Node):
    """Sounds as a prompt; several share its weight."""

    TITLE = "Audio Prompt"
    RETURN_TYPES, RETURN_NAMES = (PROMPT,), ("prompt",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"audio": ("AUDIO",)}}

    def run(self, audio: dict[str, Any]) -> tuple[Prompt]:
        return (Prompt.of("audio", media.to_sounds(audio)),)


class OpenCoDiMix(Node):
    """Two prompts as one; mixtures may be mixed again."""

    TITLE = "Mix Prompts"
    RETURN_TYPES, RETURN_NAMES = (PROMPT,), ("prompt",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        weight = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 100.0, "step": 0.05})
        return {"required": {"prompt_a": (PROMPT,), "weight_a": weight, "prompt_b": (PROMPT,), "weight_b": weight}}

    def run(self, prompt_a: Prompt, weight_a: float, prompt_b: Prompt, weight_b: float) -> tuple[Prompt]:
        return (Prompt(prompt_a.scaled(weight_a).parts + prompt_b.scaled(weight_b).parts),)


class OpenCoDiSample(Node):
    """Encode and mix the prompt, and denoise all outputs together. Without a prompt the result is unconditional."""

    TITLE = "Joint Sampler"
    RETURN_TYPES, RETURN_NAMES = (LATENTS,), ("latents",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        scale = {"default": 0.0, "min": 0.0, "max": 50.0, "step": 0.1, "tooltip": "0: the model's own."}
        return {
            "required": {
                "model": (MODEL,),
                **{name: ("BOOLEAN", {"default": name == "image"}) for name in OUTPUTS},
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**63 - 1, "control_after_generate": True}),
                "steps": ("INT", {"default": 0, "min": 0, "max": 1000, "tooltip": "0: the model's own."}),
                "guidance": ("FLOAT", {**scale, "tooltip": "Towards the prompt; 1 is off, 0 the model's own."}),
                "partner_guidance": ("FLOAT", {**scale, "tooltip": "Towards the other outputs; 0: the model's own."}),
                "number": ("INT", {"default": 1, "min": 1, "max": 64}),
            },
            "optional": {"prompt": (PROMPT,), "negative": ("STRING", {"multiline": True, "default": ""})},
        }

    def run(
        self,
        model: AnyToAnyPipeline,
        seed: int,
        number: int,
        prompt: Prompt | None = None,
        negative: str = "",
        **given: Any,
    ) -> tuple[Latents]:
        prompt = prompt or Prompt(())
        outputs = [name for name in OUTPUTS if given[name]]
        settings = {
            "num_inference_steps": given["steps"],
            "guidance_scale": given["guidance"],
            "modality_scale": given["partner_guidance"],
        }
        settings = {name: value for name, value in settings.items() if value != MODELS_OWN}
        made = model(
            **prompt.arguments,
            outputs=outputs,
            negative_prompt=negative or None,
            num_outputs_per_prompt=number,
            generator=[torch.Generator().manual_seed(seed + place) for place in range(number)],
            output_type="latent",
            callback_on_step_end=progress(
                model.num_ticks(outputs, prompt.modalities, settings.get("num_inference_steps"))
            ),
            **settings,
        )
        return (Latents({name: made[name] for name in outputs}, prompt, number),)


class OpenCoDiDecode(Node):
    """Latents → what people read, see and hear. What was not asked for is empty: no words, a black pixel, silence."""

    TITLE = "Decode"
    RETURN_TYPES = ("STRING", "IMAGE", "IMAGE", "FLOAT", "AUDIO")
    RETURN_NAMES = ("text", "images", "frames", "fps", "audio")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        clip = {"default": 0, "min": 0, "max": 63, "tooltip": "Which clip, if several were made."}
        return {"required": {"model": (MODEL,), "latents": (LATENTS,), "clip": ("INT", clip)}}

    @torch.no_grad()
    def run(self, model: AnyToAnyPipeline, latents: Latents, clip: int) -> tuple[Any, ...]:
        inputs = latents.prompt.arguments
        condition = model.encode_prompt(**inputs, outputs=list(latents.latents)).repeated(latents.number)
        call = model.rooms.call(list(latents.latents), latents.prompt.modalities, None)
        made = {name: model.rooms.codec(name, call, condition).decode(x) for name, x in latents.latents.items()}
        clips = made.get("video")
        chosen = clips[min(clip, len(clips) - 1)] if clips else None
        return (
            "\n".join(made.get("text", ())),
            media.from_pictures(made["image"]) if "image" in made else media.no_picture(),
            media.from_frames(chosen.frames) if chosen else media.no_picture(),
            float(chosen.fps) if chosen else 1.0,
            media.from_sounds(made["audio"]) if "audio" in made else media.no_sound(),
        )


class OpenCoDiSaveClip(Node):
    """Write frames, and sound if there is one, as an MP4 in ComfyUI's output folder."""

    TITLE = "Save Clip"
    OUTPUT_NODE = True
    RETURN_TYPES, RETURN_NAMES = ("STRING",), ("file",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        fps = {"default": 8.0, "min": 0.1, "max": 240.0, "step": 0.1}
        name = {"default": "opencodi/clip", "tooltip": "Beginning of the file's name, below the output folder."}
        return {
            "required": {"frames": ("IMAGE",), "fps": ("FLOAT", fps), "filename_prefix": ("STRING", name)},
            "optional": {"audio": ("AUDIO",)},
        }

    def run(
        self, frames: torch.Tensor, fps: float, filename_prefix: str, audio: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        folder = output_folder()
        prefix = Path(filename_prefix)
        # A workflow is somebody else's file; it must not write elsewhere
        if prefix.is_absolute() or ".." in prefix.parts or not prefix.name:
            raise ValueError(
                f"filename_prefix: {filename_prefix!r} must be a name below the output folder, such as clip"
            )
        place = folder / prefix.parent
        place.mkdir(parents=True, exist_ok=True)
        number = next(n for n in range(1, 10**6) if not (place / f"{prefix.name}_{n:05d}.mp4").exists())
        file = place / f"{prefix.name}_{number:05d}.mp4"
        write_video(media.to_clip(frames, fps, audio), file)
        shown = {"filename": file.name, "subfolder": str(prefix.parent), "type": "output"}
        return {"ui": {"images": [shown], "animated": (True,)}, "result": (str(file),)}


def output_folder() -> Path:
    """ComfyUI's own, or ``output`` where there is no ComfyUI."""
    try:
        import folder_paths
    except ImportError:
        return Path("output")
    return Path(folder_paths.get_output_directory())


def progress(total: int) -> Callable[..., dict[str, Any]]:
    """A callback that moves ComfyUI's bar and stops when its user asks for it; without ComfyUI it does nothing."""
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted
        from comfy.utils import ProgressBar
    except ImportError:
        return lambda *_: {}
    bar = ProgressBar(total)

    def after_step(*_: Any) -> dict[str, Any]:
        throw_exception_if_processing_interrupted()
        bar.update(1)
        return {}

    return after_step


NODES = (
    OpenCoDiLoadModel,
    OpenCoDiText,
    OpenCoDiImage,
    OpenCoDiClip,
    OpenCoDiAudio,
    OpenCoDiMix,
    OpenCoDiSample,
    OpenCoDiDecode,
    OpenCoDiSaveClip,
)
