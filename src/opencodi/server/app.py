"""The application: routes, the gate before them, and one shape for everything that goes wrong."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from .. import __version__
from .engine import Engine
from .gate import Gate
from .generation_routes import generation_routes
from .openai_routes import openai_routes
from .problems import Problem, bad_request
from .schemas import EmbeddingRequest, Generation, ImageRequest, SoundRequest, SpeechRequest, VideoRequest
from .service import Service
from .settings import Keys, Settings
from .status_routes import status_routes
from .verify_routes import verify_routes

ABOUT = "Text, image, video and audio in any combination, to any combination of them."
BODIES = (Generation, ImageRequest, SpeechRequest, SoundRequest, VideoRequest, EmbeddingRequest)


def build_app(
    pipeline: Any,
    settings: Settings | None = None,
    keys: Keys | None = None,
    name: str = "stickers",
    threads: int | None = None,
    folder: Path | None = None,
    engine: Callable[..., Engine] | None = None,
) -> FastAPI:
    """The application of one pipeline; ``app.state.service`` is what it runs on.

    Args:
        pipeline: an ``AnyToAnyPipeline``; nothing else may call it meanwhile.
        settings: limits and times.
        keys: who may ask; everybody without.
        name: of the model, for clients.
        threads: of torch; None leaves what is set.
        folder: of the model, if there is one.
        engine: see ``Service``; with one, ``pipeline`` is None.
    """
    settings, keys = settings or Settings(), keys or Keys()
    service = Service(pipeline, settings, name, threads, folder, engine)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPIOffline(
        title="OpenCoDi", version=__version__, description=ABOUT, redoc_url=None, lifespan=lifespan, responses={}
    )
    app.state.service = service
    app.include_router(generation_routes(service))
    app.include_router(openai_routes(service))
    app.include_router(verify_routes(service))
    app.include_router(status_routes(service))
    app.add_middleware(Gate, settings=settings, keys=keys, jobs=service.jobs, metrics=service.metrics)
    if settings.allowed_origins:
        anything = {"allow_methods": ["*"], "allow_headers": ["*"]}
        app.add_middleware(CORSMiddleware, allow_origins=settings.allowed_origins, **anything)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    _complete_page(app, with_keys=bool(keys))
    return app


async def _problem(_: Request, problem: Problem) -> JSONResponse:
    return problem.response


async def _http_error(_: Request, error: HTTPException) -> JSONResponse:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    return Problem(error.status_code, code, str(error.detail)).response


async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return bad_request(f"{name}: {first['msg']}", name).response


def _complete_page(app: FastAPI, with_keys: bool) -> None:
    """Bodies are read by hand, after the gate; the OpenAPI page still shows what they may hold."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        page = original()
        schemas = page.setdefault("components", {}).setdefault("schemas", {})
        for model in BODIES:
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        if with_keys:
            page["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            page["security"] = [{"key": []}]
        return page

    app.openapi = openapi
