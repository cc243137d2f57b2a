"""A static web server on the loopback that can misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# What a file of the server does instead of being sent; gets the handler and the file's contents.
Misbehaviour = Callable[["Handler", bytes], None]


class Handler(SimpleHTTPRequestHandler):
    """Serves ``server.folder``; ``server.misbehaviours`` are by a part of the path."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        for part, misbehave in self.server.misbehaviours.items():
            if part in self.path:
                file = self.server.folder / self.path.lstrip("/")
                misbehave(self, file.read_bytes() if file.is_file() else b"")
                return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def begin(self, length: int | None) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def give(self, content: bytes) -> bool:
        """False once the client is gone or the server ends."""
        try:
            self.wfile.write(content)
        except OSError:
            return False
        return not self.server.ending.is_set()


class Server(ThreadingHTTPServer):
    """Runs in a thread from ``with`` on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.folder, self.ending = folder, threading.Event()
        self.misbehaviours: dict[str, Misbehaviour] = {}
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


def truncated(handler: Handler, content: bytes) -> None:
    handler.begin(len(content))
    handler.give(content[: len(content) // 2])


def endless(handler: Handler, content: bytes) -> None:
    handler.begin(None)
    while handler.give(b"x" * 65536):
        pass


def silent(handler: Handler, content: bytes) -> None:
    handler.server.ending.wait()


def silent_after_a_while(handler: Handler, content: bytes) -> None:
    handler.begin(1000 + len(content))
    handler.give(content[:100])
    handler.server.ending.wait()


def trickling(handler: Handler, content: bytes) -> None:
    """Never silent for long, and never done."""
    handler.begin(len(content))
    while handler.give(b"x"):
        time.sleep(0.02)


def broken(handler: Handler, content: bytes) -> None:
    handler.send_error(500)


def altered(handler: Handler, content: bytes) -> None:
    half = len(content) // 2
    handler.begin(len(content))
    handler.give(content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :])
