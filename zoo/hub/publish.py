"""Publishing a weights folder as one commit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import registry
from zoo.errors import HubError, WeightsError, one_line
from zoo.files import write_atomically
from zoo.hub import cache, card
from zoo.hub.config import CARD, CONFIG, TENSORS, WeightsConfig, read_config
from zoo.hub.network import endpoint, library, unreachable
from zoo.hub.read import load_folder
from zoo.spec import REPO, Weights


def record(folder: str | Path, receipts: Sequence[Mapping[str, Any]]) -> None:
    """Add figures to a weights folder's config and card, in place of older ones of the same name, data and split, and
    of samples of the same features, options and precision.

    The card is written anew; of what was added by hand, its section of limitations and its pictures stay.

    Raises:
        WeightsError: no weights folder, or one that can't be written.
    """
    folder = Path(folder).expanduser()
    raw = dict(read_config(folder).raw)
    same = ("name", "data", "split", "features", "options", "samples", "precision")
    merged = {tuple(r.get(key) for key in same): dict(r) for r in (*raw.get("metrics", ()), *receipts)}
    raw["metrics"] = list(merged.values())
    try:
        before = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        before = ""
    names = dict.fromkeys(("samples.gif", "samples.png", "reconstructions.png", *card.pictures(before)))
    shown = [name for name in names if (folder / name).is_file()]
    spec = registry.model_spec(raw["model"])
    text = card.render(spec, raw, samples=shown, limitations=card.limitations(before))
    for tag, pin in spec.weights.items():
        if pin.sha256 == raw.get("weights", {}).get("sha256"):  # weights with a name are told by it
            text = text.replace(card.PLACE, tag)
    try:
        write_atomically(folder / CARD, text.encode())
        write_atomically(folder / CONFIG, _config_text(raw))
    except OSError as error:
        raise WeightsError(f"can't write '{folder}': {error.strerror or error}") from None


def _config_text(raw: Mapping[str, Any]) -> bytes:
    return json.dumps(raw, indent=2, ensure_ascii=False).encode()


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
    if not REPO.fullmatch(repo):
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
    hub = library()
    if hub.constants.HF_HUB_OFFLINE:
        raise HubError("can't publish: offline mode is on; unset HF_HUB_OFFLINE")
    token = token or hub.get_token()
    if not token:
        raise HubError("can't publish without a token; log in with 'hf auth login' or set HF_TOKEN")
    if (trouble := unreachable()) is not None:
        raise HubError(f"can't reach {endpoint()}: {trouble}; check the network or HF_ENDPOINT")
    operations = [hub.CommitOperationAdd(name, content) for name, content in package.files.items()]
    repo, config, api = package.repo, package.config, hub.HfApi(token=token)
    for operation in operations:  # which has read the file once more
        if operation.path_in_repo == TENSORS and operation.upload_info.sha256.hex() != config.sha256:
            raise WeightsError(f"'{package.folder / TENSORS}' has changed since it was checked; publish it again")
    failed = f"can't publish to '{repo}'"
    with cache.translated(failed, repo, revision):
        there, head = cache.remote_head(repo, revision, token)
    if there not in (None, config.sha256) and not force:
        raise HubError(f"{failed}: it holds other weights already, with sha256 {there}; --force replaces them")
    with cache.translated(failed, repo, revision):
        api.create_repo(repo, private=private, exist_ok=True)
        if revision != "main":
            api.create_branch(repo, branch=revision, exist_ok=True)
        title = message or package.title
        # On the commit that was looked at, so that nothing published since is replaced.
        commit = api.create_commit(repo, operations, commit_message=title, revision=revision, parent_commit=head)
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
