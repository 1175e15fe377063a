"""Our own routes: any inputs to any outputs as a job, its progress, and its results."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from ..modality import MODALITIES
from ..trust.watermark import written
from .forms import Form, read_form
from .jobs import ENDED, Job
from .problems import Problem, bad_request
from .schemas import Generation
from .service import LOOK_SECONDS, Service
from .storage import StoredFile

KEEP_ALIVE_SECONDS = 10.0
EVENTS = "text/event-stream"
PRIVATE = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
"""Of results: no proxy keeps them, no browser takes them for a page."""


UPLOADS = {name: f"Files of modality {name}." for name in MODALITIES if name != "text"}
"""Fields of a form that are files, and what the OpenAPI page says of them."""


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
        "watermark": written(service.settings.watermark, job.work.outputs),
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
                **({} if file.sidecar is None else {"credentials": service.base_url + file.sidecar.link}),
                **file.facts,
                **({} if file.text is None else {"text": file.text}),
            }
            for file in job.files
        ],
        "credentials": service.credentials.report(job.work.statement),
        "error": None if job.problem is None else job.problem.body["error"],
    }


def link_to_credentials(service: Service, file: StoredFile) -> dict[str, str]:
    """The header by which C2PA says where the credentials are that are not in the file."""
    return {} if file.sidecar is None else {"Link": f'<{service.base_url}{file.sidecar.link}>; rel="c2pa-manifest"'}


def check_files(form: Form) -> None:
    """Refuse files in other fields than those of a modality.

    Raises:
        Problem: 400 that names the fields.
    """
    if set(form.files) - set(UPLOADS):
        raise bad_request(f"Files are taken in the fields {', '.join(UPLOADS)}.", code="invalid_upload")


def inputs_of(form: Form, asked: Generation) -> dict[str, list[Any]]:
    """Texts, data URLs and files of a generation by modality."""
    check_files(form)
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

    @routes.post("/v1/generations", status_code=202, openapi_extra=body_of(Generation, UPLOADS))
    async def create(request: Request) -> Response:
        """Make any outputs from any inputs. Answers with the job at once, or with its events if ``stream`` is true."""
        form = await read_form(request, service.settings, repeated=("text", "outputs", "extras"))
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
        return FileResponse(file.path, media_type=file.media_type, headers=PRIVATE | link_to_credentials(service, file))

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
