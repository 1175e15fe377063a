"""What visitors do, in a real browser with the bundled model."""

import io
import os
import re
import time
import zipfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from opencodi.media import write_image

FIGURES = os.environ.get("OPENCODI_FIGURES")
"""A folder that takes the screenshots of the documentation: `docs/figures`."""


def wants(page, *names: str) -> None:
    for name in ("Picture", "Clip", "Sound", "Caption"):
        page.locator("#oc-to").get_by_label(name, exact=True).set_checked(name in names)


def says(page, words: str) -> None:
    page.get_by_label("Words", exact=True).fill(words)


def more(page, **numbers: float) -> None:
    if not page.get_by_label("Seed").is_visible():
        page.locator("#oc-more > button").click()
    for label, value in numbers.items():
        page.get_by_label(label, exact=True).fill(str(value))
        page.get_by_label(label, exact=True).blur()


def finished(page, heading: str) -> None:
    page.locator(".oc-head h2", has_text=heading).wait_for()
    page.locator("#oc-cancel").wait_for(state="hidden")


def sideways(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def figure(page, name: str) -> None:
    """Keep a screenshot for the documentation, in few colours."""
    if FIGURES:
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        shot.convert("RGB").quantize(192, dither=Image.Dither.NONE).save(Path(FIGURES) / name, optimize=True)


def test_words_become_a_picture_a_clip_and_a_sound_and_go_round_again(visit):
    page = visit()
    says(page, "a rooster, bouncing")
    wants(page, "Picture", "Clip", "Sound")
    more(page, Seed=3)
    page.locator("#oc-generate").click()
    page.locator(".oc-steps", has_text=re.compile(r"Step \d+ of \d+")).wait_for()
    page.locator(".oc-canvas img").wait_for()  # the picture on its way
    finished(page, "a rooster, bouncing")

    assert page.locator("img.oc-picture").evaluate("image => image.decode().then(() => image.naturalWidth)") >= 64
    clip = page.locator("video.oc-clip")
    clip.evaluate("clip => { clip.muted = true; return clip.play(); }")
    page.wait_for_function("document.querySelector('video.oc-clip').currentTime > 0.4")
    assert clip.evaluate("clip => [clip.readyState >= 2, clip.videoWidth >= 64, clip.duration > 1]") == [True] * 3
    frames = clip.evaluate("clip => clip.getVideoPlaybackQuality().totalVideoFrames")
    assert frames > 2
    page.wait_for_function("document.querySelector('.oc-wave audio').readyState >= 1")
    assert page.locator(".oc-wave audio").evaluate("sound => sound.duration") == pytest.approx(2.05, abs=0.2)

    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert sorted(archive.namelist()) == ["audio-0.wav", "image-0.png", "result.json", "video-0.mp4"]
    clip.evaluate("clip => { clip.pause(); clip.currentTime = 0.9; clip.removeAttribute('controls'); }")
    page.locator("#oc-more > button").click()
    page.wait_for_timeout(300)
    figure(page, "studio.png")

    # The picture goes back in, together with other words
    page.get_by_role("button", name="Use as input: the picture").click()
    page.locator("#oc-image img").wait_for()
    page.get_by_label("number input for Weight of the picture").wait_for()
    says(page, "a guitar")
    page.get_by_label("Words", exact=True).blur()
    page.get_by_label("number input for Weight of the words").wait_for()
    wants(page, "Caption")
    page.locator("#oc-generate").click()
    finished(page, "a guitar + picture")
    assert page.locator(".oc-words").inner_text().strip()
    assert page.locator(".oc-history li").count() == 2

    # The first run comes back with all its settings
    page.get_by_role("button", name="Restore run 1").click()
    finished(page, "a rooster, bouncing")
    assert page.get_by_label("Words", exact=True).input_value() == "a rooster, bouncing"
    ticked = [page.locator("#oc-to").get_by_label(n, exact=True).is_checked() for n in ("Picture", "Clip", "Sound", "Caption")]
    assert ticked == [True, True, True, False]
    page.locator("#oc-image img").wait_for(state="hidden")
    page.locator("#oc-more > button").click()
    assert page.get_by_label("Seed", exact=True).input_value() == "3"


def test_a_run_is_cancelled_at_once_and_another_starts(visit):
    page = visit()
    says(page, "a red apple")
    wants(page, "Clip")
    more(page, Steps=200)
    page.locator("#oc-generate").click()
    page.locator(".oc-steps").wait_for()
    page.evaluate("window.clicked = performance.now()")
    page.locator("#oc-cancel").click()
    page.locator(".oc-stage h2", has_text="Cancelled").wait_for()
    assert page.evaluate("performance.now() - window.clicked") < 1500
    more(page, Steps=2)
    wants(page, "Picture")
    page.locator("#oc-generate").click()
    finished(page, "a red apple")
    assert page.locator("img.oc-picture").count() == 1
    assert page.locator(".oc-history li").count() == 1  # what was cancelled is not kept


def test_a_second_visitor_waits_in_a_line_that_can_be_seen(visit):
    first, second = visit(), visit()
    says(first, "a red apple")
    wants(first, "Clip")
    more(first, Steps=200)
    first.locator("#oc-generate").click()
    first.locator(".oc-steps").wait_for()
    says(second, "a bell")
    more(second, Steps=2)
    second.locator("#oc-generate").click()
    second.get_by_text("You are number 2 in the line").wait_for()
    first.locator("#oc-cancel").click()
    finished(second, "a bell")


def test_a_bad_upload_shows_a_sentence(visit, tmp_path):
    page = visit()
    broken = tmp_path / "holiday.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))
    page.get_by_role("button", name="Picture · upload").click()
    page.locator("#oc-image input[type=file]").set_input_files(broken)
    alert = page.get_by_role("alert").filter(has_text="holiday.png")
    alert.wait_for()
    assert "/" not in alert.inner_text()  # no folder of the server
    assert page.locator("#oc-image img").count() == 0
    good = tmp_path / "good.png"
    write_image(Image.fromarray(np.full((32, 32, 3), 200, np.uint8)), good)
    page.locator("#oc-image input[type=file]").set_input_files(good)
    page.locator("#oc-image img").wait_for()
    page.get_by_role("button", name="Picture · in use").wait_for()
    assert page.get_by_role("alert").filter(has_text="holiday.png").count() == 0


def test_nothing_ticked_and_a_bad_number_are_said(visit):
    page = visit()
    wants(page)
    page.locator("#oc-generate").click()
    page.get_by_role("alert").filter(has_text="Tick at least one thing to make").wait_for()
    assert page.locator("#oc-generate").is_enabled()


def test_on_a_phone_nothing_scrolls_sideways(visit):
    page = visit(width=375, height=740)
    assert sideways(page) <= 0
    for name in ("Picture · upload", "Clip · upload", "Sound · upload"):
        page.get_by_role("button", name=name).click()
    more(page, Steps=2)
    page.wait_for_timeout(300)
    assert sideways(page) <= 0
    says(page, "a bell " + "with-a-very-long-word" * 8)
    wants(page, "Picture", "Sound", "Caption")
    page.locator("#oc-generate").click()
    finished(page, "a bell")
    assert sideways(page) <= 0


def test_by_keyboard_alone(visit):
    page = visit()
    page.get_by_label("Words", exact=True).focus()
    page.keyboard.type("a bell")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#oc-to') && document.activeElement.type == 'checkbox'"):
            break
    for name in ("Picture", "Clip", "Sound", "Caption"):  # from picture to caption
        if name in ("Picture", "Caption"):
            page.keyboard.press("Space")
        if name != "Caption":
            page.keyboard.press("Tab")
    page.get_by_label("Words", exact=True).focus()
    page.keyboard.press("Shift+Enter")
    finished(page, "a bell")
    assert page.locator(".oc-words").inner_text().strip()
    assert page.locator("img.oc-picture").count() == 0


def test_examples_fill_the_form(visit):
    page = visit()
    page.get_by_role("button", name="Two inputs blended").click()
    page.get_by_label("number input for Weight of the sound").wait_for()
    assert page.get_by_label("Words", exact=True).input_value() == "noto style, swinging"
    assert page.get_by_label("number input for Weight of the sound").input_value() == "0.5"
    page.get_by_role("button", name="A photograph").click()
    page.locator("#oc-image img").wait_for()
    assert page.get_by_label("Words", exact=True).input_value() == ""
    page.get_by_label("number input for Weight of the sound").wait_for(state="hidden")
    page.get_by_role("button", name="CoDi: teddy bear").click()
    page.locator("#oc-image img").wait_for(state="hidden")
    assert page.locator("#oc-to").get_by_label("Clip", exact=True).is_checked()


def test_results_are_exported_as_stickers(visit):
    page = visit()
    says(page, "a red apple")
    more(page, Steps=4)
    page.locator("#oc-generate").click()
    finished(page, "a red apple")
    page.get_by_role("button", name="Make a sticker pack for Telegram").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the Telegram pack").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"telegram/icon.webp", "telegram/pack.json", "telegram/sticker-01.webp"} <= set(archive.namelist())

    # The files of a visit go when its page is closed
    address = page.get_by_role("link", name="Download all").get_attribute("href")
    file = Path(unquote(address.partition("file=")[2]))
    assert file.exists()
    page.close(run_before_unload=True)
    until = time.monotonic() + 20
    while file.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not file.exists()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_serious_barrier(visit, axe, dark):
    page = visit(dark=dark)
    page.evaluate(axe)
    for name in ("Picture · upload", "Clip · upload", "Sound · upload"):
        page.get_by_role("button", name=name).click()
    says(page, "a bell")
    wants(page, "Picture", "Clip", "Sound", "Caption")
    more(page, Steps=3)
    page.wait_for_timeout(400)
    found = serious(page)
    page.locator("#oc-generate").click()
    finished(page, "a bell")
    page.wait_for_timeout(400)
    found += serious(page)
    wants(page)
    page.locator("#oc-generate").click()
    page.locator(".oc-problem").wait_for()
    assert found + serious(page) == []


def serious(page) -> list[str]:
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{each['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
