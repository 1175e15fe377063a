import pytest

from .. import tiny
from .serving import files_of, serving


@pytest.fixture(scope="session")
def server(pipe):
    """A server for all tests that do not change it."""
    with serving(pipe, queue_seconds=60) as running:
        yield running


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, bytes]:
    """One file of each modality but text."""
    return files_of(tiny.media(), tmp_path_factory.mktemp("uploads"))
