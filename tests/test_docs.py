"""What the documentation names exists, its Python runs, and the README stays one page."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from opencodi.cli import app
from opencodi.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    ROOT / "recipes" / "stickers" / "README.md",
    ROOT / "recipes" / "stickers-2" / "README.md",
    ROOT / "src" / "opencodi" / "models" / "stickers" / "README.md",
]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
SUFFIXES = r"\.(?:py|md|yaml|json|toml|png|html|tsv)"


def named(pattern):
    """Everything that a pattern finds in the pages, with the page that names it."""
    return sorted({(page, found) for page, text in TEXTS.items() for found in re.findall(pattern, text)})


def test_the_readme_is_one_page():
    assert len(TEXTS["README.md"].splitlines()) <= 150


@pytest.mark.parametrize(("page", "name"), named(r"`(tests/[\w/]+\.py::\w+)`"))
def test_a_named_test_exists(page, name):
    path, function = name.split("::")
    assert re.search(rf"^def {function}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "name"), named(rf"\b((?:src|docs|tests|benchmarks|recipes)/[\w./-]+(?:{SUFFIXES}|/))(?![\w*])")
)
def test_a_named_file_exists(page, name):
    assert (ROOT / name).exists(), f"{page} names {name}"


@pytest.mark.parametrize(("page", "target"), named(r"\]\((?!https?:)([^)]+)\)"))
def test_a_link_leads_to_a_file_and_a_heading(page, target):
    path, _, heading = target.partition("#")
    place = (ROOT / page).parent / path if path else ROOT / page
    assert place.exists(), f"{page} links to {target}"
    if heading:
        titles = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
        assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def command_lines():
    """Every ``opencodi …`` that a page names."""
    return named(r"(?m)(?:^|`|-m )(opencodi [a-z][^`\n#]*)")


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_named_command_and_its_options_exist(page, line):
    command, words = get_command(app), line.split()[1:]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{page}: {line}"
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for word in words:
        assert not word.startswith("--") or word in options, f"{page}: {line}"


@pytest.mark.parametrize(("page", "line"), named(r"(?m)(?:^|`)python (benchmarks/[^`\n#]*)"))
def test_a_named_benchmark_takes_its_options(page, line):
    path, *words = line.split()
    source = (ROOT / path).read_text(encoding="utf-8")
    for word in (word for word in words if word.startswith("--")):
        assert f'"{word}"' in source, f"{page}: {line}"


@pytest.mark.parametrize(("page", "module"), named(r"python -m (opencodi\.[\w.]+)"))
def test_a_named_module_exists(page, module):
    assert (ROOT / "src" / f"{module.replace('.', '/')}.py").is_file(), f"{page}: {module}"


def test_every_extra_stands_in_the_table_with_its_file():
    rows = dict(
        re.findall(r"^\| `(\w+)` \|.*?\| `src/opencodi/extras/(\w+)\.py`", TEXTS["docs/extras.md"], re.MULTILINE)
    )
    assert list(rows) == list(EXTRAS)
    for name, kind in EXTRAS.items():
        assert kind.__module__ == f"opencodi.extras.{rows[name]}"


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "docs/how-it-works.md"])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", TEXTS[page], re.DOTALL | re.MULTILINE)
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": "page"})
