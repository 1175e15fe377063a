"""The system refuses, really: each time one sentence that says so, and never that a file is damaged."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image

from opencodi.errors import DamagedFile, MediaError, MissingFile, SystemFailure
from opencodi.media import decoding, read_image, read_video, write_image, write_video
from opencodi.media.system import refused

from .samples import clip, picture, tone

CASES = Path(__file__).parent / "cases"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux sets them")

PREPARE = """
import os, resource, sys
import numpy as np
from opencodi import media
from opencodi.errors import OpenCoDiError
from opencodi.media import Audio, Video, video, wav
cases = sys.argv[1]
noise = np.random.default_rng(0).integers(0, 255, (4, 300, 300, 3), dtype=np.uint8)
def attempt(call, *args):
    try:
        call(*args)
        print("fine")
    except OpenCoDiError as error:
        print(type(error).__name__, error)
def read_all():
    attempt(media.read_image, cases + "/sticker-rgba.png")
    attempt(media.read_audio, cases + "/gsm610.wav")
    attempt(media.read_video, cases + "/non-square-pixels.mp4")
def write_all(folder):
    for ending in ("png", "jpg", "webp", "gif"):
        attempt(media.write_image, media.normalise(media.image.Image.fromarray(noise[0])), f"{folder}/a.{ending}")
    for ending in ("mp4", "gif", "webp"):
        attempt(media.write_video, Video(noise, 8.0), f"{folder}/b.{ending}")
    samples = np.random.default_rng(0).uniform(-1, 1, 200_000).astype(np.float32)
    for ending in ("wav", "flac", "ogg"):
        attempt(media.write_audio, Audio(samples, 16_000), f"{folder}/c.{ending}")
    attempt(media.write_text, "word " * 50_000, f"{folder}/d.txt")
"""


def in_child(code: str, *arguments: object, **kwargs: object) -> list[str]:
    """The lines that a fresh interpreter prints."""
    command = [sys.executable, "-c", PREPARE + code, str(CASES), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_no_file_handles_left():
    code = """
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
held = []
try:
    while True:
        held.append(open("/dev/null"))
except OSError:
    pass
for freed in (0, 1, 2, 4, 6):
    while len(held) > 0 and freed > 0:
        held.pop().close()
        freed -= 1
    read_all()
"""
    lines = in_child(code)
    assert all(line == "fine" or ("SystemFailure" in line and "too many files open" in line) for line in lines)
    assert "fine" not in lines[:3]


def test_no_processes_left():
    code = """
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
if os.getuid() == 0:
    os.setresuid(65534, 65534, 65534)
