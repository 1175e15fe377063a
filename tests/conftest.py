import signal

import pytest
import torch

# A suite that was started in the background ignores Ctrl-C, and so would every program that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from .training.trained_model import short_samples, trained  # noqa: F401


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tiny tensors run faster on one thread, and two runs then add up in the same order."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _own_config(tmp_path_factory):
    """A key of its own for signing, as a user has it after the first run; none of the user who tests is touched."""
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENCODI_CONFIG", str(folder))
        for name in ("CERTIFICATE", "PRIVATE_KEY", "PRIVATE_KEY_PASSPHRASE"):
            patch.delenv(f"OPENCODI_{name}", raising=False)
        yield folder


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def pipe():
    """The tiny pipeline, for all tests that do not change it."""
    from . import tiny

    return tiny.pipeline()


@pytest.fixture(scope="module")
def folder(pipe, tmp_path_factory):
    """Where the tiny pipeline is saved."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit code, standard output, standard error."""
    from opencodi import cli

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return call
