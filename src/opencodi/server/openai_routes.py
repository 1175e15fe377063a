"""Routes in the shape of OpenAI's and vLLM-Omni's, for clients that know those."""

import base64
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response
from PIL import Image, ImageOps

from ..media import Video, sample_frames
from ..modality import MODALITIES
from .forms import Form, from_data_url, read_form
from .generation_routes import PRIVATE, UPLOADS, body_of, check_files, link_to_credentials
from .jobs import Job, State
from .problems import Problem, bad_request
from .schemas import (
    EmbeddingRequest,
    Generation,
    ImageRequest,
    SoundRequest,
    SpeechRequest,
    VideoRequest,
    at_most,
    check_model,
)
from .service import Service

SHARED = ("model", "negative_prompt", "num_inference_steps", "guidance_scale", "seed")
LONGEST_SIDE = 4096
"""In pixels; encoders of clips refuse much longer ones."""
SPEECH_PROMPT = "the word {}"
"""How the captions of the bundled model call a recording of speech."""


def as_generation(asked: Any, text: str, outputs: str, **more: Any) -> Generation:
    """A request of OpenAI's shape as one of ours."""
    shared = {name: getattr(asked, name) for name in SHARED if getattr(asked, name, None) is not None}
    return Generation(text=text, outputs=outputs, **shared, **more)


