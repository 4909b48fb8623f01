"""Weights by name: bundled with the source, in a folder, in the Hub's cache, or on the Hugging Face Hub.

`huggingface_hub` is imported only where the cache or the Hub is needed, so bundled weights load without it. Its
settings (`HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`) work as everywhere.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from zoo import card, images, registry
from zoo.checkpoints import write_atomically
from zoo.errors import HubError, OptionError, WeightsError, unknown
from zoo.model import Model
from zoo.network import unreachable
from zoo.plugins import checkout
from zoo.spec import REVISION, ModelSpec, Weights
from zoo.weights import digest, load_folder, verify, write_folder
from zoo.weights_config import CARD, CONFIG, TENSORS, DamagedError, one_line, read_config

REPO = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[^\s@]+))?")
T = TypeVar("T")


def load(name: str, weights: str | Path, device: str = "auto") -> Model:
    """A pretrained model, in evaluation mode.

    Args:
        name: a registered model, as `zoo.models()` lists them.
        weights: a tag of the model's spec, a folder, or "owner/repo[@revision]" on the Hub.
        device: "cpu", "cuda", or "auto" for CUDA where there is a device.

    Raises:
        UnknownNameError: unknown model or tag.
        WeightsError: weights that are missing, damaged, or made for another model.
        HubError: the Hub can't be reached or refuses, and the weights are not in the cache.
    """
    spec = registry.model_spec(name)
    return _use(spec, weights, lambda folder, pin: load_folder(folder, expect=spec, pin=pin, device=device))


def download(model: ModelSpec | str, weights: str | Path) -> Path:
    """The verified folder of a model's weights, fetched if need be; arguments and errors as of `load`."""
    spec = registry.model_spec(model) if isinstance(model, str) else model
    return _use(spec, weights, lambda folder, pin: verify(folder, pin)[1].parent)


def _use(spec: ModelSpec, source: str | Path, action: Callable[[Path, Weights | None], T]) -> T:
    """`action` on the resolved folder; a damaged copy in the Hub's cache is thrown away and fetched once more."""
    folder, pin = resolve(spec, source)
    try:
        return action(folder, pin)
    except DamagedError as error:
        if not _in_cache(folder):
            raise
        _forget(folder)
        try:
            folder, pin = resolve(spec, source)
        except HubError as offline:
            raise WeightsError(f"{error}; the damaged copy was removed from the cache, but {offline}") from None
        return action(folder, pin)


def resolve(spec: ModelSpec, weights: str | Path) -> tuple[Path, Weights | None]:
    """The folder that `weights` stands for, fetched if need be but not yet verified; and its pin if it is a tag.

    Raises:
        UnknownNameError: neither a tag nor a folder nor "owner/repo[@revision]".
        HubError: not to be had.
    """
    if isinstance(weights, str) and weights in spec.weights:
        pin = spec.weights[weights]
        return _pinned(spec, weights, pin), pin
    text = str(weights)
    if isinstance(weights, Path) or text.startswith((".", "/", "~")) or Path(text).is_dir():
        return Path(text).expanduser(), None
    match = REPO.fullmatch(text)
    if not match:
        raise unknown(
            f"weights of {spec.name}", text, spec.weights, "(a folder or 'owner/repo[@revision]' will do too)"
        )
    try:
        return _fetch(match["repo"], match["revision"] or "main"), None
    except HubError as error:  # a folder is easily misspelt, and then looks like a repository
        raise HubError(f"there is no folder '{text}'; as a repository on the Hub: {error}") from error


def _pinned(spec: ModelSpec, tag: str, pin: Weights) -> Path:
    root = checkout()
    bundled = root / "model_cards" / pin.folder_name if root else None
    if bundled is not None and _matches(bundled / TENSORS, pin):
        return bundled
    if pin.revision is None:
        where = f"'{bundled}' does not hold them" if bundled else "this is no checkout of the source"
        raise HubError(f"weights '{tag}' of {spec.name} are only bundled with the source, not on the Hub, and {where}")
    return _fetch(pin.repo, pin.revision)


def _matches(path: Path, pin: Weights) -> bool:
    try:
        return path.stat().st_size == pin.size and digest(path) == pin.sha256
    except OSError:
        return False


# The cache and the Hub


