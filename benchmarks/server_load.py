"""Load a server on this machine and print throughput and latency: few and many clients, batched and not.

    python benchmarks/server_load.py stickers --output docs/results/server_load.json
    python benchmarks/server_load.py stickers --soak 60 --output docs/results/server_soak.json

Every client asks for a picture, waits for it, and asks again; one request in twenty is a damaged upload, which must be
refused. A refusal for a full queue is tried again after the time that the server names, and counts as waiting. A request
is lost if it got neither its picture nor, being damaged, its refusal; the command fails if one is. ``--soak`` asks for
all modalities for so many minutes and reports how resident memory grew.
"""

import argparse
import base64
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from measuring import print_table

WORDS = ("a rooster", "a red apple", "a drum", "a rocket", "a cat", "a dog", "a house", "a car")
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4AdMOEQH6QSAM1BAQ/oQeJvAAAAAElFTkSuQmCC"
)
POISON_EVERY = 20
TRIES = 200
SOAK_OUTPUTS = ("image", "text", "audio", "image,audio", "image", "video,audio")
SAMPLE_SECONDS = 2.0


@contextmanager
def serving(model: str, max_batch: int, threads: int | None) -> Iterator[int]:
    """A server in a process of its own while inside; its port."""
    command = [sys.executable, "-c", "from opencodi.cli import main; main()", "serve", "--model", model, "--port", "0"]
    command += ["--max-batch", str(max_batch), *(["--threads", str(threads)] if threads else [])]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    port = None
    for line in process.stderr:
        port = port or (re.search(r"serving .* at http://127\.0\.0\.1:(\d+)", line) or [None, None])[1]
        if " warm after " in line:
            break
    if port is None:
        raise SystemExit("error: the server did not start")
    threading.Thread(target=process.stderr.read, daemon=True).start()  # its log must not fill the pipe
    while True:
        try:
            ask(int(port), "GET", "/health")
            break
        except OSError:
            time.sleep(0.1)
    try:
        yield int(port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def ask(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, str], bytes]:
    """One request: status, headers, content."""
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def one_picture(port: int, number: int, poisoned: bool) -> tuple[str, int]:
    """Ask until there is an answer: ``made``, ``refused`` (a damaged upload, as it must be) or ``lost``; tries in vain."""
    upload = "data:;base64," + base64.b64encode(PICTURE[:-20]).decode()
    route = "/v1/generations" if poisoned else "/v1/images/generations"
    body = {"image": upload} if poisoned else {"prompt": WORDS[number % len(WORDS)], "seed": number}
    tries = 0
    while True:
        status, headers, content = ask(port, "POST", route, body)
        if status != 429 or tries == TRIES:
            break
        tries += 1
        time.sleep(float(headers["retry-after"]) * random.uniform(0.5, 1))
    if poisoned:
        return ("refused" if status == 400 and b"damaged_file" in content else "lost"), tries
    made = status == 200 and base64.b64decode(json.loads(content)["data"][0]["b64_json"]).startswith(b"\x89PNG")
    return ("made" if made else "lost"), tries