def openai_routes(service: Service) -> APIRouter:
    """The routes of a service."""
    routes = APIRouter(tags=["openai"])

    @routes.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The served model, and the other names it answers to."""
        return {"object": "list", "data": [_model(service, name) for name in service.names]}

    @routes.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        if name not in service.names:
            raise Problem(404, "model_not_found", f"The model {name[:80]!r} does not exist here.", "model")
        return _model(service, name)

    @routes.post("/v1/images/generations", openapi_extra=body_of(ImageRequest))
    async def images(request: Request) -> dict[str, Any]:
        """Pictures from words."""
        asked = (await read_form(request, service.settings)).parse(ImageRequest)
        finish = _sized(service, asked.size)
        generation = as_generation(asked, asked.prompt, "image", num_outputs_per_prompt=_number(service, asked.n))
        job = await service.submit(request, generation, {"text": [asked.prompt]}, "image", finish)
        await service.finished(request, job)
        if asked.response_format == "url":
            data = [{"url": service.base_url + file.link} for file in job.files]
        else:
            data = [{"b64_json": base64.b64encode(file.path.read_bytes()).decode()} for file in job.files]
            service.remove(job)
        return {"created": int(job.created), "data": data, "output_format": "png", "seed": job.work.seed}

    @routes.post("/v1/audio/speech", openapi_extra=body_of(SpeechRequest))
    async def speech(request: Request) -> Response:
        """The input said by the model's voice."""
        asked = (await read_form(request, service.settings)).parse(SpeechRequest)
        return await sound(request, asked, as_generation(asked, SPEECH_PROMPT.format(asked.input), "audio"))

    @routes.post("/v1/audio/generate", openapi_extra=body_of(SoundRequest))
    async def sounds(request: Request) -> Response:
        """A sound as the input describes it."""
        asked = (await read_form(request, service.settings)).parse(SoundRequest)
        return await sound(request, asked, as_generation(asked, asked.input, "audio", seconds=asked.audio_length))

    async def sound(request: Request, asked: SpeechRequest | SoundRequest, generation: Generation) -> Response:
        given = {"text": [generation.text]}
        job = await service.submit(request, generation, given, "audio", audio_format=asked.response_format)
        await service.finished(request, job)
        (file,) = job.files
        content, headers = file.path.read_bytes(), PRIVATE | link_to_credentials(service, file)
        if file.sidecar is None:
            service.remove(job)  # else it stays until it expires, so that the link leads somewhere
        return Response(content, media_type=file.media_type, headers=headers)

    @routes.post(
        "/v1/videos", openapi_extra=body_of(VideoRequest, {"input_reference": "A picture or clip to start from."})
    )
    async def create_video(request: Request) -> dict[str, Any]:
        """Begin a clip; poll it, then fetch its content."""
        form = await read_form(request, service.settings)
        asked = form.parse(VideoRequest)
        at_most("seconds", [asked.seconds or 0], service.settings.max_made_seconds)
        outputs = "video,audio" if asked.generate_sound else "video"
        generation = as_generation(asked, asked.prompt, outputs, num_frames=asked.num_frames)
        given = {"text": [asked.prompt], **_reference(form, asked)}
        finish = _sized(service, asked.size, asked.seconds)
        details = {"size": asked.size, "seconds": asked.seconds}
        return _video(service, await service.submit(request, generation, given, "video", finish, details=details))

    @routes.get("/v1/videos")
    async def list_videos(
        request: Request, after: str | None = None, limit: int = 20, order: str = "desc"
    ) -> dict[str, Any]:
        """One's own clips, the newest first unless ``order`` is ``asc``."""
        jobs = sorted(
            service.jobs.of(request.state.owner, "video"), key=lambda job: job.created, reverse=order != "asc"
        )
        ids = [job.id for job in jobs]
        start = ids.index(after) + 1 if after in ids else 0
        end = start + max(1, min(limit, 100))
        data = [_video(service, job) for job in jobs[start:end]]
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return {"object": "list", "data": data, **ends, "has_more": len(jobs) > end}

    @routes.get("/v1/videos/{id}")
    async def retrieve_video(request: Request, id: str) -> dict[str, Any]:
        """How far a clip is."""
        return _video(service, service.jobs.find(id, request.state.owner, "video"))

    @routes.get("/v1/videos/{id}/content")
    async def video_content(request: Request, id: str, variant: str = "video") -> Response:
        """The clip as MP4."""
        job = service.jobs.find(id, request.state.owner, "video")
        if job.state != State.COMPLETED:
            raise job.problem or Problem(409, "not_ready", "The clip is not finished yet; poll it.", retry_after=1)
        files = {file.modality: file for file in job.files}
        if variant != "video":
            raise bad_request("variant: only 'video' is kept", "variant")
        job.collected = True
        return FileResponse(files["video"].path, media_type="video/mp4", headers=PRIVATE)

    @routes.delete("/v1/videos/{id}")
    async def delete_video(request: Request, id: str) -> dict[str, Any]:
        """Cancel a clip, or drop it."""
        service.remove(service.jobs.find(id, request.state.owner, "video"))
        return {"id": id, "object": "video.deleted", "deleted": True}

    @routes.post("/v1/embeddings", openapi_extra=body_of(EmbeddingRequest, UPLOADS))
    async def embed(request: Request) -> dict[str, Any]:
        """Where texts, pictures, clips and sounds lie in the space that they share."""
        form = await read_form(request, service.settings)
        check_files(form)
        form.fields.setdefault("input", [])
        asked = form.parse(EmbeddingRequest)
        check_model(asked.model, service.names)
        if form.fields.get("dimensions") is not None:
            raise bad_request("dimensions: this model has one size of embeddings, leave it out", "dimensions")
        listed = [asked.input] if isinstance(asked.input, str) else asked.input
        pairs = [("text", item) if isinstance(item, str) else _only_pair(item) for item in listed]
        pairs += [(modality, content) for modality, files in form.files.items() for content in files]
        if not pairs or len(pairs) > service.settings.max_inputs:
            raise bad_request(f"input: give 1 to {service.settings.max_inputs} inputs", "input", "over_limit")
        items = [(modality, (await service.inputs.read({modality: [item]}))[modality][0]) for modality, item in pairs]
        vectors = await service.embed(items)
        data = [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, asked.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        return {
            "object": "list",
            "model": service.names[0],
            "data": data,
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
        }

    return routes


def _model(service: Service, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": service.started, "owned_by": "opencodi"}


def _number(service: Service, n: int) -> int:
    at_most("n", [n], service.settings.max_outputs)
    return n


def _video(service: Service, job: Job) -> dict[str, Any]:
    """A clip's job in OpenAI's words, where what is cancelled has failed."""
    facts = next((file.facts for file in job.files if file.modality == "video"), {})
    size = "{width}x{height}".format(**facts) if facts else job.details["size"] or "auto"
    return {
        "id": job.id,
        "object": "video",
        "model": service.names[0],
        "status": "failed" if job.state == State.CANCELLED else job.state.value,
        "progress": job.progress,
        "created_at": int(job.created),
        "completed_at": int(job.ended) if job.state == State.COMPLETED else None,
        "expires_at": int(job.ended + service.settings.keep_seconds) if job.ended else None,
        "size": size,
        "seconds": f"{facts.get('seconds') or job.details['seconds'] or 0:g}",
        "seed": job.work.seed,
        "error": None if job.problem is None else {"code": job.problem.code, "message": job.problem.message},
    }


def _reference(form: Form, asked: VideoRequest) -> dict[str, list[Any]]:
    """The picture or clip that a video starts from."""
    content = next(iter(form.files.get("input_reference", [])), None)
    given = asked.input_reference or asked.image_reference or asked.video_reference
    if content is None and given is None:
        return {}
    if content is None:
        url = given.get("image_url") or given.get("video_url") if isinstance(given, dict) else given
        content = from_data_url(url, "input_reference")
    return {"video" if _is_clip(content) else "image": [content]}


def _is_clip(content: bytes) -> bool:
    """By its first bytes: MP4 and MOV, WebM, animated GIF or WebP. Which decoder is asked depends on it, nothing else."""
    return (
        content[4:8] == b"ftyp" or content[:4] == b"\x1aE\xdf\xa3" or content[:4] == b"GIF8" or b"ANIM" in content[:64]
    )


def _sized(
    service: Service, size: str | None, seconds: float | None = None
) -> Callable[[str, list[Any]], list[Any]] | None:
    """What enlarges pictures and clips to ``WIDTHxHEIGHT``, on white, and loops or cuts clips to ``seconds``."""
    target = None if size in (None, "auto") else tuple(map(int, size.split("x")))
    limit = int(service.settings.max_sized_pixels**0.5)
    if target is not None and (target[0] * target[1] > limit**2 or max(target) > LONGEST_SIDE):
        message = (
            f"size: {size} is more than this server makes ({limit}x{limit}, no side above {LONGEST_SIDE}), ask for less"
        )
        raise bad_request(message, "size", "over_limit")
    if target is None and seconds is None:
        return None

    def finish(modality: str, items: list[Any]) -> list[Any]:
        if modality == "video" and seconds is not None:
            items = [sample_frames(clip, max(1, round(seconds * clip.fps)), clip.fps) for clip in items]
        if target is None or modality not in ("image", "video"):
            return items
        return [_fit_clip(item, target) if isinstance(item, Video) else _fit(item, target) for item in items]

    return finish


def _fit(picture: Image.Image, target: tuple[int, int]) -> Image.Image:
    return ImageOps.pad(picture, target, Image.Resampling.LANCZOS, color="white")


def _fit_clip(clip: Video, target: tuple[int, int]) -> Video:
    return replace(clip, frames=np.stack([np.asarray(_fit(Image.fromarray(frame), target)) for frame in clip.frames]))


def _only_pair(item: dict[str, str]) -> tuple[str, str]:
    if len(item) != 1 or next(iter(item)) not in MODALITIES:
        raise bad_request(f"input: each is a text, or an object with one of {', '.join(MODALITIES)}", "input")
    return next(iter(item.items()))


def _encoded(vector: list[float], encoding: str) -> list[float] | str:
    return vector if encoding == "float" else base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
