"""`opencodi studio`: what it says when it cannot start, and that it starts and stops."""

import socket
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("gradio", reason="the studio needs the extra `studio`")

from opencodi import cli


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return call


def test_bad_input_is_one_line(run):
    code, _, err = run("studio", "--model", "no-such-model")
    assert code == 2 and "model 'no-such-model' is neither installed nor a folder" in err and err.count("\n") == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err = run("studio", "--port", taken.getsockname()[1])
    assert code == 2 and "choose another" in err and err.count("\n") == 1


def test_without_gradio_it_says_what_to_install(run, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("opencodi.studio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, _, err = run("studio")
    assert code == 2 and err == "error: studio: the package gradio is not installed; run pip install 'opencodi[studio]'\n"


def test_it_serves_the_page_until_it_is_interrupted():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from opencodi.cli import main; main()", "studio", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == f"The studio is at http://127.0.0.1:{port} (Ctrl+C stops it)\n"
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).read().decode()
        assert "OpenCoDi Studio" in page
        process.send_signal(2)
        assert process.wait(timeout=20) in (0, 130)
        assert "Traceback" not in process.stderr.read()
