"""`zoo cache`: what the Hub's cache holds of ours, and what deleting takes away; on a cache made on the spot."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

import zoo
from zoo import hub
from zoo.cli import main
from zoo.errors import WeightsError
from zoo.hub.config import CONFIG, TENSORS

A, B = "a" * 40, "b" * 40


@pytest.fixture
def shelf(tmp_path: Path, tiny: zoo.Model, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two commits of one repository, which share their tensors, one of another, and a stranger's
    with a commit of the same hash."""
    folder, weights = tmp_path / "hub", tmp_path / "weights"
    weights.mkdir()
    zoo.save(tiny, weights)
    for repo, commit in (("me/digits", A), ("me/digits", B), ("you/digits", A[::-1].replace("a", "c"))):
        root = folder / f"models--{repo.replace('/', '--')}"
        snapshot = root / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (root / "blobs").mkdir(exist_ok=True)
        (root / "refs").mkdir(exist_ok=True)
        for name, blob in ((CONFIG, f"config-{commit}"), (TENSORS, "tensors")):
            shutil.copy(weights / name, root / "blobs" / blob)
            (snapshot / name).symlink_to(Path("../../blobs") / blob)
    (folder / "models--me--digits" / "refs" / "main").write_text(B)
    other = folder / "models--them--text" / "snapshots" / A
    other.mkdir(parents=True)
    (other / "config.json").write_text('{"architectures": ["Bert"]}')
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: str, code: int = 0) -> str:
        assert main(["cache", *arguments]) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return run


def listed(run: Callable[..., str]) -> list[str]:
    return [f"{row['repo']}@{row['commit'][:7]}" for row in json.loads(run("--json"))]


def test_weights_of_the_zoo_are_listed_with_sizes(shelf: Path, run: Callable[..., str]) -> None:
    rows: list[dict[str, Any]] = json.loads(run("--json"))
    assert [(row["repo"], row["commit"], row["refs"]) for row in rows[:2]] == [
        ("me/digits", A, []),
        ("me/digits", B, ["main"]),
    ]
    assert len(rows) == 3
    for row in rows:
        files = [(Path(row["folder"]) / name).resolve() for name in (CONFIG, TENSORS)]
        assert row["size"] == sum(file.stat().st_size for file in files)
        assert row["model"] == "pixelcnn"
    text = run()
    assert "me/digits@aaaaaaaaaaaa" in text
    assert "them/text" not in text


def test_deleting_a_commit_keeps_what_another_shares(shelf: Path, run: Callable[..., str]) -> None:
    config = (shelf / "models--me--digits" / "blobs" / f"config-{A}").stat().st_size
    assert json.loads(run("--delete", f"me/digits@{A[:7]}", "--yes", "--json")) == {
        "deleted": ["me/digits@aaaaaaaaaaaa"],
        "freed": config,
    }
    assert listed(run) == ["me/digits@bbbbbbb", "you/digits@ccccccc"]
    assert (shelf / "models--me--digits" / "snapshots" / B / TENSORS).resolve().is_file()


def test_a_repository_goes_whole_and_all_spares_strangers(shelf: Path, run: Callable[..., str]) -> None:
    assert "deleted 2 sets of weights" in run("--delete", "me/digits", "--yes")
    assert listed(run) == ["you/digits@ccccccc"]
    assert "deleted 1 set of weights" in run("--delete", "all", "--yes")
    assert run() == "no weights were downloaded\n"
    assert [path.name for path in shelf.glob("models--*")] == ["models--them--text"]


def test_nothing_is_deleted_unasked(shelf: Path, run: Callable[..., str]) -> None:
    assert "say --yes" in run("--delete", "all", code=2)
    assert "at least 7 digits" in run("--delete", "me/digits@aaa", "--yes", code=2)
    assert "did you mean 'me/digits'?" in run("--delete", "me/digit", "--yes", code=2)
    assert len(listed(run)) == 3


def test_there_may_be_no_cache_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., str]) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    assert run("--json") == "[]\n"
    assert "deleted 0 sets of weights" in run("--delete", "all", "--yes")


@pytest.mark.parametrize("damaged", [False, True])
def test_a_copy_that_is_as_the_hub_sent_it_is_kept(
    damaged: bool, tmp_path: Path, tiny: zoo.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of a later version are no damage: an older zoo that shares the cache must not delete them."""
    weights = zoo.save(tiny, tmp_path / "weights")
    raw = json.loads((weights / CONFIG).read_text())
    (weights / CONFIG).write_text(json.dumps({**raw, "format": 2}))
    root = tmp_path / "hub" / "models--me--later"
    snapshot = root / "snapshots" / A
    snapshot.mkdir(parents=True)
    (root / "blobs").mkdir()
    for name in (CONFIG, TENSORS):
        content = (weights / name).read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        blob = root / "blobs" / (git if name == CONFIG else hashlib.sha256(content).hexdigest())
        blob.write_bytes(content[:-1] if damaged and name == TENSORS else content)
        (snapshot / name).symlink_to(blob)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    said = "later than 1; update pixelzoo" + ("; the damaged copy was removed" if damaged else "$")
    with pytest.raises(WeightsError, match=said):
        hub.load("pixelcnn", weights=f"me/later@{A}")
    assert len(list(snapshot.iterdir())) == (0 if damaged else 2)
