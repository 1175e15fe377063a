"""``POST /v1/verify``: what can be said of where files come from."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from ..errors import MediaError
from ..trust import verify
from ..trust.identity import read_authorities
from .decoding import STATUS, write_private
from .forms import Form, from_data_url, read_form
from .problems import Problem, bad_request
from .service import Service

_BODY = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "Files of any kind."},
        "credentials": {"type": "string", "format": "binary", "description": "Sidecar (.c2pa) of a single file."},
    },
}


def verify_routes(service: Service) -> APIRouter:
    """The routes of a service."""
    routes = APIRouter(tags=["trust"])
    settings = service.settings
    trusted = b"" if settings.trust is None else read_authorities(settings.trust)
    turns = asyncio.Semaphore(settings.decoders)

    @routes.post("/v1/verify", openapi_extra={"requestBody": {"content": {"multipart/form-data": {"schema": _BODY}}}})
    async def check(request: Request) -> dict[str, Any]:
        """Credentials and watermark of files, as a form with ``file`` or as JSON with ``data:`` URLs."""
        files, sidecar = _uploads(await read_form(request, settings))
        if not 0 < len(files) <= settings.max_inputs:
            raise bad_request(f"file: give 1 to {settings.max_inputs} files", "file", "over_limit")
        if sidecar is not None and len(files) > 1:
            raise bad_request("credentials: belong to one file; give one file with them", "credentials")
        return {
            "object": "list",
            "data": [await one(number, each, sidecar) for number, each in enumerate(files, start=1)],
        }

    async def one(number: int, content: bytes, sidecar: bytes | None) -> dict[str, Any]:
        label = f"file {number}"
        if len(content) > settings.max_upload_bytes:
            raise Problem(
                413, "over_limit", f"{label}: has more bytes than the limit of {settings.max_upload_bytes:,}", "file"
            )
        path = service.store.uploads / f"verify-{secrets.token_hex(8)}"
        beside = path.with_suffix(".sidecar")
        async with turns:
            try:
                await asyncio.to_thread(write_private, path, content)
                if sidecar is not None:
                    await asyncio.to_thread(write_private, beside, sidecar)
                return await asyncio.to_thread(_verify, path, beside if sidecar is not None else None, label)
            finally:
                path.unlink(missing_ok=True)
                beside.unlink(missing_ok=True)

    def _verify(path: Path, beside: Path | None, label: str) -> dict[str, Any]:
        try:
            found = verify(path, sidecar=beside, trust=trusted, limits=settings.media_limits)
        except MediaError as error:
            status, message = STATUS.get(type(error).__name__, 400), str(error)
            for place in (beside, path):
                message = message.replace(str(place), label)
            raise Problem(status, "unreadable_file", message, "file") from None
        reason = found.watermark.reason and found.watermark.reason.replace(str(path), label)
        answer = found.as_dict()
        return answer | {"file": label, "watermark": answer["watermark"] | {"reason": reason}}

    return routes


def _uploads(form: Form) -> tuple[list[bytes], bytes | None]:
    """The files to look at, and the sidecar."""
    unknown = {*form.files, *form.fields} - {"file", "credentials"}
    if unknown:
        raise bad_request("Files are taken in the fields file and credentials.", code="invalid_upload")
    listed = form.fields.get("file", [])
    listed = [listed] if isinstance(listed, str) else listed
    if not isinstance(listed, list):
        raise bad_request("file: give data: URLs in base64, or upload files", "file", "invalid_upload")
    files = [*form.files.get("file", []), *(from_data_url(each, "file") for each in listed)]
    sidecars = form.files.get("credentials", [])
    if form.fields.get("credentials") is not None:
        sidecars = [*sidecars, from_data_url(form.fields["credentials"], "credentials")]
    if len(sidecars) > 1:
        raise bad_request("credentials: give one sidecar", "credentials")
    return files, sidecars[0] if sidecars else None
