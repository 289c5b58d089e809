"""A local Hugging Face Hub on the loopback interface; the real client uses it if HF_ENDPOINT names it."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """Repositories by `owner/name`, each with a folder per revision, served both as models and as data sets.

    `fetched` records the (repository, file) pairs that were sent.
    """

    repositories: dict[str, dict[str, Path]] = field(default_factory=dict)
    fetched: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def add(self, repository: str, folder: Path, revision: str = "main") -> str:
        """Serve `folder` as a revision of the repository; returns its commit."""
        self.repositories.setdefault(repository, {})[revision] = folder
        return commit_of(folder)

    def environment(self, home: Path) -> dict[str, str]:
        """The environment in which a process uses this hub, with `home` as its cache."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def folder(self, repository: str, revision: str) -> Path | None:
        """The files of a revision, which may be a branch, a tag or a commit."""
        revisions = self.repositories.get(repository, {})
        commits = {commit_of(folder): folder for folder in revisions.values()}
        return revisions.get(revision) or commits.get(revision)


def commit_of(folder: Path) -> str:
    """A commit of forty hex digits, computed from the folder's path."""
    return hashlib.sha1(str(folder).encode(), usedforsecurity=False).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub while the context lasts."""
    hub = Hub()

    class Handler(_Handler):
        def __init__(self, *args: object) -> None:
            self.hub = hub
            super().__init__(*args)  # type: ignore[arg-type]

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        match parts[1:] if parts[0] == "datasets" else parts:
            case ["api", "models" | "datasets", owner, name]:
                self._info(f"{owner}/{name}", "main", with_body)
            case ["api", "models" | "datasets", owner, name, "revision", revision]:
                self._info(f"{owner}/{name}", revision, with_body)
            case ["api", "models" | "datasets", owner, name, "tree", revision]:
                self._tree(f"{owner}/{name}", revision, with_body)
            case ["api", "datasets", _, _, "tree", _, *_]:
                self._refuse("EntryNotFound", with_body)  # listing subfolders of data sets is not supported
            case [owner, name, "resolve", revision, *path]:
                self._file(f"{owner}/{name}", revision, "/".join(path), with_body)
            case _:
                self._refuse("RepoNotFound", with_body)

    def _info(self, repository: str, revision: str, with_body: bool) -> None:
        folder = self._folder(repository, revision, with_body)
        if folder is not None:
            siblings = [{"rfilename": name} for name in _names(folder)]
            info = {"_id": "0", "id": repository, "modelId": repository, "sha": commit_of(folder), "siblings": siblings}
            self._json({**info, "private": False, "gated": False, "disabled": False, "tags": []}, with_body)

    def _tree(self, repository: str, revision: str, with_body: bool) -> None:
        folder = self._folder(repository, revision, with_body)
        if folder is not None:
            sizes = {name: (folder / name).stat().st_size for name in _names(folder)}
            entries = [{"type": "file", "oid": "0" * 40, "size": size, "path": name} for name, size in sizes.items()]
            self._json(entries, with_body)

    def _file(self, repository: str, revision: str, name: str, with_body: bool) -> None:
        folder = self._folder(repository, revision, with_body)
        if folder is None:
            return
        if name not in _names(folder):
            self._refuse("EntryNotFound", with_body)
            return
        content = (folder / name).read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit_of(folder)}
        if with_body:
            self.hub.fetched.append((repository, name))
        self._send(HTTPStatus.OK, content, headers, with_body)

    def _folder(self, repository: str, revision: str, with_body: bool) -> Path | None:
        folder = self.hub.folder(repository, revision)
        if folder is None:
            known = repository in self.hub.repositories
            self._refuse("RevisionNotFound" if known else "RepoNotFound", with_body)
        return folder

    def _refuse(self, code: str, with_body: bool) -> None:
        self._send(HTTPStatus.NOT_FOUND, b"{}", {"X-Error-Code": code, "X-Error-Message": code}, with_body)

    def _json(self, content: object, with_body: bool) -> None:
        self._send(HTTPStatus.OK, json.dumps(content).encode(), {"Content-Type": "application/json"}, with_body)

    def _send(self, status: HTTPStatus, content: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
