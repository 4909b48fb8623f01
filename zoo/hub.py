"""Weights by name: bundled with the source, in a folder, in the Hub's cache, or on the Hugging Face Hub."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from zoo import cache, card, images, registry
from zoo.checkpoints import write_atomically
from zoo.errors import HubError, OptionError, WeightsError, unknown
from zoo.model import Model
from zoo.network import unreachable
from zoo.plugins import checkout
from zoo.spec import ModelSpec, Weights
from zoo.weights import load_folder, spec_of, verify, write_folder
from zoo.weights_config import CARD, CONFIG, TENSORS, DamagedError, WeightsConfig, digest, one_line, read_config

REPO = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[^\s@]+))?")
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
    """The verified folder of a model's weights, fetched if need be; arguments and errors as of `load`."""
    if weights is None:
        return _use(lambda: _unnamed(str(model)), _known)
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


def _known(folder: Path, pin: Weights | None) -> Path:
    """The verified folder, if it belongs to a registered model."""
    config, path = verify(folder, pin)
    spec_of(config, folder)
    return path.parent


def _use(find: Callable[[], Found], action: Callable[[Path, Weights | None], T]) -> T:
    """`action` on the folder found; a damaged copy in the Hub's cache is thrown away and fetched once more."""
    folder, pin = find()
    try:
        return action(folder, pin)
    except DamagedError as error:
        if not cache.holds(folder):
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
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or Path(text).is_dir():
        return Path(text).expanduser()
    match = REPO.fullmatch(text)
    if not match:
        return None
    try:
        return cache.fetch(match["repo"], match["revision"] or "main")
    except HubError as error:  # a folder is easily misspelt, and then looks like a repository
        raise HubError(f"there is no folder '{text}'; as a repository on the Hub: {error}") from error


def _pinned(spec: ModelSpec, tag: str, pin: Weights) -> Path:
    bundled = _bundled_folder(pin.repo)
    if bundled is not None and _matches(bundled / TENSORS, pin):
        return bundled
    if pin.revision is None:
        where = f"'{bundled}' does not hold them" if bundled else "this is no checkout of the source"
        raise HubError(f"weights '{tag}' of {spec.name} are only bundled with the source, not on the Hub, and {where}")
    return cache.fetch(pin.repo, pin.revision)


def _bundled_folder(repo: str) -> Path | None:
    """Where a checkout of the source has the content of a repository; None outside of one."""
    root = checkout()
    return root / "model_cards" / repo.rpartition("/")[2] if root else None


def _bundled(repo: str) -> Path:
    folder = _bundled_folder(repo)
    if folder is None or not folder.is_dir():
        where = f"there is no '{folder}'" if folder else "this is no checkout of it"
        raise HubError(f"'{repo}' is bundled with the source only, and {where}; take the source of that version")
    return folder


def _matches(path: Path, pin: Weights) -> bool:
    try:
        return path.stat().st_size == pin.size and digest(path) == pin.sha256
    except OSError:
        return False


# Saving and publishing


