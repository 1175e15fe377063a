import pytest

from .. import tiny
from ..server.serving import files_of, serving


@pytest.fixture(scope="module")
def server_with_files(pipe, tmp_path_factory):
    """A server with the tiny pipeline behind it, and one file of each modality but text."""
    files = files_of(tiny.media(), tmp_path_factory.mktemp("uploads"))
    with serving(pipe, queue_seconds=60) as running:
        yield running, files
