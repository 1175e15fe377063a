"""Bad uploads and odd requests to a running server. It must answer each with a sentence, and go on."""

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from .mutations import mutated

ANSWERS = {200, 202, 400, 401, 404, 405, 413, 415, 422, 429, 507}
"""What a client may be told. 500 means that the server met something nobody thought of."""
QUICK = {"num_inference_steps": 1}


def bad_uploads(client: httpx2.Client, modality: str, seeds: list[bytes], count: int, seed: int = 0) -> Counter:
    """Send mutated files to ``/v1/embeddings`` as a form.

    Returns:
        how often each status was answered.

    Raises:
        AssertionError: for an answer that is none, names a path of the server, or is not JSON.
    """
    found: Counter = Counter()
    for case in range(count):
        files = {modality: ("case", mutated(seeds, seed, case), "application/octet-stream")}
        found[_status(client.post("/v1/embeddings", files=files))] += 1
    return found


def odd_bodies(client: httpx2.Client, path: str, schema: dict[str, Any], count: int, seed: int = 0) -> Counter:
    """Send bodies with fields of a schema, right and wrong, and any JSON at all.

    Args:
        schema: of the whole API (OpenAPI), where ``path`` is one that takes a POST with JSON.

    Returns:
        how often each status was answered.
    """
    found: Counter = Counter()

    @seeded(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_bodies(path, schema))
    def send(body: Any) -> None:
        content = json.dumps(body)
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
        found[_status(answer)] += 1
        if answer.status_code == 202:  # nobody waits for it
            client.delete(f"{path}/{answer.json()['id']}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        send()
    return found


SENSIBLE = (
    *("a rooster", "image", "image,audio", ["text", "image"], "64x64", "wav", "b64_json", "url", "float", "greedy"),
    *("data:image/png;base64,AAAA", "tiny", 1, 2, 0.5, 7, True, False, None, {"image": 1}, {"image": [1, 2]}),
)
"""Values that some field takes."""


def _bodies(path: str, schema: dict[str, Any]) -> st.SearchStrategy:
    """Fields of the path's own with values that fit it or not, and any JSON at all."""
    wanted = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    name = wanted.get("$ref", "").rpartition("/")[2]
    fields = (schema["components"]["schemas"][name] if name else wanted)["properties"]
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=8,
    )
    sensible = st.dictionaries(st.sampled_from(sorted(fields)), st.sampled_from(SENSIBLE), min_size=1)
    broken = st.dictionaries(st.sampled_from([*sorted(fields), "colour"]), anything | st.sampled_from(SENSIBLE))
    return st.one_of(sensible.map(lambda body: body | QUICK), broken, anything)


def _status(answer: httpx2.Response) -> int:
    assert answer.status_code in ANSWERS, f"{answer.status_code}: {answer.text[:300]}"
    if answer.status_code >= 400:
        said = answer.json()
        assert said.get("error", {}).get("message"), said
        assert "/tmp" not in answer.text and "Traceback" not in answer.text, answer.text[:300]
    return answer.status_code


def json_paths(schema: dict[str, Any]) -> Iterator[str]:
    """The paths of an API that take a POST with JSON."""
    for path, methods in schema["paths"].items():
        if "application/json" in methods.get("post", {}).get("requestBody", {}).get("content", {}):
            yield path
