"""The studio in a real browser: skipped with a reason where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
AXE = "axe-core@4.14.1"
LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0", b"127.0.0.1", b"localhost")


@pytest.fixture(scope="session")
def left_the_machine():
    """Addresses that this process, the server among it, has asked for that are not on this machine."""
    asked = []

    def watch(event: str, arguments: tuple) -> None:
        if event == "socket.getaddrinfo" and arguments[0] not in (None, *LOCAL):
            asked.append(arguments[0])
        elif event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in LOCAL:
            asked.append(arguments[1])

    sys.addaudithook(watch)
    return asked


@pytest.fixture(scope="session")
def address(left_the_machine):
    """The studio with the bundled model, served in the background."""
    pytest.importorskip("gradio", reason="the studio needs the extra `studio`")
    from opencodi.studio import launch

    address, wait = launch("stickers", device="cpu")
    yield address
    wait(now=True)


@pytest.fixture(scope="session")
def browser():
    found = os.environ.get("OPENCODI_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip("no browser: install Debian's chromium, or name one in OPENCODI_BROWSER")
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need the package playwright")
    # No sandbox: containers in which tests run as root have none. Fake devices: a webcam and a microphone.
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address, left_the_machine):
    """Open a page of one's own, `visit(width=…, height=…, dark=…)`; all that it requests must come from the studio.

    The studio itself must not ask another machine for anything either.
    """
    home, contexts, foreign, broken = urlsplit(address).netloc, [], [], []

    def open_page(width: int = 1280, height: int = 900, dark: bool = False):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            permissions=["camera", "microphone"],
            accept_downloads=True,
        )
        contexts.append(context)
        context.on("request", lambda request: foreign.append(request.url) if _is_foreign(request.url, home) else None)
        page = context.new_page()
        page.set_default_timeout(60_000)  # a slow day
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.goto(address)
        page.locator("#oc-generate").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert foreign == left_the_machine == []
    assert broken == []


def _is_foreign(url: str, home: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != home


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The script of axe-core."""
    if os.environ.get("OPENCODI_AXE"):
        return Path(os.environ["OPENCODI_AXE"]).read_text(encoding="utf-8")
    if not shutil.which("npm"):
        pytest.skip("no npm to fetch axe-core with; name its axe.min.js in OPENCODI_AXE")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), AXE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"npm could not fetch axe-core: {done.stderr.strip().splitlines()[-1:]}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
