"""What clients send. Requests in OpenAI's shape become a ``Generation``, which is our own."""

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..errors import ArgumentError
from ..media import Media
from ..modality import MODALITIES, parse_modalities
from .batching import Work
from .problems import Problem, bad_request
from .settings import Settings
from .sounds import FORMATS

Number = Annotated[float, Field(allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**62)]
Steps = Annotated[int, Field(ge=1)]
Size = Annotated[str, StringConstraints(pattern=r"^([1-9]\d{0,4}x[1-9]\d{0,4}|auto)$")]
Upload = str | list[str]
SoundFormat = Literal["wav", "mp3", "flac", "opus", "aac", "pcm"]
assert set(FORMATS) == set(SoundFormat.__args__)


class Generation(BaseModel):
    """``POST /v1/generations``: any inputs to any outputs, with the arguments of the pipeline.

    Inputs are text, and ``data:`` URLs (JSON) or files (multipart) of pictures, clips and sounds; several of one
    modality are conditions of one prompt. Links are never opened.
    """

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="The served model, if named at all.")
    text: Upload | None = Field(None, description="A prompt in words, or several to be mixed.")
    image: Upload | None = Field(None, description="A picture as a data: URL, or several to be mixed.")
    video: Upload | None = Field(None, description="A clip as a data: URL, or several to be mixed.")
    audio: Upload | None = Field(None, description="A sound as a data: URL, or several to be mixed.")
    outputs: str | list[str] = Field("image", description='Names of modalities, "image,audio" or "all".')
    weights: dict[str, Number | list[Number]] | None = Field(None, description="How much each input counts.")
    negative_prompt: str | None = Field(None, description="What to steer away from.")
    num_inference_steps: Steps | dict[str, Steps] | None = Field(None, description="Denoising steps.")
    guidance_scale: Number | dict[str, Number] | None = Field(None, description="How closely to follow the inputs.")
    modality_scale: Number | dict[str, Number] | None = Field(
        None, description="How closely outputs follow one another."
    )
    num_candidates: Steps | dict[str, Steps] | None = Field(None, description="Make so many, keep the nearest.")
    num_outputs_per_prompt: int = Field(1, ge=1, description="Results; their seeds are seed, seed + 1 and so on.")
    seed: Seed | None = Field(None, description="Same seed, same results; drawn and reported if not given.")
    height: int | None = Field(None, ge=1, description="Of pictures and clips, in pixels.")
    width: int | None = Field(None, ge=1, description="Of pictures and clips, in pixels.")
    num_frames: int | None = Field(None, ge=1, description="Of clips.")
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(None, description="Of sounds.")
    text_decoding: Literal["greedy", "sample"] | None = None
    extras: list[str] | None = Field(None, description="Extras to use of those of the model; [] is the core alone.")
    stream: bool = Field(False, description="Answer with server-sent events; leaving cancels the job.")


class ImageRequest(BaseModel):
    """``POST /v1/images/generations``. Fields of OpenAI that mean nothing here (``quality``, ``style``, …) are ignored."""

    prompt: str
    model: str | None = None
    n: int = Field(1, ge=1)
    size: Size | None = Field(None, description="The picture is drawn at the model's size and enlarged to this one.")
    response_format: Literal["b64_json", "url"] = "b64_json"
    stream: Literal[False] = Field(False, description="Only false; /v1/generations streams.")
    negative_prompt: str | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Number | None = None
    seed: Seed | None = None


class SpeechRequest(BaseModel):
    """``POST /v1/audio/speech``: the model's one voice says the input. ``voice`` and ``instructions`` change nothing."""

    input: str
    model: str | None = None
    voice: str | dict[str, Any] | None = None
    response_format: SoundFormat = "mp3"
    speed: float = Field(1.0, ge=1.0, le=1.0, description="Only 1.")
    stream_format: Literal["audio"] = "audio"
    num_inference_steps: Steps | None = None
    guidance_scale: Number | None = None
    seed: Seed | None = None


class SoundRequest(BaseModel):
    """``POST /v1/audio/generate``, as vLLM-Omni's: a sound as the input describes it."""

    input: str
    model: str | None = None
    response_format: SoundFormat = "wav"
    speed: float = Field(1.0, ge=1.0, le=1.0, description="Only 1.")
    audio_start: float = Field(0.0, ge=0.0, le=0.0, description="Only 0.")
    audio_length: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    negative_prompt: str | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Number | None = None
    seed: Seed | None = None


