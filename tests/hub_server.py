"""The Hub of `zoo.local_hub` with troubles that a test may order, and the routes that only tests and data sets need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import local_hub
from local_hub import READER, TOKEN, Answer, Repo, is_lfs, oid_of

__all__ = ["READER", "TOKEN", "Handler", "Repo", "Server", "running"]

REPO = r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)"


@dataclass
class Server(local_hub.Server):
    """State and fault switches.

    `delay` seconds pass before every answer, and `rate` bytes a second are sent (0: as fast as it goes).
    """

    faults: list[tuple[int, str, str, dict[str, str]]] = field(default_factory=list)
    corrupted: dict[str, int] = field(default_factory=dict)
    halved: dict[str, int] = field(default_factory=dict)
    delay: float = 0
    rate: float = 0

    def fail_next(self, status: int, times: int = 1, *, method: str = "", path: str = "", **headers: str) -> None:
        """Answer the next requests whose method and path contain the given texts with `status`; 0 hangs up."""
        self.faults += [(status, method, path, headers)] * times

    def cut(self, name: str, times: int = 1) -> None:
        """Hang up in the middle of the next downloads of files of this name."""
        self.halved[name] = times

    def corrupt(self, name: str, times: int = 1) -> None:
        """Send the next downloads of files of this name with one byte flipped."""
        self.corrupted[name] = times

    def count(self, method: str = "", path: str = "") -> int:
        return sum(method in m and path in p for m, p in self.requests)


class Handler(local_hub.Handler):
    state: Server
    routes: ClassVar = [
        *local_hub.Handler.routes,
        ("POST", rf"{REPO}/branch/(?P<revision>.+)", "branch"),
        ("GET", rf"{REPO}/refs", "refs"),
        ("GET", rf"{REPO}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree"),
    ]

    def respond(self, path: str) -> None:
        self.sent: int | None = None  # how much of the body, if not all
        time.sleep(self.state.delay)
        for fault in self.state.faults:
            if fault[1] in self.command and fault[2] in path:
                self.state.faults.remove(fault)
                raise Answer(fault[0], {"error": "as the test wants"}, **fault[3])
        super().respond(path)

    def send(self, answer: Answer) -> None:
        if answer.status == 0:
            self.close_connection = True
        else:
            super().send(answer)

    def write(self, body: bytes) -> None:
        self.close_connection |= self.sent is not None
        body = body[: self.sent]
        step = int(self.state.rate / 50) or len(body) or 1
        for start in range(0, len(body), step):
            super().write(body[start : start + step])
            time.sleep(0.02 if self.state.rate else 0)

    def content(self, path: str, content: bytes) -> bytes:
        if self.command != "GET":
            return content
        if self.state.halved.get(path, 0) > 0:
            self.state.halved[path] -= 1
            self.sent = len(content) // 2
        if self.state.corrupted.get(path, 0) > 0:
            self.state.corrupted[path] -= 1
            return content[:-1] + bytes([content[-1] ^ 1])
        return content

    def branch(self, kind: str, repo: str, revision: str) -> None:
        found = self.repo(kind, repo, write=True)
        if revision in found.branches:
            raise Answer(409, {"error": "Reference already exists"})
        found.branches[revision] = found.branches["main"]
        raise Answer(200, {})

    def refs(self, kind: str, repo: str) -> None:
        heads = self.repo(kind, repo).branches.items()
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": oid} for n, oid in heads]
        raise Answer(200, {"branches": branches, "tags": [], "converts": []})

    def tree(self, kind: str, repo: str, revision: str, path: str | None = None) -> None:
        _, files = self.repo(kind, repo).find(revision)
        prefix = f"{path.strip('/')}/" if path and path.strip("/") else ""
        query = parse_qs(urlsplit(self.path).query)
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries: dict[str, dict[str, Any]] = {}
        for name, content in sorted(files.items()):
            if not name.startswith(prefix):
                continue
            folder, slash, _ = name[len(prefix) :].partition("/")
            if slash and prefix + folder not in entries:
                entries[prefix + folder] = {"type": "directory", "path": prefix + folder, "size": 0, "oid": "0" * 40}
            if not slash or recursive:
                oid = oid_of(name, content)
                entries[name] = {"type": "file", "path": name, "size": len(content), "oid": oid}
                if is_lfs(name, len(content)):
                    entries[name]["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
        if prefix and not entries:
            raise Answer(404, code="EntryNotFound")
        raise Answer(200, list(entries.values()))


@contextmanager
def running() -> Iterator[Server]:
    """A server on a free port of the loopback, until the block ends."""
    with local_hub.running(Server(), Handler) as server:
        yield server
