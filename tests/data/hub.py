"""A server that answers as the Hugging Face hub does, for one dataset: the questions that ``datasets`` asks to stream it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlparse

COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """Files below ``root`` are those of the dataset ``name``; ``asked`` notes each question."""

    name: str
    root: Path
    asked: list[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Silence."""

    def entry(self, path: Path) -> dict:
        place = path.relative_to(self.root).as_posix()
        if path.is_dir():
            return {"type": "directory", "path": place, "oid": sha1(place.encode()).hexdigest(), "size": 0}
        return {"type": "file", "path": place, "size": path.stat().st_size, "oid": sha1(path.read_bytes()).hexdigest()}

    def answer(self) -> None:
        asked = unquote(urlparse(self.path).path)
        self.asked.append(f"{self.command} {asked}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        api, files = f"/api/datasets/{self.name}", f"/datasets/{self.name}/resolve/"
        if asked.startswith(f"{api}/tree/"):
            folder = self.root / asked.removeprefix(f"{api}/tree/").partition("/")[2]
            if folder.is_dir():
                deep = "recursive=true" in self.path.lower()
                found = sorted(folder.rglob("*") if deep else folder.iterdir())
                return self.say(json.dumps([self.entry(each) for each in found]).encode())
        elif asked.startswith(f"{api}/paths-info/"):
            wanted = parse_qs(body).get("paths") or json.loads(body)["paths"]
            found = [self.root / each for each in wanted if (self.root / each).exists()]
            return self.say(json.dumps([self.entry(each) for each in found]).encode())
        elif asked == api or asked.startswith(f"{api}/revision/"):
            listed = [{"rfilename": self.entry(each)["path"]} for each in self.root.rglob("*") if each.is_file()]
            return self.say(json.dumps({"id": self.name, "sha": COMMIT, "siblings": listed}).encode())
        elif asked.startswith(files):
            path = self.root / asked.removeprefix(files).partition("/")[2]
            if path.is_file():
                return self.say_file(path.read_bytes())
        code = "EntryNotFound" if self.name in asked else "RepoNotFound"
        return self.say(b"{}", 404, {"X-Error-Code": code})

    def say_file(self, content: bytes) -> None:
        told = {"ETag": f'"{sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if asked := self.headers.get("Range"):
            first, last = asked.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last or len(content) - 1), len(content) - 1)
            told["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            return self.say(content[start : end + 1], 206, told)
        return self.say(content, 200, told)

    def say(self, content: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = answer


@contextmanager
def serving(name: str, root: Path) -> Iterator[tuple[str, list[str]]]:
    """(its address, what it is asked) while it answers."""
    asked: list[str] = []
    handler = type("Handler", (Hub,), {"name": name, "root": root, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
