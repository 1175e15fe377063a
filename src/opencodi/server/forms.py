"""Requests → fields and uploads. Nothing that a client names is opened: no path, no link, no file name."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ..media import Media
from ..modality import MODALITIES
from .decoding import Decoders
from .metrics import Metrics
from .problems import Problem, bad_request
from .schemas import DICTIONARIES
from .settings import Settings

Model = TypeVar("Model", bound=BaseModel)
MAX_FIELDS = 100
JSON_FIELDS = (*DICTIONARIES, "input_reference", "image_reference", "video_reference")
"""Fields of a form that may hold JSON."""


@dataclass
class Form:
    """A request body: plain fields, and the bytes of the files in it by field."""

    fields: dict[str, Any]
    files: dict[str, list[bytes]]

    def parse(self, model: type[Model]) -> Model:
        """The fields as a request of this kind.

        Raises:
            Problem: 400 that names the first field that is wrong.
        """
        try:
            return model.model_validate({name: value for name, value in self.fields.items() if value is not None})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(map(str, first["loc"][:2])) or "body"
            raise bad_request(f"{name}: {first['msg']}", name) from None


async def read_form(request: Request, settings: Settings, repeated: tuple[str, ...] = ()) -> Form:
    """The body, JSON or multipart. Fields of a form that are ``repeated`` become lists.

    Raises:
        Problem: 400 if it is neither, or holds too many parts.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return await _read_parts(request, settings, repeated)
    try:
        fields = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise bad_request("The body is neither JSON nor a multipart form.", code="invalid_body") from None
    if not isinstance(fields, dict):
        raise bad_request("The body must be a JSON object.", code="invalid_body")
    return Form(fields, {})


async def _read_parts(request: Request, settings: Settings, repeated: tuple[str, ...]) -> Form:
    fields: dict[str, Any] = {}
    files: dict[str, list[bytes]] = {}
    try:
        limits = {"max_files": settings.max_inputs, "max_fields": MAX_FIELDS, "max_part_size": settings.max_body_bytes}
        async with request.form(**limits) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    files.setdefault(name, []).append(await value.read(settings.max_upload_bytes + 1))
                elif name in repeated:
                    fields.setdefault(name, []).append(value)
                elif name.endswith("]") and "[" in name:  # an object's field, as OpenAI's package writes it
                    fields.setdefault(name.split("[")[0], {})[name.split("[")[1][:-1]] = value
                else:
                    fields[name] = _maybe_json(value) if name in JSON_FIELDS else value
    except HTTPException as error:
        raise bad_request(f"The form cannot be read: {error.detail}", code="invalid_body") from None
    if not fields and not files:
        raise bad_request("The form is empty, or its end is missing.", code="invalid_body")
    return Form(fields, files)


def _maybe_json(value: str) -> Any:
    """A dictionary, where there is one."""
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def from_data_url(url: Any, label: str) -> bytes:
    """The bytes of ``data:…;base64,…``; what it says of their kind is not believed.

    Raises:
        Problem: 400 for anything else, such as a link or a path.
    """
    head, comma, payload = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not head.startswith("data:") or not head.endswith(";base64") or not comma:
        raise bad_request(
            f"{label}: give a data: URL in base64 or upload the file; links are not opened", code="invalid_upload"
        )
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise bad_request(f"{label}: is not valid base64", code="invalid_upload") from None


def check_words(words: Any, settings: Settings, name: str = "text") -> str:
    """A text that can be a prompt.

    Raises:
        Problem: 400 if it is too long, or no text that UTF-8 can hold.
    """
    if isinstance(words, str) and not words.strip():
        raise bad_request(f"{name}: is empty, write something or leave it out", name)
    if not isinstance(words, str) or len(words) > settings.max_characters:
        raise bad_request(
            f"{name}: must be text of at most {settings.max_characters} characters, shorten it", name, "over_limit"
        )
    try:
        words.encode()
    except UnicodeEncodeError:
        raise bad_request(f"{name}: holds half a surrogate pair, remove it", name) from None
    return words


class Inputs:
    """Reads what a job is made from: words as they are, everything else in a decoding process."""

    def __init__(self, settings: Settings, decoders: Decoders, metrics: Metrics) -> None:
        self._settings, self._decoders, self._metrics = settings, decoders, metrics

    async def read(self, given: dict[str, list[Any]]) -> dict[str, list[Media]]:
        """Conditions by modality, in the order of the modalities.

        Args:
            given: texts, and bytes or data URLs of everything else.

        Raises:
            Problem: 400, 413 or 415 that names the input.
        """
        count = sum(map(len, given.values()))
        if count > self._settings.max_inputs:
            raise bad_request(
                f"inputs: {count} given, this server mixes at most {self._settings.max_inputs}", code="over_limit"
            )
        media: dict[str, list[Media]] = {}
        for modality in MODALITIES:
            for number, item in enumerate(given.get(modality, []), start=1):
                media.setdefault(modality, []).append(await self._read_one(modality, item, f"{modality} {number}"))
        return media

    async def _read_one(self, modality: str, item: Any, label: str) -> Media:
        if modality == "text":
            return check_words(item, self._settings)
        content = item if isinstance(item, bytes) else from_data_url(item, label)
        if len(content) > self._settings.max_upload_bytes:
            limit = self._settings.max_upload_bytes
            raise Problem(413, "over_limit", f"{label}: has more bytes than the limit of {limit:,}", modality)
        try:
            media = await self._decoders.read(modality, content, label)
        except Problem:
            self._metrics.uploads.labels(modality, "refused").inc()
            raise
        self._metrics.uploads.labels(modality, "read").inc()
        return media
