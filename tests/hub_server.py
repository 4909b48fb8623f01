"""A small Hub-compatible server in memory, on this machine, with troubles that a test may order.

It serves what huggingface_hub needs to make a repository, push, push again, and download, with the uploads of LFS files
in the "basic" transfer (HF_HUB_DISABLE_XET=1). Models lie at `/api/models/R` and `/R/resolve/...`, data sets at
`/api/datasets/R` and `/datasets/R/resolve/...`.

    with running() as server:
        subprocess.run(..., env=stripped() | server.environment(home))

The environment is that of a process of its own because huggingface_hub reads it when it is imported.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_write"
READER = "hf_read"  # may not write
LFS_SUFFIXES = (".safetensors", ".png", ".mp4", ".parquet", ".arrow")


class Answer(Exception):  # noqa: N818 - it carries any answer, not only errors
    """Ends a request with this answer."""

    def __init__(self, status: int, body: Any = b"", code: str | None = None, **headers: str) -> None:
        super().__init__(status)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        if code:
            self.headers |= {"X-Error-Code": code, "X-Error-Message": code}


@dataclass
class Repo:
    """Commits are hash -> (title, path -> content); branches name -> hash."""

    private: bool = False
    gated: bool = False
    commits: dict[str, tuple[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def add(self, branch: str, title: str, files: dict[str, bytes]) -> str:
        parent = self.branches.get(branch, "")
        oid = hashlib.sha1(repr((parent, title, sorted(files.items()), len(self.commits))).encode()).hexdigest()
        self.commits[oid] = (title, files)
        self.branches[branch] = oid
        return oid

    def find(self, revision: str) -> tuple[str, dict[str, bytes]]:
        oid = self.branches.get(revision, revision)
        if oid not in self.commits:
            raise Answer(404, code="RevisionNotFound")
        return oid, self.commits[oid][1]


@dataclass
class Server:
    """What it holds: repositories by "models/owner/name", LFS blobs by sha256; and (method, path) of all requests.

    `delay` seconds pass before every answer, and `rate` bytes a second are sent (0: as fast as it goes).
    """

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    closed: bool = False
    faults: list[tuple[int, str, str, dict[str, str]]] = field(default_factory=list)
    corrupted: dict[str, int] = field(default_factory=dict)
    halved: dict[str, int] = field(default_factory=dict)
    delay: float = 0
    rate: float = 0

    def environment(self, home: Path | str, token: str | None = TOKEN) -> dict[str, str]:
        """The variables that make a process a client of this server, with its cache in `home`."""
        variables = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        variables |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return variables | ({"HF_TOKEN": token} if token else {})

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


def stripped() -> dict[str, str]:
    """Our environment without what a client of the Hub reads: endpoint, cache, token, offline mode, proxies."""
    read = ("HF_", "HUGGING", "TRANSFORMERS_")
    return {k: v for k, v in os.environ.items() if not k.upper().startswith(read) and "PROXY" not in k.upper()}


def is_lfs(path: str, size: int) -> bool:
    return path.endswith(LFS_SUFFIXES) or size > 10 * 2**20


def oid_of(path: str, content: bytes) -> str:
    """What git calls the content: sha256 of an LFS file, sha1 of a blob."""
    if is_lfs(path, len(content)):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


_KIND, _REPO = r"(?P<kind>models|datasets)", r"(?P<repo>[^/]+/[^/]+)"
_DATASET = r"(?:(?P<kind>datasets)/)?"


class Handler(BaseHTTPRequestHandler):
    """Answers one request; `routes` are methods, path, and the method of this class that raises the Answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: Server
    routes: ClassVar = [
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("POST", rf"/api/{_KIND}/{_REPO}/preupload/(?P<revision>.+)", "preupload"),
        ("POST", rf"/api/{_KIND}/{_REPO}/commit/(?P<revision>.+)", "commit"),
        ("POST", rf"/{_DATASET}{_REPO}\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]+)", "lfs_put"),
        ("POST", r"/lfs-verify", "lfs_verify"),
        ("GET", rf"/api/{_KIND}/{_REPO}", "info"),
        ("GET", rf"/api/{_KIND}/{_REPO}/revision/(?P<revision>.+)", "info"),
        ("POST", rf"/api/{_KIND}/{_REPO}/branch/(?P<revision>.+)", "branch"),
        ("GET", rf"/api/{_KIND}/{_REPO}/refs", "refs"),
        ("GET", rf"/api/{_KIND}/{_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree"),
        ("GET HEAD", rf"/{_DATASET}{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    ]

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client may be killed at any time
            super().handle()

    def handle_any(self) -> None:
        if self.state.closed:  # connections that were kept alive end too
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self._chunked() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append((self.command, path))
        try:
            self.respond(path)
        except Answer as answer:
            self.send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - names of the standard library

    def respond(self, path: str) -> None:
        self.sent: int | None = None  # how much of the body, if not all
        time.sleep(self.state.delay)
        for fault in self.state.faults:
            if fault[1] in self.command and fault[2] in path:
                self.state.faults.remove(fault)
                raise Answer(fault[0], {"error": "as the test wants"}, **fault[3])
        for method, pattern, action in self.routes:
            match = re.fullmatch(pattern, path)
            if match and self.command in method:
                getattr(self, action)(**match.groupdict())
        raise Answer(404, {"error": f"no route {path}"})

    def send(self, answer: Answer) -> None:
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.write(answer.body)

    def write(self, body: bytes) -> None:
        self.close_connection |= self.sent is not None
        body = body[: self.sent]
        step = int(self.state.rate / 50) or len(body) or 1
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(0.02 if self.state.rate else 0)

    def _chunked(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    @property
    def token(self) -> str:
        return str(self.headers.get("Authorization", "")).removeprefix("Bearer ")

    def repo(self, kind: str | None, repo: str, *, write: bool = False) -> Repo:
        """The repository, if the caller may see (and change) it."""
        if self.token not in ("", TOKEN, READER):
            raise Answer(401, {"error": "Invalid credentials in Authorization header"})
        found = self.state.repos.get(f"{(kind or 'models').strip('/')}/{repo}")
        if found is None or (found.private and not self.token):
            raise Answer(401 if not self.token else 404, code="RepoNotFound")
        if write and self.token != TOKEN:
            raise Answer(403 if self.token else 401, {"error": "you may not write"})
        return found

    def create(self) -> None:
        payload = json.loads(self.body)
        if self.token != TOKEN:
            raise Answer(403 if self.token == READER else 401, {"error": "you may not create"})
        kind = payload.get("type", "model") + "s"
        name = f"{payload.get('organization') or 'user'}/{payload['name']}"
        url = f"{self.state.url}/{name if kind == 'models' else f'{kind}/{name}'}"
        if f"{kind}/{name}" in self.state.repos:
            raise Answer(409, {"url": url, "error": "You already created this model repo"})
        made = self.state.repos[f"{kind}/{name}"] = Repo(private=payload.get("visibility") == "private")
        made.add("main", "initial commit", {".gitattributes": b"*.safetensors filter=lfs\n"})
        raise Answer(200, {"url": url, "name": name})

    def validate(self) -> None:
        raise Answer(200, {"warnings": [], "errors": []})

    def preupload(self, kind: str, repo: str, revision: str) -> None:
        _, files = self.repo(kind, repo, write=True).find(revision)
        answers = []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            mode = "lfs" if is_lfs(path, file["size"]) else "regular"
            oid = oid_of(path, files[path]) if path in files else None
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        raise Answer(200, {"files": answers})

    def lfs_batch(self, kind: str | None, repo: str) -> None:
        self.repo(kind, repo, write=True)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            item = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.state.blobs:
                upload, verify = f"{self.state.url}/lfs/{wanted['oid']}", f"{self.state.url}/lfs-verify"
                item["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            objects.append(item)
        raise Answer(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Answer(400, {"error": "wrong sha256"})
        self.state.blobs[oid] = self.body
        raise Answer(200)

    def lfs_verify(self) -> None:
        payload = json.loads(self.body)
        ok = len(self.state.blobs.get(payload["oid"], b"")) == payload["size"]
        raise Answer(200 if ok else 404, {})

    def commit(self, kind: str, repo: str, revision: str) -> None:
        found = self.repo(kind, repo, write=True)
        files, title = dict(found.find(revision)[1]), ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                title = value["summary"]
                if value.get("parentCommit", found.branches[revision]) != found.branches[revision]:
                    raise Answer(412, {"error": "the branch has moved"})
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.state.blobs[value["oid"]]
            elif item["key"] == "deletedFile":
                files.pop(value["path"], None)
            elif item["key"] == "deletedFolder":
                prefix = value["path"].rstrip("/") + "/"
                files = {path: content for path, content in files.items() if not path.startswith(prefix)}
        oid = found.add(revision, title, files)
        raise Answer(200, {"commitOid": oid, "commitUrl": f"{self.state.url}/{repo}/commit/{oid}", "success": True})

    def info(self, kind: str, repo: str, revision: str | None = None) -> None:
        found = self.repo(kind, repo)
        oid, files = found.find(revision or "main")
        siblings = [{"rfilename": path} for path in sorted(files)]
        raise Answer(
            200, {"id": repo, "sha": oid, "siblings": siblings, "private": found.private, "tags": [], "downloads": 0}
        )

    def resolve(self, kind: str | None, repo: str, revision: str, path: str) -> None:
        found = self.repo(kind, repo)
        if found.gated and self.token != TOKEN:
            raise Answer(403 if self.token else 401, code="GatedRepo")
        oid, files = found.find(revision)
        if path not in files:
            raise Answer(404, code="EntryNotFound", X_Repo_Commit=oid)
        content = self.content(path, files[path])
        headers = {"ETag": f'"{oid_of(path, files[path])}"', "X_Repo_Commit": oid}
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            first = int(match[1])
            headers["Content_Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            raise Answer(206, content[first:], **headers)
        raise Answer(200, content, **headers)

    def content(self, path: str, content: bytes) -> bytes:
        """What is sent of a file."""
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
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"state": state}))
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield state
    finally:
        state.closed = True
        http.shutdown()
        http.server_close()
