"""Child processes: they end with their block, are stopped in time, and say why they ended."""

import signal
import subprocess
import sys
import time

import pytest

from opencodi.errors import MediaError
from opencodi.media.child import running


def python(program: str, seconds: float = 30.0, **options):
    return running("a.png: cannot be read", [sys.executable, "-c", program], seconds, **options)


def test_it_answers_and_says_how_it_ended():
    answer = "print(sys.stdin.read()[::-1], flush=True)"
    complaint = "sys.stderr.write('x' * 200_000 + '\\nno good')"
    with python(f"import sys; {answer}; {complaint}; sys.exit(3)", stdin=subprocess.PIPE) as child:
        with child.stdin:
            child.stdin.write(b"abc")
        assert child.stdout.readline().split() == [b"cba"]
        code, complaint = child.end()
    assert code == 3 and complaint.splitlines()[-1] == "no good" and not child.expired


@pytest.mark.parametrize("bufsize", [-1, 0])
def test_one_that_takes_too_long_is_stopped(bufsize):
    started = time.monotonic()
    with python("import time; time.sleep(60)", seconds=0.2, bufsize=bufsize) as child:
        assert child.stdout.read() == b""
        assert child.end() == (-signal.SIGKILL, "")
    assert child.expired and time.monotonic() - started < 30


def test_it_has_ended_when_the_block_is_left_by_an_error():
    with pytest.raises(KeyError), python("import time; time.sleep(60)") as child:
        raise KeyError("x")
    assert child.stdout.closed and not child.expired


def test_a_program_that_is_not_there_is_named_in_a_sentence(tmp_path):
    program = [str(tmp_path / "missing")]
    refused = pytest.raises(MediaError, match=r"^a\.png: cannot be read: no such file")
    with refused, running("a.png: cannot be read", program, 1.0):
        pass
