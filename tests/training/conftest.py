import pytest


@pytest.fixture(autouse=True, scope="session")
def _short(short_samples):
    """All pictures of what a stage has learned so far are made in few steps."""