def load(port: int, clients: int, requests: int) -> dict[str, Any]:
    """So many clients share the requests; what became of them and how long they took."""
    numbers, lock = iter(range(requests)), threading.Lock()
    ends: Counter[str] = Counter()
    seconds: list[float] = []
    refused_full = 0

    def client() -> None:
        nonlocal refused_full
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            started = time.perf_counter()
            try:
                end, tries = one_picture(port, number, number % POISON_EVERY == POISON_EVERY // 2)
            except (OSError, ValueError, KeyError):
                end, tries = "lost", 0
            with lock:
                ends[end] += 1
                refused_full += tries
                if end == "made":
                    seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    in_threads(client, clients)
    whole = time.perf_counter() - started
    seconds.sort()
    if not seconds:
        raise SystemExit(f"error: all {requests} requests were lost")
    return {
        "clients": clients,
        "requests": requests,
        **{end: ends[end] for end in ("made", "refused", "lost")},
        "queue_full": refused_full,
        "per_second": round(ends["made"] / whole, 2),
        "p50": round(statistics.median(seconds), 3),
        "p95": round(seconds[int(0.95 * (len(seconds) - 1))], 3),
        "longest": round(seconds[-1], 3),
    }


def in_threads(function: Any, count: int) -> None:
    """Run it ``count`` times at once."""
    threads = [threading.Thread(target=function) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure_load(
    model: str, levels: list[int], requests: int, max_batch: int, threads: int | None
) -> list[dict[str, Any]]:
    """A row for each number of clients, batched and not, printed as it is measured."""
    rows = []
    titles = ("batch", "clients", "pictures/s", "p50 s", "p95 s", "longest s", "made", "refused", "lost", "queue full")
    print_table(titles, [])
    for batch in (1, max_batch):
        with serving(model, batch, threads) as port:
            load(port, 1, 3)
            for clients in levels:
                row = {"max_batch": batch, **load(port, clients, max(requests, 2 * clients))}
                rows.append(row)
                names = (
                    "max_batch",
                    "clients",
                    "per_second",
                    "p50",
                    "p95",
                    "longest",
                    "made",
                    "refused",
                    "lost",
                    "queue_full",
                )
                print("| " + " | ".join(str(row[name]) for name in names) + " |", flush=True)
    return rows


def soak(model: str, minutes: float, clients: int, max_batch: int, threads: int | None) -> dict[str, Any]:
    """Ask for everything for so long; how many jobs ended how, and what memory did."""
    ends: Counter[str] = Counter()
    memory: list[float] = []
    with serving(model, max_batch, threads) as port:
        stop = time.monotonic() + 60 * minutes

        def client() -> None:
            dice = random.Random(threading.get_ident())
            while time.monotonic() < stop:
                try:
                    ends[one_job(port, dice)] += 1
                except (OSError, ValueError, KeyError):
                    ends["lost"] += 1

        workers = threading.Thread(target=in_threads, args=(client, clients))
        workers.start()
        while workers.is_alive():
            memory.append(resident_bytes(port))
            time.sleep(SAMPLE_SECONDS)
    # The first quarter warms up: parts, caches of the allocator, every size of batch
    quarter = len(memory) // 4
    quarters = [statistics.mean(memory[start : start + quarter]) for start in range(0, 4 * quarter, quarter)]
    return {
        "minutes": minutes,
        "clients": clients,
        **ends,
        "resident_mb_by_quarter": [round(each / 1e6, 1) for each in quarters],
        "growth_percent_second_to_last_quarter": round(100 * (quarters[3] / quarters[1] - 1), 2),
    }


def one_job(port: int, dice: random.Random) -> str:
    """A job of any kind, followed to its end and its results fetched; how it ended."""
    if dice.random() < 1 / POISON_EVERY:
        return one_picture(port, 0, poisoned=True)[0]
    body = {
        "text": dice.choice(WORDS),
        "outputs": dice.choice(SOAK_OUTPUTS),
        "num_outputs_per_prompt": dice.randint(1, 2),
    }
    if dice.random() < 0.3:
        body["image"] = "data:;base64," + base64.b64encode(PICTURE).decode()
    status, headers, content = ask(port, "POST", "/v1/generations", body)
    if status == 429:
        time.sleep(float(headers["retry-after"]))
        return "queue_full"
    job = json.loads(content)
    if dice.random() < 0.05:
        ask(port, "DELETE", f"/v1/generations/{job['id']}")
        return "cancelled"
    while job["status"] in ("queued", "in_progress"):
        time.sleep(0.1)
        job = json.loads(ask(port, "GET", f"/v1/generations/{job['id']}")[2])
    links = [result["url"].split("/v1/")[1] for result in job["results"]]
    whole = all(ask(port, "GET", f"/v1/{link}")[0] == 200 for link in links)
    ask(port, "DELETE", f"/v1/generations/{job['id']}")
    return job["status"] if whole and len(links) == body["num_outputs_per_prompt"] * len(job["outputs"]) else "lost"


def resident_bytes(port: int) -> float:
    """Resident memory of the server, as its own ``/metrics`` says."""
    page = ask(port, "GET", "/metrics")[2].decode()
    return float(re.search(r"^process_resident_memory_bytes (\S+)", page, re.MULTILINE)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="stickers")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 32])
    parser.add_argument("--requests", type=int, default=40, help="for each row; at least two for each client")
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--threads", type=int, help="of the server; its own choice if not given")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="ask for everything for so long instead")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    given = parser.parse_args()
    if given.soak:
        found: Any = soak(given.model, given.soak, max(given.clients[:2]), given.max_batch, given.threads)
        print(json.dumps(found, indent=2))
        lost = found.get("lost", 0) + found.get("failed", 0)
    else:
        found = measure_load(given.model, given.clients, given.requests, given.max_batch, given.threads)
        lost = sum(row["lost"] for row in found)
    if given.output:
        report = {"cores": len(os.sched_getaffinity(0)), "load_average": os.getloadavg()[2], "figures": found}
        given.output.write_text(json.dumps(report, indent=1) + "\n")
    if lost:
        raise SystemExit(f"error: {lost} requests were lost")


if __name__ == "__main__":
    main()
