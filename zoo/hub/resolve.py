"""Weights by name: bundled with the source, in a folder, in the Hub's cache, or on the Hugging Face Hub."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from zoo import registry
from zoo.errors import HubError, OptionError, WeightsError, unknown
from zoo.files import digest
from zoo.hub import cache
from zoo.hub.config import TENSORS, DamagedError, read_config
from zoo.hub.read import load_folder, spec_of, verify
from zoo.model import Model
from zoo.plugins import checkout
from zoo.spec import REPO_AT, ModelSpec, Weights

T = TypeVar("T")
Found = tuple[Path, Weights | None]


def load(name: str | Path, weights: str | Path | None = None, device: str = "auto") -> Model:
    """A pretrained model, in evaluation mode.

    Args:
        name: a registered model, as `zoo.models()` lists them; or, in place of both names, "owner/repo[@revision]" or
            a folder, whose config says which model it is.
        weights: a tag of the model's spec, a folder, or "owner/repo[@revision]" on the Hub.
        device: "cpu", "cuda", or "auto" for CUDA where there is a device.

    Raises:
        UnknownNameError: unknown model or tag.
        OptionError: a model without its weights.
        WeightsError: weights that are missing, damaged, or made for another model, or whose plugin is not installed.
        HubError: the Hub can't be reached or refuses, and the weights are not in the cache.
    """
    if not isinstance(name, str | Path):
        raise OptionError(f"zoo.load takes the name of a model, or where its weights are, not {name!r:.80}")
    if weights is None:
        return _use(lambda: _unnamed(name), lambda folder, pin: load_folder(folder, pin=pin, device=device))
    spec = registry.model_spec(str(name))
    return _use(
        lambda: resolve(spec, weights), lambda folder, pin: load_folder(folder, expect=spec, pin=pin, device=device)
    )


def download(model: ModelSpec | str, weights: str | Path | None = None) -> Path:
    """The verified folder of a model's weights, fetched if need be; arguments and errors as of `load`, except that a
    repository or a folder needs no plugin: without it, there is a warning."""
    if weights is None:
        folder = _use(lambda: _unnamed(str(model)), _verified)
        try:
            spec_of(read_config(folder), folder)
        except WeightsError as error:
            warnings.warn(str(error), stacklevel=2)
        return folder
    spec = registry.model_spec(model) if isinstance(model, str) else model
    return _use(lambda: resolve(spec, weights), _verified)


def at_commit(repo: str, revision: str | None, pin: Weights | None = None) -> Path:
    """The verified folder of one commit of a repository; of no commit, what is bundled with the source.

    Raises:
        WeightsError: damaged.
        HubError: not to be had.
    """
    return _use(lambda: (_bundled(repo) if revision is None else cache.fetch(repo, revision), pin), _verified)


def _verified(folder: Path, pin: Weights | None) -> Path:
    return verify(folder, pin)[1].parent


def _use(find: Callable[[], Found], action: Callable[[Path, Weights | None], T]) -> T:
    """`action` on the folder found; a copy in the Hub's cache that was damaged there is thrown away and fetched once
    more."""
    folder, pin = find()
    try:
        return action(folder, pin)
    except DamagedError as error:
        if not cache.holds(folder) or cache.is_as_sent(folder):
            raise
        cache.forget(folder)
        try:
            folder, pin = find()
        except HubError as offline:
            raise WeightsError(f"{error}; the damaged copy was removed from the cache, but {offline}") from None
        return action(folder, pin)


def resolve(spec: ModelSpec, weights: str | Path) -> Found:
    """The folder that `weights` stands for, fetched if need be but not yet verified; and its pin if it is a tag.

    Raises:
        UnknownNameError: neither a tag nor a folder nor "owner/repo[@revision]".
        WeightsError: a folder that may not be looked into.
        HubError: not to be had.
    """
    if isinstance(weights, str) and weights in spec.weights:
        pin = spec.weights[weights]
        return _pinned(spec, weights, pin), pin
    folder = _elsewhere(weights)
    if folder is None:
        raise unknown(
            f"weights of {spec.name}", str(weights), spec.weights, "(a folder or 'owner/repo[@revision]' will do too)"
        )
    return folder, None


def at_hand(spec: ModelSpec, weights: str) -> Path | None:
    """The folder of a tag, bundled or in the cache, or of a path; None if it would have to be fetched.

    Raises:
        UnknownNameError: neither a tag nor a folder.
    """
    if (pin := spec.weights.get(weights)) is not None:
        bundled = _bundled_folder(pin.repo)
        return bundled if bundled.is_dir() else cache.cached(pin.repo, pin.revision or "main")
    if Path(weights).is_dir():
        return Path(weights)
    raise unknown(f"weights of {spec.name}", weights, spec.weights, "(or give a folder)")


def _unnamed(source: str | Path) -> Found:
    """As `resolve`, of a source that must itself say which model it holds."""
    folder = None if source in registry.plugins().owners else _elsewhere(source)
    source = str(source)
    if folder is None and ("/" in source or "@" in source):
        raise OptionError(f"'{source}' is neither a folder nor owner/repo nor owner/repo@revision")
    if folder is None:
        tags = ", ".join(sorted(registry.model_spec(source).weights)) or "none yet"
        raise OptionError(f"say which weights of {source} ({tags}; a folder or 'owner/repo[@revision]' will do too)")
    return folder, None


def _elsewhere(source: str | Path) -> Path | None:
    """The folder of "owner/repo[@revision]" or of a path; None for a text that is neither."""
    text = str(source)
    try:
        is_folder = Path(text).is_dir()
    except OSError as error:  # no permission, or a name that is too long
        raise WeightsError(f"can't look for '{text}': {error.strerror or error}") from None
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or is_folder:
        return Path(text).expanduser()
    match = REPO_AT.fullmatch(text)
    if not match:
        return None
    try:
        return cache.fetch(match["repo"], match["revision"] or "main")
    except HubError as error:  # a folder is easily misspelt, and then looks like a repository
        raise HubError(f"there is no folder '{text}'; as a repository on the Hub: {error}") from error


def _pinned(spec: ModelSpec, tag: str, pin: Weights) -> Path:
    bundled = _bundled_folder(pin.repo)
    if _matches(bundled / TENSORS, pin):
        return bundled
    if pin.revision is None:
        where = f"'{bundled}' does not hold them"
        raise HubError(f"weights '{tag}' of {spec.name} are only bundled with the source, not on the Hub, and {where}")
    return cache.fetch(pin.repo, pin.revision)


def _bundled_folder(repo: str) -> Path:
    """Where the content of a repository would be that came with the source or with the wheel."""
    return (checkout() or Path(__file__).parent.parent) / "model_cards" / repo.rpartition("/")[2]


def _bundled(repo: str) -> Path:
    folder = _bundled_folder(repo)
    if not folder.is_dir():
        mend = "take the source of that version"
        raise HubError(f"'{repo}' is bundled with the source only, and there is no '{folder}'; {mend}")
    return folder


def _matches(path: Path, pin: Weights) -> bool:
    try:
        return path.stat().st_size == pin.size and digest(path) == pin.sha256
    except OSError:
        return False
