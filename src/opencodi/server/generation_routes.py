"""Our own routes: any inputs to any outputs as a job, its progress and results, embeddings, and the state of the server."""

import base64
import json
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from ..modality import MODALITIES
from .forms import Form, read_form
from .jobs import ENDED, Job
from .problems import Problem, bad_request
from .schemas import EmbeddingRequest, Generation, check_model
from .service import LOOK_SECONDS, Service

KEEP_ALIVE_SECONDS = 10.0
EVENTS = "text/event-stream"
PRIVATE = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
"""Of results: no proxy keeps them, no browser takes them for a page."""


def body_of(model: type, files: dict[str, str] | None = None) -> dict[str, Any]:
    """How the OpenAPI page describes a body that is JSON or, with ``files``, a multipart form."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if files is not None:
        fields = model.model_json_schema(ref_template="#/components/schemas/{model}")
        binary = {
            name: {"type": "array", "items": {"type": "string", "format": "binary"}, "description": text}
            for name, text in files.items()
        }
        content["multipart/form-data"] = {"schema": {**fields, "properties": {**fields["properties"], **binary}}}
    return {"requestBody": {"required": True, "content": content}}


def describe(service: Service, job: Job) -> dict[str, Any]:
    """A job as clients see it."""
    return {
        "id": job.id,
        "object": "generation",
        "model": service.names[0],
        "status": job.state.value,
        "created_at": int(job.created),
        "expires_at": int(job.ended + service.settings.keep_seconds) if job.ended else None,
        "ahead": service.jobs.ahead(job),
        "progress": job.progress,
        "steps": job.steps,
        "together": job.batch,
        "outputs": job.work.outputs,
        "seed": job.work.seed,
        "seconds": {
            "wait": round(job.waited, 3),
            "run": round(job.ended - job.started, 3) if job.ended and job.started else None,
        },
        "results": [
            {
                "modality": file.modality,
                "index": file.index,
                "seed": job.work.seed + file.index,
                "media_type": file.media_type,
                "bytes": file.size,
                "url": service.base_url + file.link,
                **file.facts,
                **({} if file.text is None else {"text": file.text}),
            }
            for file in job.files
        ],
        "error": None if job.problem is None else job.problem.body["error"],
    }


def inputs_of(form: Form, asked: Generation) -> dict[str, list[Any]]:
    """Texts, data URLs and files of a generation by modality."""
    unknown = set(form.files) - set(MODALITIES) | (set(form.files) & {"text"})
    if unknown:
        raise bad_request("Files are taken in the fields image, video and audio.", code="invalid_upload")
    given: dict[str, list[Any]] = {}
    for modality in MODALITIES:
        value = getattr(asked, modality, None)
        listed = [] if value is None else [value] if isinstance(value, str) else list(value)
        if listed or modality in form.files:
            given[modality] = [*listed, *form.files.get(modality, [])]
    return given


def generation_routes(service: Service) -> APIRouter:
    """The routes of a service."""
    routes = APIRouter(tags=["generations"])
    uploads = {name: f"Files of modality {name}, mixed into the prompt." for name in MODALITIES if name != "text"}

    @routes.post("/v1/generations", status_code=202, openapi_extra=body_of(Generation, uploads))
    async def create(request: Request) -> Response:
        """Make any outputs from any inputs. Answers with the job at once, or with its events if ``stream`` is true."""
        form = await read_form(request, service.settings, repeated=("text", "outputs"))
        asked = form.parse(Generation)
        job = await service.submit(request, asked, inputs_of(form, asked))
        if asked.stream:
            return StreamingResponse(follow(service, request, job, cancel=True), media_type=EVENTS, headers=PRIVATE)
        return JSONResponse(describe(service, job), 202, {"Location": f"/v1/generations/{job.id}"})

    @routes.get("/v1/generations/{id}")
    async def retrieve(request: Request, id: str) -> dict[str, Any]:
        """A job: who is ahead, how far it is, its results or why it failed."""
        return describe(service, service.jobs.find(id, request.state.owner, "generation"))

    @routes.get("/v1/generations/{id}/events")
    async def events(request: Request, id: str) -> Response:
        """Server-sent events ``progress``, then ``completed``, ``failed`` or ``cancelled``; each holds the job."""
        job = service.jobs.find(id, request.state.owner, "generation")
        return StreamingResponse(follow(service, request, job), media_type=EVENTS, headers=PRIVATE)

    @routes.delete("/v1/generations/{id}")
    async def delete(request: Request, id: str) -> dict[str, Any]:
        """Cancel a job, or drop its results."""
        service.remove(service.jobs.find(id, request.state.owner, "generation"))
        return {"id": id, "object": "generation.deleted", "deleted": True}

    @routes.get("/v1/files/{token}/{name}")
    async def fetch(token: str, name: str) -> Response:
        """A result. Its link is its secret and needs no key."""
        file = service.store.find(token, name)
        if file is None:
            raise Problem(404, "not_found", "There is no such result, or it has expired.")
        service.jobs.collected(file)
        return FileResponse(file.path, media_type=file.media_type, headers=PRIVATE)

    @routes.post("/v1/embeddings", tags=["openai"], openapi_extra=body_of(EmbeddingRequest, uploads))
    async def embed(request: Request) -> dict[str, Any]:
        """Where texts, pictures, clips and sounds lie in the space that they share."""
        form = await read_form(request, service.settings)
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

    @routes.get("/health", tags=["server"])
    async def health() -> JSONResponse:
        """200 while jobs are taken, 503 while the server is stopping."""
        waiting, running = len(service.jobs.waiting), len(service.jobs.running)
        status = "stopping" if service.jobs.draining else "ok"
        return JSONResponse({"status": status, "waiting": waiting, "running": running}, 200 if status == "ok" else 503)

    @routes.get("/metrics", tags=["server"])
    async def metrics() -> Response:
        """Counters and gauges for Prometheus."""
        return Response(service.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


async def follow(service: Service, request: Request, job: Job, cancel: bool = False) -> AsyncIterator[str]:
    """A job's events until it ends. With ``cancel``, a listener who leaves ends it."""
    version = -1
    looked = spoken = time.monotonic()
    try:
        while True:
            if job.version != version:
                version, spoken = job.version, time.monotonic()
                yield _event(service, job)
                continue  # it may have changed meanwhile
            if job.state in ENDED:
                return
            await job.news(LOOK_SECONDS)
            if time.monotonic() - spoken >= KEEP_ALIVE_SECONDS:
                spoken = time.monotonic()
                yield ": still here\n\n"
            if time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                if await request.is_disconnected():
                    return
    finally:
        if cancel:
            service.jobs.cancel(job)


def _event(service: Service, job: Job) -> str:
    name = job.state.value if job.state in ENDED else "progress"
    return f"event: {name}\ndata: {json.dumps(describe(service, job))}\n\n"


def _only_pair(item: dict[str, str]) -> tuple[str, str]:
    if len(item) != 1 or next(iter(item)) not in MODALITIES:
        raise bad_request(f"input: each is a text, or an object with one of {', '.join(MODALITIES)}", "input")
    return next(iter(item.items()))


def _encoded(vector: list[float], encoding: str) -> list[float] | str:
    return vector if encoding == "float" else base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
