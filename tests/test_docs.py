"""The documentation names tests as proof: they must exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = sorted(
    {name for page in ROOT.glob("docs/*.md") for name in re.findall(r"`(tests/[\w/]+\.py::\w+)`", page.read_text())}
)


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name):
    path, function = name.split("::")
    assert re.search(rf"^def {function}\(", (ROOT / path).read_text(), re.MULTILINE)
