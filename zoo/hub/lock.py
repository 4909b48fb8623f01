"""Lock files: which weights exactly, by commit and sha256, so that another machine or another year gets the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from zoo import hub, registry
from zoo.errors import OptionError, WeightsError, one_line, unknown
from zoo.files import digest, write_atomically
from zoo.hub import cache
from zoo.hub.config import CONFIG, FORMAT, TENSORS, mismatch, strict_json, wrong_format
from zoo.spec import REPO, REPO_AT, REVISION, SHA256, Weights
from zoo.version import __version__

_LOCK = {"format": int, "zoo_version": str, "weights": list}
_WEIGHTS = {"name": str, "repo": str, "revision": (str, NoneType), "files": dict}
_FILES = {CONFIG: dict, TENSORS: dict}
_FILE = {"sha256": str, "size": int}


@dataclass(frozen=True)
class Locked:
    """One set of weights.

    Attributes:
        name: "model:tag" or "owner/repo[@revision]", as it was asked for.
        repo: "owner/name" on the Hub.
        revision: full commit hash, or None for weights that are only bundled with the source.
        files: name -> {"sha256", "size"}.
    """

    name: str
    repo: str
    revision: str | None
    files: Mapping[str, Mapping[str, Any]]


def lock(names: Sequence[str] = ()) -> list[Locked]:
    """What these names stand for now, downloaded and verified.

    Args:
        names: "model" for all its weights, "model:tag", or "owner/repo[@revision]"; none for all pinned weights.

    Raises:
        UnknownNameError: unknown model or tag.
        WeightsError, HubError: weights that are damaged or not to be had.
    """
    found: dict[tuple[str, str | None], Locked] = {}
    for name in names or [spec.name for spec in registry.models() if spec.weights]:
        for label, repo, revision, pin in _meant(name):
            folder = hub.at_commit(repo, revision, pin)
            files = {file: _facts(folder / file) for file in _FILES}
            found.setdefault((repo, revision), Locked(label, repo, revision, files))
    return list(found.values())


def _meant(name: str) -> Iterator[tuple[str, str, str | None, Weights | None]]:
    """Label, repository, commit and pin of all weights that a name stands for."""
    if match := REPO_AT.fullmatch(name):
        yield name, match["repo"], cache.commit(match["repo"], match["revision"] or "main"), None
        return
    model, _, tag = name.partition(":")
    spec = registry.model_spec(model)
    if not spec.weights:
        raise OptionError(f"{model} has no pretrained weights to lock")
    if tag and tag not in spec.weights:
        raise unknown(f"weights of {model}", tag, spec.weights)
    for each in [tag] if tag else spec.weights:
        pin = spec.weights[each]
        yield f"{model}:{each}", pin.repo, pin.revision, pin


def _facts(path: Path) -> dict[str, Any]:
    return {"sha256": digest(path), "size": path.stat().st_size}


def write(locked: Sequence[Locked], path: str | Path) -> None:
    """Write a lock file, whole or not at all; raises WeightsError."""
    content = {"format": FORMAT, "zoo_version": __version__, "weights": [asdict(item) for item in locked]}
    try:
        write_atomically(Path(path), (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        raise WeightsError(f"can't write '{path}': {error.strerror or error}") from None


def read(path: str | Path) -> list[Locked]:
    """The content of a lock file.

    Raises:
        WeightsError: there is none, or it has unknown keys or values of a wrong type.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"can't read '{path}': {error.strerror or error}; 'zoo lock' writes one") from None
    raw = strict_json(content, str(path))
    if problem := _problem(raw):
        raise WeightsError(f"'{path}' is no lock file of pixelzoo: {one_line(problem)}")
    return [Locked(**item) for item in raw["weights"]]


def _problem(raw: Any) -> str | None:
    """What is wrong with a parsed lock file, or None."""
    if problem := wrong_format(raw, _LOCK):
        return problem
    for i, item in enumerate(raw["weights"]):
        where = f"weights[{i}]"
        if problem := mismatch(where, item, _WEIGHTS) or mismatch(f"{where}.files", item["files"], _FILES):
            return problem
        if not REPO.fullmatch(item["repo"]):
            return f"{where}.repo must be owner/name, not {item['repo']!r:.60}"
        if item["revision"] is not None and not REVISION.fullmatch(item["revision"]):
            return f"{where}.revision must be a full commit hash or null, not {item['revision']!r:.60}"
        for name, facts in item["files"].items():
            if problem := mismatch(f"{where}.files['{name}']", facts, _FILE):
                return problem
            if not SHA256.fullmatch(facts["sha256"]) or facts["size"] < 0:
                return f"{where}.files['{name}'] must have a sha256 of 64 hexadecimal digits, and a size"
    return None


def matching(found: Sequence[Locked], name: str) -> list[Locked]:
    """What of a lock file "model:tag" means, or "owner/repo" with any revision or the one that is asked for."""
    match = REPO_AT.fullmatch(name)
    same_repo = [item for item in found if match and item.repo == match["repo"]]
    return [item for item in found if item.name == name] or [
        item for item in same_repo if match and match["revision"] in (None, item.revision)
    ]


def locked(path: str | Path, name: str) -> Locked:
    """What a lock file says of "model:tag", or of "owner/repo" with any revision or the one that is asked for.

    Raises:
        OptionError: it says nothing of it.
        WeightsError: as of `read`.
    """
    found = read(path)
    if meant := matching(found, name):
        return meant[0]
    names = ", ".join(item.name for item in found) or "nothing"
    raise OptionError(f"'{path}' does not lock '{name}', but {names}; 'zoo lock' writes another")


def download(locked: Locked) -> Path:
    """The folder of exactly these weights, fetched if the cache does not hold them.

    A branch that was locked is afterwards at this commit for whoever is offline.

    Raises:
        WeightsError: a file differs from the lock.
        HubError: not to be had.
    """
    folder = hub.at_commit(locked.repo, locked.revision)
    for name, expected in locked.files.items():
        found = _facts(folder / name)
        for what in ("size", "sha256"):
            if found[what] != expected[what]:
                raise WeightsError(
                    f"'{folder / name}' is not what is locked as {locked.name}: {what} {expected[what]} is expected, "
                    f"{found[what]} found"
                )
    match = REPO_AT.fullmatch(locked.name)
    if match and locked.revision is not None:
        cache.point(folder, match["revision"] or "main")
    return folder
