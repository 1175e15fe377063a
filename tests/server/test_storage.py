"""Results on disk: all or none, gone when their server is."""

import time

import numpy as np
import pytest

from opencodi.errors import ArgumentError
from opencodi.server.batching import Work
from opencodi.server.storage import GRACE_SECONDS, Store

from .. import tiny


def test_results_are_saved_whole_or_not_at_all(tmp_path):
    store = Store(tmp_path)
    media = tiny.media()
    files = store.save(Work({}, ["text", "image"], 1, 0), {"text": [media["text"]], "image": [media["image"]]})
    assert [(file.modality, file.path.name, file.text) for file in files] == [
        ("text", "text-0.txt", media["text"]),
        ("image", "image-0.png", None),
    ]
    assert store.size == sum(file.path.stat().st_size for file in files)
    assert files[0].path.parent.stat().st_mode & 0o077 == 0
    before = sorted(store.folder.iterdir())
    with pytest.raises(ArgumentError):
        store.save(Work({}, ["text", "image"], 1, 0), {"text": ["fine"], "image": [np.zeros(3)]})
    assert sorted(store.folder.iterdir()) == before
    store.remove(files)
    assert store.size == 0 and store.find(files[0].token, "text-0.txt") is None
    store.purge()
    assert files[0].path.exists()  # somebody may be about to open it
    time.sleep(GRACE_SECONDS)
    store.purge()
    assert not files[0].path.exists()
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_server_left_is_removed_but_not_a_running_ones(tmp_path):
    running = Store(tmp_path)
    killed = tmp_path / "opencodi-serve-killed"
    killed.mkdir()
    (killed / "lock").touch()
    (killed / "image-0.png").touch()
    other = tmp_path / "opencodi-serve-no-lock"
    other.mkdir()
    next_one = Store(tmp_path)
    assert running.folder.exists() and other.exists() and not killed.exists()
    running.close()
    next_one.close()
