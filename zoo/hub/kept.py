"""Which weights of pixelzoo the Hub's cache holds, and how they are deleted from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.errors import OptionError, WeightsError, unknown
from zoo.hub.config import read_config
from zoo.hub.network import library


@dataclass(frozen=True)
class Kept:
    """One commit of a repository of weights.

    Attributes:
        repo, commit: on the Hub.
        refs: branches and tags that are at this commit, as far as the cache knows.
        model: whose weights they are.
        size: in bytes; files that commits share count for each.
        folder: where.
    """

    repo: str
    commit: str
    refs: tuple[str, ...]
    model: str
    size: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.repo}@{self.commit[:12]}"


def kept() -> list[Kept]:
    """All weights of pixelzoo in the cache, sorted by repository; other repositories are left out."""
    found = []
    for repo in _scanned().repos if _exists() else ():
        for revision in repo.revisions if repo.repo_type == "model" else ():
            try:
                model = read_config(revision.snapshot_path).model
            except WeightsError:
                continue
            refs, folder = tuple(sorted(revision.refs)), revision.snapshot_path
            found.append(Kept(repo.repo_id, revision.commit_hash, refs, model, revision.size_on_disk, folder))
    return sorted(found, key=lambda item: (item.repo, item.commit))


def matching(items: Sequence[Kept], names: Sequence[str]) -> list[Kept]:
    """Those of owner/repo or owner/repo@commit, which may be shortened to 7 digits; "all" is all.

    Raises:
        UnknownNameError: nothing of that name.
        OptionError: a commit too short to be meant.
    """
    chosen: dict[str, Kept] = {}
    for name in names:
        repo, at, commit = name.partition("@")
        if at and len(commit) < 7:
            raise OptionError(f"'{name}': give at least 7 digits of the commit")
        found = [i for i in items if name == "all" or (i.repo == repo and (not at or i.commit.startswith(commit)))]
        if not found and name != "all":
            raise unknown("weights in the cache", name, {item.repo for item in items} | {item.name for item in items})
        chosen |= {item.name: item for item in found}
    return list(chosen.values())


def freed(items: Sequence[Kept]) -> int:
    """How many bytes deleting these gives back: files that remaining commits share stay."""
    return sum(int(strategy.expected_freed_size) for strategy in _strategies(items))


def delete(items: Sequence[Kept]) -> None:
    """Delete these from the cache; bundled weights are no part of it."""
    for strategy in _strategies(items):
        strategy.execute()


def _strategies(items: Sequence[Kept]) -> list[Any]:
    """One for each repository: copies of a repository have commits of the same hash."""
    if not items:
        return []
    scanned, found = _scanned(), []
    for repo in scanned.repos:
        commits = [item.commit for item in items if (item.repo, "model") == (repo.repo_id, repo.repo_type)]
        found.append(replace(scanned, repos=frozenset([repo])).delete_revisions(*commits))
    return found


def _exists() -> bool:
    return Path(library().constants.HF_HUB_CACHE).expanduser().is_dir()


def _scanned() -> Any:
    """The library's view of the cache."""
    hub = library()
    return hub.scan_cache_dir(Path(hub.constants.HF_HUB_CACHE).expanduser())