def _fetch(repo: str, revision: str) -> Path:
    """The folder of `config.json` and `model.safetensors` of one commit, in the cache of the Hub."""
    import huggingface_hub as hub
    from huggingface_hub import constants

    full = REVISION.fullmatch(revision) is not None
    cached = _cached(repo, revision)
    if cached is not None and (full or constants.HF_HUB_OFFLINE):
        return cached
    missing = f"'{repo}' at {revision[:12]} is not in the cache '{constants.HF_HUB_CACHE}'"
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"{missing}, and offline mode is on; unset HF_HUB_OFFLINE to download it")
    if (trouble := unreachable()) is not None:
        if cached is not None:
            return cached
        raise HubError(f"can't reach {constants.ENDPOINT}: {trouble}; {missing}; check the network or HF_ENDPOINT")
    with _translated(f"can't download '{repo}'", repo, revision):
        folder = Path(hub.hf_hub_download(repo, CONFIG, revision=revision)).parent
        return Path(hub.hf_hub_download(repo, TENSORS, revision=folder.name)).parent


def _cached(repo: str, revision: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    with suppress(ValueError, OSError):
        paths = [try_to_load_from_cache(repo, name, revision=revision) for name in (CONFIG, TENSORS)]
        if all(isinstance(path, str) for path in paths):
            return Path(str(paths[0])).parent
    return None


def _in_cache(folder: Path) -> bool:
    if folder.parent.name != "snapshots":
        return False
    from huggingface_hub import constants

    return folder.resolve().is_relative_to(Path(constants.HF_HUB_CACHE).expanduser().resolve())


def _forget(folder: Path) -> None:
    """Remove the two files of a snapshot from the cache: the links and what they lead to."""
    root = folder.parent.parent.resolve()
    for name in (CONFIG, TENSORS):
        path = folder / name
        while path.parent.resolve().is_relative_to(root):
            target = path.parent / os.readlink(path) if path.is_symlink() else None
            with suppress(OSError):
                path.unlink()
            if target is None:
                break
            path = target


@contextmanager
def _translated(what: str, repo: str, revision: str) -> Iterator[None]:
    """Whatever huggingface_hub raises, as a HubError of one line with the mend."""
    try:
        yield
    except Exception as error:  # it raises its own types, those of its HTTP client, and built-in ones
        raise HubError(f"{what}: {_reason(error, repo, revision)}") from error


def _reason(error: BaseException, repo: str, revision: str) -> str:
    from huggingface_hub import constants, errors

    cause, at = error.__cause__, constants.ENDPOINT
    login = "log in with 'hf auth login' or set HF_TOKEN"
    wrapped = isinstance(error, errors.LocalEntryNotFoundError | RuntimeError | ValueError)
    if wrapped and isinstance(cause, errors.HfHubHTTPError):
        return _reason(cause, repo, revision)
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if isinstance(error, errors.GatedRepoError):
        return f"the repository is gated; accept its terms at {at}/{repo}, then {login}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no such repository at {at}, or it is private; check the name, or {login}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision '{revision}'"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return f"{at} does not answer as it should ({one_line(cause or error, 160)}); try again later"
    if isinstance(error, errors.EntryNotFoundError):
        return f"it has no {CONFIG} or no {TENSORS} at {revision}, so it holds no weights of pixelzoo"
    if status == 401:
        return f"the Hub does not accept the token; {login}"
    if status == 403:
        return f"the token may not do that; {login} with the right to write to '{repo.partition('/')[0]}'"
    if status == 429 or status >= 500:
        return f"{at} answers {status}; try again later"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: '{error.filename or constants.HF_HUB_CACHE}'"
    return one_line(error, 200) or type(error).__name__


# Saving and publishing


def save(model: Model, folder: str | Path, *, samples: int = 16, limitations: str | None = None, **info: Any) -> Path:
    """Write a model as a weights folder with its card and a picture of samples; whole or not at all.

    Args:
        samples: how many to show in `samples.png`; 0 for none.
        limitations: text for the card.
        info: `data`, `training`, `metrics`, `licence`, `dtype`, `golden` of `zoo.weights.write_folder`.

    Raises:
        WeightsError: a full disk, a folder that can't be written, or what a config can't hold.
    """
    picture = _samples(model, samples)
    shown = "samples.png" if picture else None
    return write_folder(
        model,
        folder,
        card=lambda config: card.render(model.spec, config, samples=shown, limitations=limitations),
        files={"samples.png": picture} if picture else {},
        **info,
    )


def record(folder: str | Path, receipts: Sequence[Mapping[str, Any]]) -> None:
    """Add figures to a weights folder's config and card, in place of older ones of the same name, data and split.

    Raises:
        WeightsError: no weights folder, or one that can't be written.
    """
    folder = Path(folder).expanduser()
    raw = dict(read_config(folder).raw)
    merged = {(r["name"], r["data"], r["split"]): dict(r) for r in (*raw.get("metrics", ()), *receipts)}
    raw["metrics"] = list(merged.values())
    shown = "samples.png" if (folder / "samples.png").is_file() else None
    text = card.render(registry.model_spec(raw["model"]), raw, samples=shown)
    try:
        write_atomically(folder / CARD, text.encode())
        write_atomically(folder / CONFIG, json.dumps(raw, indent=2, ensure_ascii=False).encode())
    except OSError as error:
        raise WeightsError(f"can't write '{folder}': {error.strerror or error}") from None


def _samples(model: Model, n: int) -> bytes | None:
    """A PNG of n samples, of clips their first frames; None for a model that samples only from inputs, or codes."""
    try:
        drawn = model.sample(n, seed=0) if n else None
    except OptionError:
        return None
    if drawn is None:
        return None
    frames = drawn[:, 0] if model.spec.is_video else drawn
    if frames.shape[1] not in (1, 3) or model.levels > 256:
        return None
    content = io.BytesIO()
    images.to_pil(images.grid(images.to_bytes(frames, model.levels))).save(content, "PNG")
    return content.getvalue()


def push(
    folder: str | Path,
    repo: str,
    *,
    token: str | None = None,
    private: bool = False,
    revision: str = "main",
    message: str | None = None,
) -> Weights:
    """Publish a weights folder as one commit; nothing is sent before it has proved to load.

    Args:
        folder: as `zoo.save` writes it.
        repo: "owner/name" on the Hub; made if there is none.
        token: None takes the one of `hf auth login` or HF_TOKEN.
        private: for a new repository.
        revision: branch.
        message: of the commit.

    Returns:
        The pin of what is now at the Hub. Pushing the same content again makes no new commit.

    Raises:
        WeightsError: a folder that does not load, or whose card is not fit to be published.
        HubError: the Hub can't be reached or refuses.
    """
    folder = Path(folder).expanduser()
    match = REPO.fullmatch(repo)
    if not match or match["revision"]:
        raise HubError(f"a repository is named 'owner/name', not {repo!r:.80}")
    model = load_folder(folder)
    config = read_config(folder)
    readme = _publishable_card(folder).replace(card.PLACE, repo)
    import huggingface_hub as hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise HubError("can't publish: offline mode is on; unset HF_HUB_OFFLINE")
    token = token or hub.get_token()
    if not token:
        raise HubError("can't publish without a token; log in with 'hf auth login' or set HF_TOKEN")
    if (trouble := unreachable()) is not None:
        raise HubError(f"can't reach {constants.ENDPOINT}: {trouble}; check the network or HF_ENDPOINT")
    names = [CONFIG, TENSORS, *sorted(path.name for path in folder.glob("samples.*") if path.is_file())]
    operations = [hub.CommitOperationAdd(name, folder / name) for name in names]
    operations.append(hub.CommitOperationAdd(CARD, readme.encode()))
    api = hub.HfApi(token=token)
    with _translated(f"can't publish to '{repo}'", repo, revision):
        api.create_repo(repo, private=private, exist_ok=True)
        if revision != "main":
            api.create_branch(repo, branch=revision, exist_ok=True)
        title = message or f"{model.spec.name}{' on ' + config.raw['data'] if 'data' in config.raw else ''}"
        commit = api.create_commit(repo, operations, commit_message=title, revision=revision)
    with suppress(OSError):  # the folder then is what the repository holds
        write_atomically(folder / CARD, readme.encode())
    summary = str(config.raw.get("data", ""))
    return Weights(repo=repo, revision=commit.oid, sha256=config.sha256, size=config.size, summary=summary)


def _publishable_card(folder: Path) -> str:
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = one_line(getattr(error, "strerror", None) or error)
        raise WeightsError(f"can't read the card '{folder / CARD}': {reason}; zoo.save writes one") from None
    if problems := card.validate(text):
        raise WeightsError(f"'{folder / CARD}' can't be published: {one_line('; '.join(problems))}")
    return text


def pin_text(pin: Weights) -> str:
    """The pin as Python, to be pasted into the `weights` of a plugin's ModelSpec."""
    texts = {k: json.dumps(v, ensure_ascii=False) if isinstance(v, str) else v for k, v in vars(pin).items() if v != ""}
    lines = [f"    {name}={text}," for name, text in texts.items()]
    return "\n".join(["Weights(", *lines, ")"])
