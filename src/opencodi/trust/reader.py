"""The program that parses credentials of untrusted files, run as a child process by `reading.py`: `python -P reader.py`.

It stands alone: it imports nothing of this package. It takes one JSON request on standard input and answers with one line
of JSON on standard output: `{"found": false}`, `{"found": true, …}` or `{"broken": words}`.
"""

import base64
import contextlib
import io
import json
import os
import signal
import sys
from typing import Any

GENERATION = "opencodi.generation"
MAX_LINEAGE = 8
"""Sources of sources that are looked at."""


def main(request: dict[str, Any]) -> dict[str, Any]:
    """What the credentials of a file say, and whether they hold."""
    import c2pa

    _limit(request)
    trust = {"user_anchors": request["own"], "trust_anchors": request["trusted"]}
    settings = request["settings"] | {"trust": {name: pem for name, pem in trust.items() if pem}}
    sidecar = base64.b64decode(request["sidecar"]) if request["sidecar"] else None
    try:
        with open(request["path"], "rb") as file:
            content = io.BytesIO(file.read()) if sidecar else file
            reader = c2pa.Reader(request["media_type"], content, sidecar, context=c2pa.Context.from_dict(settings))
            return describe(json.loads(reader.json()), json.loads(reader.crjson()), reader.is_embedded())
    except c2pa.C2paError.ManifestNotFound:
        return {"found": False}
    except c2pa.C2paError as error:
        if str(error).startswith("Remote"):  # it names another machine, which is not asked
            return {"found": False, "remote": True}
        return {"broken": str(error)[:300]}


def describe(store: dict[str, Any], full: dict[str, Any], embedded: bool) -> dict[str, Any]:
    """The part of c2pa's report that is of use here."""
    manifests = store["manifests"]
    active = manifests[store["active_manifest"]]
    lineage = list(_lineage(manifests, active))
    results = store.get("validation_results", {})
    checks = [
        results.get("activeManifest", {}),
        *(each["validationDeltas"] for each in results.get("ingredientDeltas") or []),
    ]
    parts = full["manifests"] if isinstance(full.get("manifests"), list) else []
    signature = next((part.get("signature", {}) for part in parts if part.get("label") == store["active_manifest"]), {})
    certificate = signature.get("certificateInfo", {})
    signer = active.get("signature_info") or {}
    actions = [action for each in lineage for action in _actions(each)]
    return {
        "found": True,
        "embedded": embedded,
        "state": store.get("validation_state"),
        "failures": sorted({each["code"] for check in checks for each in check.get("failure", [])}),
        "trusted_by": results.get("trustListUri"),
        "signer": {
            "name": signer.get("common_name") or signer.get("issuer"),
            "organisation": signer.get("issuer"),
            "authority": (certificate.get("issuer") or {}).get("CN"),
            "serial": certificate.get("serialNumber"),
        },
        "generator": (active.get("claim_generator_info") or [{}])[0] or {},
        "time": signer.get("time"),
        "actions": [action.get("action") for action in actions],
        "sources": [action["digitalSourceType"] for action in actions if action.get("digitalSourceType")],
        "generation": next((data for each in lineage for data in _assertions(each, GENERATION)), None),
    }


def _lineage(manifests: dict[str, Any], manifest: dict[str, Any]) -> Any:
    """A manifest, that of the file that it was made from, and so on."""
    for _ in range(MAX_LINEAGE):
        yield manifest
        parents = [each for each in manifest.get("ingredients", []) if each.get("relationship") == "parentOf"]
        label = parents[0].get("active_manifest") if parents else None
        if label not in manifests:
            return
        manifest = manifests[label]


def _assertions(manifest: dict[str, Any], label: str) -> list[Any]:
    return [each["data"] for each in manifest.get("assertions", []) if each.get("label") == label]


def _actions(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    data = _assertions(manifest, "c2pa.actions.v2") + _assertions(manifest, "c2pa.actions")
    return [action for each in data for action in each.get("actions", [])]


def _limit(request: dict[str, Any]) -> None:
    """No more memory, time or files than it needs, whatever becomes of the parent."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = ((resource.RLIMIT_AS, request["max_memory"]), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0))
    for what, value in limits:
        with contextlib.suppress(ValueError, OSError):  # some systems know the limit but do not let it be set
            hard = resource.getrlimit(what)[1]
            resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request["timeout_seconds"] + 10)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """``main``, whatever it runs into."""
    try:
        return main(request)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:  # a report of an unusual shape
        return {"broken": f"they are of a shape that is not understood ({type(error).__name__})"}
    except MemoryError:
        return {"too_large": True}


def _run() -> None:
    request = json.loads(sys.stdin.buffer.read())
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    for handle in (1, 2):  # a library that chats must not garble the answer
        os.dup2(silence, handle)
    answers.write(json.dumps(answer(request)).encode())
    answers.flush()


if __name__ == "__main__":
    _run()