class VideoRequest(BaseModel):
    """``POST /v1/videos``: a clip, with sound if ``generate_sound`` says so (it does unless told otherwise).

    The clip is drawn at the model's size and length, then enlarged to ``size`` and looped or cut to ``seconds``.
    """

    prompt: str
    model: str | None = None
    input_reference: Any = Field(None, description="A picture or clip: a file, or {image_url: data URL}.")
    image_reference: Any = Field(None, description="vLLM-Omni's: {image_url: data URL}.")
    video_reference: Any = Field(None, description="vLLM-Omni's: {video_url: data URL}.")
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    size: Size | None = None
    num_frames: int | None = Field(None, ge=1)
    generate_sound: bool = True
    negative_prompt: str | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Number | None = None
    seed: Seed | None = None


class EmbeddingRequest(BaseModel):
    """``POST /v1/embeddings``: where inputs of any modality lie in the shared space.

    Each input is a text, or one of ``{"text": …}``, ``{"image": data URL}``, ``{"video": …}``, ``{"audio": …}``.
    """

    input: str | list[str | dict[str, str]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"


DICTIONARIES = ("weights", "num_inference_steps", "guidance_scale", "modality_scale", "num_candidates")
"""Fields that may hold a value for each modality."""
PASSED_ON = (
    *DICTIONARIES,
    *("height", "width", "num_frames", "seconds", "text_decoding", "extras"),
)
"""Arguments of the pipeline that it is given as they are."""


def check_generation(asked: Generation, settings: Settings) -> list[str]:
    """Hold a request against the limits, before anything is read or made; the outputs it wants.

    Raises:
        Problem: 400 that names the field.
    """
    try:
        outputs = parse_modalities(asked.outputs if isinstance(asked.outputs, str) else ",".join(asked.outputs))
    except ArgumentError as error:
        raise bad_request(str(error), "outputs") from None
    for name in DICTIONARIES:
        for modality in getattr(asked, name) if isinstance(getattr(asked, name), dict) else ():
            if modality not in MODALITIES:
                raise bad_request(
                    f"{name}: unknown modality {modality[:40]!r}, choose from {', '.join(MODALITIES)}", name
                )
    at_most("num_outputs_per_prompt", [asked.num_outputs_per_prompt], settings.max_outputs)
    at_most("num_inference_steps", each(asked.num_inference_steps), settings.max_steps)
    at_most("num_candidates", each(asked.num_candidates), settings.max_outputs)
    for name in ("guidance_scale", "modality_scale"):
        at_most(name, map(abs, each(getattr(asked, name))), settings.max_guidance)
    side = int(settings.max_made_pixels**0.5)
    at_most("height", each(asked.height), side)
    at_most("width", each(asked.width), side)
    at_most("num_frames", each(asked.num_frames), settings.max_made_frames)
    at_most("seconds", each(asked.seconds), settings.max_made_seconds)
    return outputs


def make_work(asked: Generation, outputs: list[str], inputs: dict[str, list[Media]]) -> Work:
    """What the pipeline is to do; it refuses what it does not know itself."""
    given = {name: getattr(asked, name) for name in PASSED_ON if getattr(asked, name) is not None}
    seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    return Work(inputs, outputs, asked.num_outputs_per_prompt, seed, asked.negative_prompt or None, given)


def each(value: Any) -> list[Any]:
    """The numbers in a setting: none, one, or one for each modality."""
    if value is None:
        return []
    return list(value.values()) if isinstance(value, dict) else [value]


def at_most(name: str, values: Any, limit: float) -> None:
    """Refuse values above a limit.

    Raises:
        Problem: 400 that names both.
    """
    largest = max(values, default=0)
    if largest > limit:
        raise bad_request(
            f"{name}: {largest:g} is more than this server makes ({limit:g}), ask for less", name, "over_limit"
        )


def check_model(asked: str | None, served: list[str]) -> None:
    """Refuse a model that is not served here.

    Raises:
        Problem: 404 that names what is.
    """
    if asked is not None and asked not in served:
        message = f"The model {asked[:80]!r} does not exist here; this server has {', '.join(served)}."
        raise Problem(404, "model_not_found", message, "model")
