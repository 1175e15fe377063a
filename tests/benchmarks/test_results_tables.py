"""The documents quote the results that are committed beside them."""

import json
import sys

import pytest

from .conftest import FOLDER

ROOT = FOLDER.parent
RESULTS = ROOT / "docs" / "results" / "evaluation" / "results.json"
DOCUMENTS = {
    ROOT / "docs" / "results" / "README.md": RESULTS,
    ROOT / "src" / "opencodi" / "models" / "stickers" / "README.md": RESULTS,
    ROOT / "docs" / "extras.md": ROOT / "docs" / "results" / "extras.json",
}
"""Document → the file that it quotes."""


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import results_tables

    yield results_tables
    sys.modules.pop("results_tables", None)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.parent.name)
def test_a_document_quotes_the_committed_results(document, tables):
    text, results = document.read_text(encoding="utf-8"), json.loads(DOCUMENTS[document].read_text(encoding="utf-8"))
    assert tables.PLACE.search(text)
    assert tables.filled(text, results) == text, "run benchmarks/results_tables.py"


def test_only_what_stands_between_the_comments_is_replaced(tables, monkeypatch):
    monkeypatch.setitem(tables.TABLES, "any_to_any", lambda results: f"{results}\n")
    before = "one\n<!-- table any_to_any -->\nold\n<!-- end -->\ntwo\n"
    assert tables.filled(before, {"a": 1}) == "one\n<!-- table any_to_any -->\n\n{'a': 1}\n\n<!-- end -->\ntwo\n"