def save(model: Model, folder: str | Path, *, samples: int = 16, limitations: str | None = None, **info: Any) -> Path:
    """Write a model as a weights folder with its card and a picture of samples; whole or not at all.

    Args:
        samples: how many to show in `samples.png`; 0 for none.
        limitations: text for the card.
        info: `data`, `training`, `metrics`, `licence`, `base_model`, `dtype`, `golden` of `zoo.weights.write_folder`.

    Raises:
        WeightsError: no model of the zoo, or as of `zoo.weights.write_folder`.
    """
    if not isinstance(model, Model) or not hasattr(model, "spec"):
        raise WeightsError("only a model of the zoo can be saved, made with zoo.build or zoo.load")
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
    """Add figures to a weights folder's config and card, in place of older ones of the same name, data and split, and
    of samples of the same features and options.

    The card is written anew; of what was added by hand, its section of limitations stays.

    Raises:
        WeightsError: no weights folder, or one that can't be written.
    """
    folder = Path(folder).expanduser()
    raw = dict(read_config(folder).raw)
    same = ("name", "data", "split", "features", "options")
    merged = {tuple(r.get(key) for key in same): dict(r) for r in (*raw.get("metrics", ()), *receipts)}
    raw["metrics"] = list(merged.values())
    shown = "samples.png" if (folder / "samples.png").is_file() else None
    try:
        kept = card.limitations((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        kept = None
    text = card.render(registry.model_spec(raw["model"]), raw, samples=shown, limitations=kept)
    try:
        write_atomically(folder / CARD, text.encode())
        write_atomically(folder / CONFIG, _config_text(raw))
    except OSError as error:
        raise WeightsError(f"can't write '{folder}': {error.strerror or error}") from None


def _config_text(raw: Mapping[str, Any]) -> bytes:
    return json.dumps(raw, indent=2, ensure_ascii=False).encode()


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


@dataclass(frozen=True)
class Package:
    """A weights folder that is fit to be published, as one commit: `files` by their path in the repository.

    Files with bytes differ from those of the folder, which become the same once they are published.
    """

    folder: Path
    repo: str
    config: WeightsConfig
    files: Mapping[str, Path | bytes]
    title: str


def prepare(folder: str | Path, repo: str, licence: str | None = None) -> Package:
    """A weights folder, checked, as `send` will send it; arguments and errors as of `push`."""
    folder = Path(folder).expanduser()
    match = REPO.fullmatch(repo)
    if not match or match["revision"]:
        raise HubError(f"a repository is named 'owner/name', not {repo!r:.80}")
    licence = card.licence_id(licence) if licence is not None else None
    model = load_folder(folder)
    config = read_config(folder)
    text = _publishable_card(folder, licence)
    shown = card.pictures(text)
    if missing := [name for name in shown if not (folder / name).is_file()]:
        raise WeightsError(f"'{folder / CARD}' can't be published: it shows {missing[0]}, which is not there")
    files: dict[str, Path | bytes] = {name: folder / name for name in (CONFIG, TENSORS, *shown)}
    if licence is not None:
        files[CONFIG] = _config_text({**config.raw, "licence": licence})
    files[CARD] = text.replace(card.PLACE, repo).encode()
    title = f"{model.spec.name}{' on ' + config.raw['data'] if 'data' in config.raw else ''}"
    return Package(folder, repo, config, files, title)


def push(folder: str | Path, repo: str, *, licence: str | None = None, **options: Any) -> Weights:
    """Publish a weights folder as one commit; nothing is sent before it has proved to load.

    Args:
        folder: as `zoo.save` writes it.
        repo: "owner/name" on the Hub; made if there is none.
        licence: of the weights, as the Hub names it ("apache-2.0"), or "other"; goes into config and card. None leaves
            there what they say.
        options: of `send`.

    Returns:
        The pin of what is now at the Hub. Pushing the same content again makes no new commit.

    Raises:
        WeightsError: a folder that does not load, or whose card is not fit to be published, such as one that says no
            licence.
        UnknownNameError: no such licence.
        HubError: the Hub can't be reached or refuses, or holds other weights.
    """
    return send(prepare(folder, repo, licence), **options)


def send(
    package: Package,
    *,
    token: str | None = None,
    private: bool = False,
    revision: str = "main",
    message: str | None = None,
    force: bool = False,
) -> Weights:
    """Publish what `prepare` found fit, without another check; the pin of what is now at the Hub.

    Args:
        package: as `prepare` makes it.
        token: None takes the one of `hf auth login` or HF_TOKEN.
        private: for a new repository.
        revision: branch.
        message: of the commit.
        force: replace other weights that the branch holds already.

    Raises:
        WeightsError: the tensors have changed since `prepare`.
        HubError: the Hub can't be reached or refuses, or holds other weights.
    """
    import huggingface_hub as hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise HubError("can't publish: offline mode is on; unset HF_HUB_OFFLINE")
    token = token or hub.get_token()
    if not token:
        raise HubError("can't publish without a token; log in with 'hf auth login' or set HF_TOKEN")
    if (trouble := unreachable()) is not None:
        raise HubError(f"can't reach {constants.ENDPOINT}: {trouble}; check the network or HF_ENDPOINT")
    operations = [hub.CommitOperationAdd(name, content) for name, content in package.files.items()]
    repo, config, api = package.repo, package.config, hub.HfApi(token=token)
    for operation in operations:  # which has read the file once more
        if operation.path_in_repo == TENSORS and operation.upload_info.sha256.hex() != config.sha256:
            raise WeightsError(f"'{package.folder / TENSORS}' has changed since it was checked; publish it again")
    failed = f"can't publish to '{repo}'"
    with cache.translated(failed, repo, revision):
        there = cache.remote_digest(repo, revision, token)
    if there not in (None, config.sha256) and not force:
        raise HubError(f"{failed}: it holds other weights already, with sha256 {there}; --force replaces them")
    with cache.translated(failed, repo, revision):
        api.create_repo(repo, private=private, exist_ok=True)
        if revision != "main":
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = api.create_commit(repo, operations, commit_message=message or package.title, revision=revision)
    with suppress(OSError):  # the folder then is what the repository holds
        for name, content in package.files.items():
            if isinstance(content, bytes):
                write_atomically(package.folder / name, content)
    summary = str(config.raw.get("data", ""))
    return Weights(repo=repo, revision=commit.oid, sha256=config.sha256, size=config.size, summary=summary)


def _publishable_card(folder: Path, licence: str | None) -> str:
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = one_line(getattr(error, "strerror", None) or error)
        raise WeightsError(f"can't read the card '{folder / CARD}': {reason}; zoo.save writes one") from None
    if licence is not None:
        text = card.with_licence(text, licence)
    if problems := card.validate(text):
        raise WeightsError(f"'{folder / CARD}' can't be published: {one_line('; '.join(problems))}")
    return text


def pin_text(pin: Weights) -> str:
    """The pin as Python, to be pasted into the `weights` of a plugin's ModelSpec."""
    texts = {k: json.dumps(v, ensure_ascii=False) if isinstance(v, str) else v for k, v in vars(pin).items() if v != ""}
    lines = [f"    {name}={text}," for name, text in texts.items()]
    return "\n".join(["Weights(", *lines, ")"])