attempt(media.read_audio, cases + "/gsm610.wav")
"""
    (line,) = in_child(code)
    if "cannot be opened" in line:
        pytest.skip("the tests lie where nobody else may read")
    assert line.startswith("SystemFailure") and "starts no further process" in line


def test_no_memory_left_for_a_large_picture(tmp_path):
    Image.new("RGB", (4_000, 3_000)).save(tmp_path / "a.png")
    code = """
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + 10 * 2**20,) * 2)
attempt(media.read_image, sys.argv[2])
"""
    (line,) = in_child(code, tmp_path / "a.png")
    assert line.startswith("SystemFailure") and "no memory left" in line


def test_a_file_that_may_not_grow(tmp_path):
    lines = in_child("resource.setrlimit(resource.RLIMIT_FSIZE, (9_000,) * 2)\nwrite_all(sys.argv[2])", tmp_path)
    assert len(lines) == 11
    assert all(line.startswith("SystemFailure") and "raise the limit" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


_MOUNT = """
mount -t tmpfs -o "size=$1,nr_inodes=$2" tmpfs "$3" || exit 77
[ "$2" != 2 ] || : > "$3/the last one"
shift 3
exec "$@"
"""


@pytest.mark.parametrize(("size", "inodes", "says"), [("16k", 50, "the disk is full"), ("4m", 2, "no inodes left")])
def test_a_full_disk(tmp_path, size, inodes, says):
    code = "write_all(sys.argv[2]); print(os.listdir(sys.argv[2]))"
    mount = ["unshare", "--mount", "sh", "-c", _MOUNT, "sh", size, str(inodes), str(tmp_path)]
    command = [*mount, sys.executable, "-c", PREPARE + code, str(CASES), str(tmp_path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if done.returncode in (1, 77):
        pytest.skip("no right to mount a small disk")
    *lines, left = done.stdout.splitlines()
    assert len(lines) == 11
    assert all(line.startswith("SystemFailure") and says in line for line in lines)
    assert left in ("[]", "['the last one']")


def test_temporary_space_is_not_needed(tmp_path):
    lines = in_child("read_all()", env=os.environ | {"TMPDIR": str(tmp_path / "nowhere")})
    assert lines == ["fine"] * 3


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_decoder_that_the_system_stops_is_no_damage(tmp_path, monkeypatch, name):
    """As the kernel does when memory runs out."""
    (tmp_path / "stopped.py").write_text(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    monkeypatch.setattr(decoding, "_WORKER", tmp_path / "stopped.py")
    with pytest.raises(SystemFailure, match=rf"the system stopped the decoder .{name}."):
        read_video(CASES / "non-square-pixels.mp4")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise MemoryError", "no memory left"),
        ("raise OSError(24, 'Too many open files')", "too many files open"),
        ('raise RuntimeError("can\'t start new thread")', "starts no further process"),
        ("import sys; sys.stdout.write('x' * 5); sys.exit(3)", "exit code 3"),
        ("import sys; sys.stdout.buffer.write(bytes([200, 0, 0, 0, 0, 0, 0, 0]) + b'{')", "exit code 0"),
        ("import sys; sys.stdout.buffer.write(bytes([255] * 8))", "exit code 0"),
    ],
    ids=["memory", "files", "threads", "half a length", "half a line", "an absurd length"],
)
def test_a_decoder_that_cannot_start_or_breaks_off_is_no_damage(tmp_path, monkeypatch, code, says):
    (tmp_path / "broken.py").write_text(code)
    monkeypatch.setattr(decoding, "_WORKER", tmp_path / "broken.py")
    with pytest.raises(SystemFailure, match=says):
        read_video(CASES / "non-square-pixels.mp4")


def test_no_child_and_no_file_handle_is_left(tmp_path, monkeypatch):
    (tmp_path / "hangs.py").write_text("import time; time.sleep(60)")
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(50))
    before, children = len(os.listdir("/proc/self/fd")), psutil.Process().children()
    for _ in range(3):
        read_video(CASES / "non-square-pixels.mp4")
        with pytest.raises(DamagedFile):
            read_video(tmp_path / "a.mp4")
    monkeypatch.setattr(decoding, "_WORKER", tmp_path / "hangs.py")
    with pytest.raises(MediaError, match="took more than"):
        read_video(CASES / "non-square-pixels.mp4", decoding.Limits(timeout_seconds=0.2))
    assert len(os.listdir("/proc/self/fd")) == before
    assert psutil.Process().children() == children  # not even a zombie


def test_an_orphaned_decoder_does_not_live_on(tmp_path):
    """Its parent was killed while it decoded: the child ends when it finds nobody to answer, or by its own clock."""
    write_video(clip(60, size=(640, 480)), tmp_path / "a.mp4")
    parent = subprocess.Popen(
        [sys.executable, "-c", PREPARE + "media.read_video(sys.argv[2])", str(CASES), str(tmp_path / "a.mp4")]
    )
    for _ in range(400):
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        if children or parent.poll() is not None:
            break
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    for _ in range(400):
        if not any(Path(f"/proc/{child}/stat").exists() for child in children):
            break
        time.sleep(0.05)
    assert children and not any(Path(f"/proc/{child}/cwd").exists() for child in children)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(MediaError, match="permission denied"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO])
def test_each_refusal_has_its_sentence(number):
    error = refused("a.png: cannot be read", OSError(number, os.strerror(number)))
    assert isinstance(error, SystemFailure) and not isinstance(error, DamagedFile)
    assert str(error).count(":") == 2 and str(error)[-1] not in ".!"


def test_names_that_are_not_utf8_work_and_are_shown_escaped(tmp_path):
    folder = os.fsencode(tmp_path)
    for name, write, media in (
        (b"caf\xe9.png", write_image, picture()),
        (b"caf\xe9.mp4", write_video, clip(4, audio=tone(0.5))),
    ):
        write(media, os.fsdecode(folder + b"/" + name))
        assert name in os.listdir(folder)
    assert read_image(os.fsdecode(folder + b"/caf\xe9.png")).size == (64, 48)
    assert len(read_video(os.fsdecode(folder + b"/caf\xe9.mp4")).frames) == 4
    with pytest.raises(MissingFile) as caught:
        read_video(os.fsdecode(folder + b"/\xe9\n\x1b[31m.mp4"))
    assert str(caught.value).endswith(r"/\xe9\n\x1b[31m.mp4: there is no such file, check its name")
    str(caught.value).encode()
