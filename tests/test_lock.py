"""A lock file says exactly which weights, and `zoo download --locked` gives these or nothing."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hub_server
import pytest
from test_hub import one_line_error, run, serve

import zoo
from zoo import hub, registry
from zoo.cli import main
from zoo.errors import HubError, OptionError, UnknownNameError, WeightsError
from zoo.hub import lock
from zoo.hub.config import read_config
from zoo.spec import ModelSpec, Weights

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def bundled(tmp_path: Path, tiny: zoo.Model, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights "test" of PixelCNN, bundled with a checkout of their own."""
    folder = zoo.save(tiny, tmp_path / "model_cards" / "tiny", samples=0)
    config = read_config(folder)
    pin = Weights(repo="me/tiny", revision=None, sha256=config.sha256, size=config.size)
    spec: ModelSpec = dataclasses.replace(tiny.spec, weights={"test": pin})
    monkeypatch.setattr(registry.owner(spec), "models", [spec])
    monkeypatch.setattr(registry, "models", lambda: [spec])
    monkeypatch.setattr("zoo.hub.resolve.checkout", lambda: tmp_path)
    return folder


def test_bundled_weights_are_locked_by_their_content(bundled: Path, tmp_path: Path) -> None:
    [locked] = lock.lock()
    assert [locked] == lock.lock(["pixelcnn"]) == lock.lock(["pixelcnn:test", "pixelcnn"])
    assert (locked.name, locked.repo, locked.revision) == ("pixelcnn:test", "me/tiny", None)
    assert {name: facts["size"] for name, facts in locked.files.items()} == {
        name: (bundled / name).stat().st_size for name in ("config.json", "model.safetensors")
    }
    lock.write([locked], tmp_path / "zoo.lock")
    raw = json.loads((tmp_path / "zoo.lock").read_text())
    assert (raw["format"], raw["zoo_version"]) == (1, zoo.__version__)
    assert lock.read(tmp_path / "zoo.lock") == [locked]
    assert lock.download(locked) == bundled


def test_what_differs_is_named_with_both_values(bundled: Path) -> None:
    [locked] = lock.lock()
    path = bundled / "config.json"
    text = path.read_text()
    path.write_text(text + " ")
    one_line_error(
        WeightsError, lambda: lock.download(locked), str(path), f"size {len(text)} is", f"{len(text) + 1} found"
    )
    path.write_text(text.replace('"seed": 0', '"seed": 1'))
    expected = locked.files["config.json"]["sha256"]
    one_line_error(WeightsError, lambda: lock.download(locked), str(path), f"sha256 {expected} is expected", "found")
    path.write_text(text)
    assert lock.download(locked) == bundled
    path.unlink()
    one_line_error(WeightsError, lambda: lock.download(locked), "there is no config.json")
    gone = dataclasses.replace(locked, repo="me/gone")
    one_line_error(HubError, lambda: lock.download(gone), "bundled with the source only", "there is no")


def test_names_that_can_not_be_locked(bundled: Path) -> None:
    one_line_error(UnknownNameError, lambda: lock.lock(["pixlecnn"]), "did you mean 'pixelcnn'?")
    one_line_error(UnknownNameError, lambda: lock.lock(["pixelcnn:tset"]), "did you mean 'test'?")
    registry.owner(registry.model_spec("pixelcnn")).models[0] = dataclasses.replace(
        registry.model_spec("pixelcnn"), weights={}
    )
    one_line_error(OptionError, lambda: lock.lock(["pixelcnn"]), "no pretrained weights")


