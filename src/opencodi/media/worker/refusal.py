"""The exception with which decoding ends when the file is at fault."""


class Refusal(Exception):
    """An error with a name from opencodi.errors."""

    def __init__(self, error: str, reason: str):
        super().__init__(reason)
        self.error = error
