"""The manual builds without a warning, names every page, and its pages ask no other host for anything."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built manual. ``strict`` makes mkdocs fail on a broken link or heading, or a page that no menu names."""
    pytest.importorskip("material", reason="needs pip install 'opencodi[docs]'")
    pytest.importorskip("mkdocstrings", reason="needs pip install 'opencodi[docs]'")
    folder = tmp_path_factory.mktemp("manual")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_whole_by_itself(site):
    pages = sorted(page for page in site.rglob("*.html") if "evaluation" not in page.parts)
    assert len(pages) > 20
    for page in pages:
        html = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|source|iframe|video|audio)\b[^>]*?\ssrc=[\"']?([^\"'\s>]+)", html)
        fetched += re.findall(
            r"<link\b(?![^>]*rel=[\"']?(?:canonical|next|prev|edit))[^>]*?\shref=[\"']?([^\"'\s>]+)", html
        )
        for address in fetched:
            assert not re.match(r"(?:https?:)?//", address), f"{page.name} fetches {address}"
            if not address.startswith("data:") and page.name != "404.html":
                assert (page.parent / unquote(address.split("#")[0].split("?")[0])).exists(), (
                    f"{page.name} names {address}"
                )
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet.name


def test_pages_are_made_from_the_code_they_tell_of(site):
    commands = (site / "commands.html").read_text(encoding="utf-8")
    assert "--partner" not in commands and "opencodi data build" in commands and "--seed N" in commands
    api = (site / "api.html").read_text(encoding="utf-8")
    for name in ("AnyToAnyPipeline", "encode_prompt", "AlignmentAdapter", "ArgumentError"):
        assert f">{name}<" in api, name
    assert "pipeline_tag" not in (site / "model-card.html").read_text(encoding="utf-8")