def set_file(key: str, value: Any) -> Change:
    return lambda raw: raw["weights"][0]["files"]["config.json"].update({key: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.update(extra=1), "unknown key 'extra' in it"),
        (lambda raw: raw.pop("zoo_version"), "key 'zoo_version' is missing in it"),
        (lambda raw: raw.update(format=2), "later than 1; update pixelzoo"),
        (lambda raw: raw.update(format=0), "format must be 1"),
        (lambda raw: raw.update(format=True), "'format' in it must be of type int, not True"),
        (lambda raw: raw.update(weights={}), "'weights' in it must be of type list"),
        (lambda raw: raw["weights"].append(7), "weights[1] must be an object, not 7"),
        (lambda raw: raw["weights"][0].update(url="http://x"), "unknown key 'url' in weights[0]"),
        (lambda raw: raw["weights"][0].update(revision=3), "'revision' in weights[0] must be of type str or null"),
        (lambda raw: raw["weights"][0].update(revision="main"), "must be a full commit hash or null, not 'main'"),
        (lambda raw: raw["weights"][0].update(repo="../../etc"), "repo must be owner/name"),
        (lambda raw: raw["weights"][0]["files"].update({"../x": {}}), "unknown key '../x' in weights[0].files"),
        (lambda raw: raw["weights"][0]["files"].pop("config.json"), "key 'config.json' is missing"),
        (set_file("size", "9"), "'size' in weights[0].files['config.json'] must be of type int, not '9'"),
        (set_file("size", -1), "and a size"),
        (set_file("sha256", "abc"), "a sha256 of 64 hexadecimal digits"),
    ],
)
def test_a_lock_file_that_is_none(change: Change, words: str, bundled: Path, tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    lock.write(lock.lock(), path)
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    one_line_error(WeightsError, lambda: lock.read(path), f"'{path}' is no lock file of pixelzoo", words)


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1, "format": 1}', b"\xff", b"[" * 100_000, b"[]", b"null"])
def test_a_lock_file_of_other_bytes(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    path.write_bytes(content)
    one_line_error(WeightsError, lambda: lock.read(path), str(path))


def test_the_verbs(
    bundled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["lock"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["pixelcnn:test", "me/tiny", "bundled"]
    assert main(["lock", "pixelcnn:test", "-o", "other.lock", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "pixelcnn:test"
    assert Path("other.lock").read_bytes() == Path("zoo.lock").read_bytes()
    assert main(["download", "--locked", "zoo.lock", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "pixelcnn:test", "folder": str(bundled)}]
    for arguments, words in (
        ("download", "needs a MODEL, owner/repo[@revision], or --locked FILE"),
        ("download pixelcnn --locked zoo.lock", "leave out MODEL"),
        ("download --locked none.lock", "can't read 'none.lock': No such file or directory; 'zoo lock' writes one"),
        ("lock -o none/zoo.lock", "can't write 'none/zoo.lock'"),
        ("lock pixlecnn -o new.lock", "did you mean 'pixelcnn'?"),
    ):
        assert main(arguments.split()) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert words in err
    assert sorted(path.name for path in tmp_path.glob("*.lock")) == ["other.lock", "zoo.lock"]


def scenario_hub(folder: Path) -> None:
    """Branches become commits, which a machine with an empty cache gets too, without the plugin, and offline later."""
    with hub_server.running() as server:
        os.environ |= server.environment(folder / "home")
        from huggingface_hub import constants

        saved = hub.save(zoo.build("pixelcnn", preset="tiny"), folder / "weights", samples=0)
        first = serve(server, saved, "me/tiny")
        by_commit, by_branch = lock.lock([f"me/tiny@{first}", "me/tiny"]), lock.lock(["me/tiny@main"])
        assert [locked.revision for locked in (*by_commit, *by_branch)] == [first, first]
        lock.write(by_commit, folder / "zoo.lock")

        newer = hub.save(zoo.build("pixelcnn", preset="tiny"), folder / "newer", samples=0)
        files = {path.name: path.read_bytes() for path in newer.iterdir()}
        second = server.repos["models/me/tiny"].add("main", "second", files)
        assert [locked.revision for locked in lock.lock(["me/tiny"])] == [second]
        one_line_error(HubError, lambda: lock.lock(["me/none"]), "can't find 'me/none'", "no such repository")
        one_line_error(HubError, lambda: lock.lock(["me/tiny@v9"]), "no revision 'v9'")

        constants.HF_HUB_CACHE = str(folder / "elsewhere")
        code = main(["download", "--locked", str(folder / "zoo.lock")])
        assert code == 0
        [locked] = lock.read(folder / "zoo.lock")
        cached = lock.download(locked)
        assert cached.is_relative_to(folder / "elsewhere")
        assert cached.name == first
        assert (cached / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()

        # What the branch is elsewhere, and was here, does not count: offline it is at the locked commit.
        assert zoo.hub.download("me/tiny").name == second
        lock.download(locked)
        lock.write([dataclasses.replace(by_commit[0], name="me/tiny")], folder / "branch.lock")
        assert main(["download", "--locked", str(folder / "branch.lock")]) == 0
        constants.HF_HUB_OFFLINE = True
        assert zoo.hub.download("me/tiny").name == first
        assert zoo.hub.download("pixelcnn", "me/tiny").name == first
        for name in ("me/tiny", f"me/tiny@{first}"):
            assert lock.download(lock.locked(folder / "branch.lock", name)).name == first
        constants.HF_HUB_OFFLINE = False
        for name in ("me/tiny@v2", "me/other", "pixelcnn:mnist"):
            one_line_error(
                OptionError,
                lambda name=name: lock.locked(folder / "branch.lock", name),
                f"does not lock '{name}', but me/tiny",
            )
        for branch in ("../../../outside", "/tmp/outside"):  # a lock file of a stranger writes nothing elsewhere
            lock.download(dataclasses.replace(locked, name=f"me/tiny@{branch}"))
        assert not list(folder.rglob("outside"))

        # A lock that is wrong is an error, and costs nobody a good copy.
        wrong = {**locked.files, "model.safetensors": {**locked.files["model.safetensors"], "sha256": "0" * 64}}
        one_line_error(
            WeightsError,
            lambda: lock.download(dataclasses.replace(locked, files=wrong)),
            f"sha256 {'0' * 64} is expected",
        )
        before = len(server.requests)
        assert lock.download(locked) == cached
        assert len(server.requests) == before
        (cached / "model.safetensors").resolve().write_bytes(b"junk")
        assert lock.download(locked) == cached  # fetched again
    constants.HF_HUB_OFFLINE = True
    assert lock.download(locked) == cached
    assert lock.lock([f"me/tiny@{first}"]) == by_commit
    one_line_error(HubError, lambda: lock.lock(["me/tiny"]), "offline mode is on; give it as 'me/tiny@COMMIT'")


def test_repositories_are_locked_to_commits_and_reproduced(tmp_path: Path) -> None:
    run("hub", tmp_path, module="test_lock")
