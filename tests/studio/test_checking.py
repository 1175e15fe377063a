"""The tab that says where a file comes from."""

import shutil

import pytest

from opencodi.trust import Found, Verdict, Verification, prepare, sign
from opencodi.trust.verification import Watermark

gradio = pytest.importorskip("gradio", reason="the studio needs the extra `studio`")

from opencodi.studio.checking import _check, report  # noqa: E402

from .. import tiny  # noqa: E402


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A text and its sidecar, as two uploads: in folders of their own."""
    folder = tmp_path_factory.mktemp("uploads")
    (folder / "text-0.txt").write_text("a rooster")
    sign(folder / "text-0.txt", credentials=prepare())
    (folder / "other").mkdir()
    shutil.move(folder / "text-0.c2pa", folder / "other")
    return str(folder / "text-0.txt"), str(folder / "other/text-0.c2pa")


def test_uploads_are_looked_at_and_a_text_with_its_sidecar(words):
    assert "Where does a file come from?" in _check(None, None)
    assert "<h2>Cannot tell</h2>" in _check(words[0], None)
    said = _check(*words)
    assert (
        "<h2>Made by a model</h2>" in said
        and "Signed by this installation" in said
        and "<dd>intact, sidecar</dd>" in said
    )


def test_what_cannot_be_read_is_said_without_the_servers_folders(words):
    said = _check(words[1], None)
    assert 'role="alert"' in said and "text-0.c2pa: is a sidecar" in said and "/" not in said.replace("</", "")


def test_what_a_file_says_is_no_page_of_ours():
    found = Found("intact", "embedded", {"name": "<script>", "authority": "<b>"}, generator="<img>")
    said = report(Verification("<i>.png", Verdict.UNKNOWN_SIGNER, "<u>", found, Watermark(False, reason="<s>")))
    assert not any(tag in said for tag in ("<script>", "<b>", "<img>", "<i>", "<u>", "<s>"))


def test_the_studio_signs_what_it_makes_unless_told_otherwise(tmp_path):
    from opencodi.studio.jobs import Job
    from opencodi.studio.wish import Wish
    from opencodi.studio.work import Done, Studio
    from opencodi.trust import verify

    tiny.pipeline().save_pretrained(tmp_path / "tiny")
    wish = Wish(
        text="a rooster", negative="a drum", outputs=("text", "image"), steps=2, seed=1, model=str(tmp_path / "tiny")
    )
    for credentials, verdict in ((prepare(), Verdict.GENERATED), (prepare(False), Verdict.CANNOT_TELL)):
        folder = tmp_path / str(verdict)
        *_, done = Studio("cpu", credentials).work(Job(), wish, folder)
        assert isinstance(done, Done), done
        assert verify(folder / "image-0.png").verdict == verdict
        assert (folder / "text-0.c2pa").exists() == (verdict == Verdict.GENERATED)
        assert b"drum" not in (folder / "image-0.png").read_bytes()
