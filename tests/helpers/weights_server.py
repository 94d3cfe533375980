"""A server on this machine that answers about single files as the Hugging Face Hub does, and as any other does."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from helpers.weight_caches import COMMIT


@dataclass
class Answer:
    """What it has under a path, and how it gives it."""

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # bytes, after which the first GET breaks off
    seconds: float = 0.0  # before the answer
    pause: float = 0.0  # seconds after each MB


@dataclass
class WeightsServer:
    """Its `answers` by path, such as `/timm/NAME/resolve/main/model.safetensors`; `asked` has every request."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def got(self) -> list[str]:
        """The paths of files that were asked for with GET."""
        return [path for method, path, *_ in map(str.split, self.asked) if method == "GET" and "/api/" not in path]

    def offer(self, repository: str, file: str, content: bytes, **how: object) -> Answer:
        """Let a repository have a file."""
        path = f"/{repository}/resolve/main/{file}"
        self.answers[path] = Answer(content, **how)  # type: ignore[arg-type]  # fields of Answer
        return self.answers[path]


@contextmanager
def weights_server() -> Iterator[WeightsServer]:
    state = WeightsServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(with_content=False)

        def do_GET(self) -> None:
            self._answer(with_content=True)

        def _answer(self, with_content: bool) -> None:
            begin = self.headers.get("Range", "")
            path = urlsplit(self.path).path  # asked as a proxy, it gets the whole address
            state.asked.append(f"{self.command} {path} {begin}".strip())
            answer = state.answers.get(path, Answer(status=404, headers={"X-Error-Code": "EntryNotFound"}))
            time.sleep(answer.seconds)
            start = int(begin.removeprefix("bytes=").rstrip("-") or 0)
            content = answer.content[start:]
            self.send_response(206 if start else answer.status)
            headers = {
                "Content-Length": str(len(content)),
                "ETag": f'"{hashlib.sha256(answer.content).hexdigest()}"',
                "X-Repo-Commit": COMMIT,
                "Content-Type": "application/octet-stream",
            }
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(answer.content) - 1}/{len(answer.content)}"
            for name, value in (headers | answer.headers).items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            if not with_content:
                return
            cut, answer.cut_after = answer.cut_after, None
            content = content[:cut]
            self.close_connection = cut is not None
            with suppress(ConnectionError):  # whoever asked has heard enough
                for place in range(0, len(content), 1_000_000):
                    self.wfile.write(content[place : place + 1_000_000])
                    time.sleep(answer.pause)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
