"""What goes wrong on the way, in the shape that OpenAI's clients read."""

import math
from typing import Any

from fastapi.responses import JSONResponse

TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


class Problem(Exception):
    """An answer other than success.

    Args:
        status: of HTTP.
        code: for programs, such as ``queue_full``.
        message: one sentence for people.
        param: the field that is wrong, if one is.
        retry_after: seconds after which another try makes sense.
    """

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.retry_after = status, code, message, param, retry_after

    @property
    def body(self) -> dict[str, Any]:
        """``{"error": {...}}`` as OpenAI's."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        if self.status == 429:
            kind = "rate_limit_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def response(self) -> JSONResponse:
        headers = {} if self.retry_after is None else {"Retry-After": str(max(1, math.ceil(self.retry_after)))}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body, self.status, headers)


def bad_request(message: str, param: str | None = None, code: str = "invalid_value") -> Problem:
    """The client asks for something that cannot be."""
    return Problem(400, code, message, param)
