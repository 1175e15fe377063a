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
