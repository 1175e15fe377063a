"""The load benchmark against a server with the tiny model: it counts rightly, and notices what is lost."""

import pytest

from tests.server.serving import serving


@pytest.fixture(scope="module")
def port(pipe) -> int:
    with serving(pipe, max_queue=3) as running:
        yield int(running.url.split(":")[-1])


def test_every_request_is_answered_though_the_queue_is_short_and_uploads_are_damaged(port):
    from server_load import load

    row = load(port, clients=6, requests=24)
    assert (row["made"], row["refused"], row["lost"]) == (23, 1, 0)
    assert 0 < row["p50"] <= row["p95"] <= row["longest"] and row["per_second"] > 0


def test_what_gets_no_answer_is_lost():
    from server_load import load

    with pytest.raises(SystemExit, match="all 3 requests were lost"):
        load(1, clients=2, requests=3)  # nobody listens there


def test_the_soak_follows_jobs_of_every_kind_to_their_end(port):
    from random import Random

    from server_load import one_job, resident_bytes

    dice = Random(0)
    assert {one_job(port, dice) for _ in range(12)} <= {"completed", "cancelled"}
    assert resident_bytes(port) > 1e7
