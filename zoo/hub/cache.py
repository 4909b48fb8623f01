"""The Hub's cache on this disk, and how a commit gets there.

`huggingface_hub` is imported only where it is needed, so bundled weights load without it. Its settings
(`HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`) work as everywhere.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import HubError, discreet
from zoo.files import digest, write_atomically
from zoo.hub.config import CONFIG, TENSORS
from zoo.hub.network import endpoint, library, unreachable
from zoo.spec import REVISION

STALE_SECONDS = 600  # a download that still runs writes far more often


def fetch(repo: str, revision: str) -> Path:
    """The folder of `config.json` and `model.safetensors` of one commit, in the cache of the Hub."""
    hub = library()
    constants = hub.constants
    full = REVISION.fullmatch(revision) is not None
    here = cached(repo, revision)
    if here is not None and (full or constants.HF_HUB_OFFLINE):
        return here
    missing = f"'{repo}' at {revision[:12]} is not in the cache '{constants.HF_HUB_CACHE}'"
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"{missing}, and offline mode is on; unset HF_HUB_OFFLINE to download it")
    if (trouble := unreachable()) is not None:
        if here is not None:
            return here
        raise HubError(f"can't reach {endpoint()}: {trouble}; {missing}; check the network or HF_ENDPOINT")
    with translated(f"can't download '{repo}'", repo, revision):
        if here is None:  # else a Hub in trouble leaves us what we have
            # Asked once before, since the downloads try again for minutes, or as long as a busy server asks.
            hub.get_hf_file_metadata(hub.hf_hub_url(repo, CONFIG, revision=revision))
        folder = Path(hub.hf_hub_download(repo, CONFIG, revision=revision)).parent
        folder = Path(hub.hf_hub_download(repo, TENSORS, revision=folder.name)).parent
    _sweep(folder.parent.parent / "blobs")
    return folder


def commit(repo: str, revision: str = "main") -> str:
    """The full hash of what a branch or tag is at the Hub now; raises HubError."""
    if REVISION.fullmatch(revision):
        return revision
    hub = library()
    constants = hub.constants
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"can't ask for the commit of '{repo}': offline mode is on; give it as '{repo}@COMMIT'")
    if (trouble := unreachable()) is not None:
        raise HubError(f"can't reach {endpoint()}: {trouble}; check the network, or give '{repo}@COMMIT'")
    with translated(f"can't find '{repo}'", repo, revision):
        return str(hub.HfApi().model_info(repo, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT).sha)


def remote_head(repo: str, revision: str, token: str | None) -> tuple[str | None, str | None]:
    """sha256 of the tensors that a branch holds at the Hub now, and its commit; None of what there is none."""
    hub = library()
    errors = hub.errors
    try:
        found = hub.get_hf_file_metadata(hub.hf_hub_url(repo, TENSORS, revision=revision), token=token)
        return str(found.etag), found.commit_hash  # the etag of a large file is its sha256
    except errors.EntryNotFoundError as error:
        response = getattr(error, "response", None)
        return None, response and response.headers.get(hub.constants.HUGGINGFACE_HEADER_X_REPO_COMMIT)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        return None, None


def cached(repo: str, revision: str) -> Path | None:
    """The folder of a commit or branch in the cache of the Hub; None if it is not there."""
    hub = library()
    with suppress(ValueError, OSError):
        paths = [hub.try_to_load_from_cache(repo, name, revision=revision) for name in (CONFIG, TENSORS)]
        if all(isinstance(path, str) for path in paths):
            return Path(str(paths[0])).parent
    return None


def holds(folder: Path) -> bool:
    """Whether a folder is a snapshot in the cache."""
    if folder.parent.name != "snapshots":
        return False
    return folder.resolve().is_relative_to(Path(library().constants.HF_HUB_CACHE).expanduser().resolve())


def point(folder: Path, branch: str) -> None:
    """Let the cache say that a branch is at the commit of a snapshot, as if it had been asked for by that name."""
    refs = folder.parent.parent / "refs"
    path = refs / branch
    if REVISION.fullmatch(branch) or not holds(folder) or not path.resolve().is_relative_to(refs.resolve()):
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, folder.name.encode())


def is_as_sent(folder: Path) -> bool:
    """Whether the two files of a snapshot are what the Hub sent: their blobs are named by git's sha1, those of large
    files by sha256. What is wrong with such files, another copy does not mend."""
    try:
        return all(path.name in (_git_sha1(path), digest(path)) for path in map(Path.resolve, _files(folder)))
    except OSError:
        return False


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in (CONFIG, TENSORS)]


def _git_sha1(path: Path) -> str:
    found = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def forget(folder: Path) -> None:
    """Remove the two files of a snapshot from the cache: the links and what they lead to."""
    root = folder.parent.parent.resolve()
    for path in _files(folder):
        while path.parent.resolve().is_relative_to(root):
            target = path.parent / os.readlink(path) if path.is_symlink() else None
            with suppress(OSError):
                path.unlink()
            if target is None:
                break
            path = target


def _sweep(blobs: Path) -> None:
    """Remove what killed downloads left behind."""
    for part in blobs.glob("*.incomplete"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE_SECONDS:
                part.unlink()


@contextmanager
def translated(what: str, repo: str, revision: str) -> Iterator[None]:
    """Whatever huggingface_hub raises, as a HubError of one line with the mend."""
    constants = library().constants
    try:
        yield
    except Exception as error:  # it raises its own types, those of its HTTP client, and built-in ones
        secret = "@" in constants.ENDPOINT  # then a traceback must not show the error itself either
        raise HubError(discreet(f"{what}: {_reason(error, repo, revision)}")) from (None if secret else error)


def _reason(error: BaseException, repo: str, revision: str) -> str:
    constants, errors = library().constants, library().errors
    cause, at = error.__cause__, endpoint()
    login = "log in with 'hf auth login' or set HF_TOKEN"
    wrapped = isinstance(error, errors.LocalEntryNotFoundError | RuntimeError | ValueError)
    if wrapped and isinstance(cause, errors.HfHubHTTPError):
        return _reason(cause, repo, revision)
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if isinstance(error, UnicodeEncodeError):
        return f"the token has characters that no token has; {login}"
    if isinstance(error, errors.GatedRepoError):
        return f"the repository is gated; accept its terms at {at}/{repo}, then {login}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no such repository at {at}, or it is private; check the name, or {login}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision '{revision}'"
    if isinstance(error, errors.LocalEntryNotFoundError) or type(error).__module__.startswith("httpx"):
        return f"{at} does not answer as it should ({discreet(cause or error, 160)}); try again later"
    if isinstance(error, errors.EntryNotFoundError):
        return f"it has no {CONFIG} or no {TENSORS} at {revision}, so it holds no weights of pixelzoo"
    if status == 401:
        return f"the Hub does not accept the token; {login}"
    if status == 403:
        return f"the token may not do that; {login} with the right to write to '{repo.partition('/')[0]}'"
    if status == 412:
        return f"somebody else has published to {revision} meanwhile; look at what it holds now, and publish again"
    if status == 429 or status >= 500:
        return f"{at} answers {status}; try again later"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: '{error.filename or constants.HF_HUB_CACHE}'"
    return discreet(error, 200) or type(error).__name__
