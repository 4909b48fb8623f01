"""Clips, pairs and conditions: how folders and tables become examples, and the windows cut from clips."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from zoo import data
from zoo.data import ahead, examples
from zoo.data.threads import alone
from zoo.errors import DataError

CLIP = {"video": (4, 1, 8, 8)}
PAIR = {"image": (3, 8, 8), "condition": (1, 8, 8)}


def frames(folder: Path, n: int, first: int = 0, mode: str = "L", size: tuple[int, int] = (8, 8)) -> Path:
    """n numbered pictures; frame t is of the one value first + t."""
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(n):
        colour = first + t if mode == "L" else (first + t,) * 3
        Image.new(mode, size, colour).save(folder / f"{t}.png")  # 10.png comes after 9.png
    return folder


def values(batch: torch.Tensor) -> list[list[int]]:
    """The one value of each frame: (B, T, C, H, W) to B lists of T."""
    return batch[:, :, 0, 0, 0].tolist()


def cells(folder: Path) -> list[dict[str, Any]]:
    return [{"path": None, "bytes": path.read_bytes()} for path in sorted(folder.iterdir(), key=lambda p: int(p.stem))]


def test_a_folder_of_folders_of_frames(tmp_path: Path) -> None:
    for i in range(20):
        frames(tmp_path / "clips" / f"clip {i}", 12, 10 * i)
    train = data.load(str(tmp_path / "clips"), "train", CLIP)
    held_out = data.load(str(tmp_path / "clips"), "validation", CLIP)
    assert (len(train), len(held_out)) == (19, 1)
    assert train.given == ("video",)
    for i, clip in enumerate(values(train.batch(range(19))["video"])):
        assert clip == list(range(clip[0], clip[0] + 4)), i


def test_folders_above_the_clips_are_classes_or_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("jump", "run"):
            frames(tmp_path / "set" / split / name / "a", 5)
    train = data.load(str(tmp_path / "set"), "train", CLIP)
    test = data.load(str(tmp_path / "set"), "test", CLIP)
    assert train.classes == test.classes == ("jump", "run")
    assert test.batch([0, 1])["label"].tolist() == [0, 1]


def test_animated_pictures_are_clips(tmp_path: Path) -> None:
    stills = [Image.new("L", (8, 8), 20 * t) for t in range(5)]
    for i in range(3):
        stills[0].save(tmp_path / f"{i}.webp", save_all=True, append_images=stills[1:], duration=100, lossless=True)
    train = data.load(str(tmp_path), "train", {"video": (5, 1, 8, 8)})
    assert values(train.batch([0])["video"]) == [[0, 20, 40, 60, 80]]


def test_the_stride_says_which_frames_a_window_has(tmp_path: Path) -> None:
    """Frames 0, 2, 4, 6 from somewhere, not 0, 1, 2, 3: public loaders cut the first frames whatever the stride."""
    for i in range(3):
        frames(tmp_path / f"{i}", 9)
    train = data.load(str(tmp_path), "train", CLIP, stride=2)
    starts = set()
    for place in range(60):
        [window] = values(train.batch([0], [place])["video"])
        assert np.diff(window).tolist() == [2, 2, 2]
        starts.add(window[0])
    assert starts == {0, 1, 2}


def test_a_window_follows_from_seed_and_place(tmp_path: Path) -> None:
    for i in range(3):
        frames(tmp_path / f"{i}", 50)
    first, again, other = (data.load(str(tmp_path), "train", CLIP, seed=seed) for seed in (0, 0, 1))
    places = list(range(20))
    windows = first.batch([0] * 20, places)["video"]
    assert torch.equal(again.batch([0] * 20, places)["video"], windows)
    assert not torch.equal(other.batch([0] * 20, places)["video"], windows)
    assert len({window[0] for window in values(windows)}) > 10
    assert torch.equal(first.batch([1, 0])["video"][1], first.batch([0])["video"][0])  # held out: one window a clip


def test_short_clips_are_left_out_and_counted(tmp_path: Path) -> None:
    for i, n in enumerate((3, 4, 9, 2)):
        frames(tmp_path / "some" / f"{i}", n)
    with pytest.warns(UserWarning, match=r"2 of 3 clips have fewer than the 4 frames of a window \(2 to 3\)|1 of 3"):
        assert 0 < len(data.load(str(tmp_path / "some"), "train", CLIP)) < 3
    frames(tmp_path / "none" / "a", 2)
    frames(tmp_path / "none" / "b", 2)
    with pytest.warns(UserWarning, match="clips"), pytest.raises(DataError, match="none has the 7 frames of a window"):
        data.load(str(tmp_path / "none"), "train", CLIP, stride=2)


def test_frames_of_several_sizes_are_named(tmp_path: Path) -> None:
    frames(tmp_path / "a", 4)
    frames(tmp_path / "b", 4)
    Image.new("L", (9, 8)).save(tmp_path / "b" / "2.png")
    Image.new("L", (9, 8)).save(tmp_path / "a" / "2.png")
    with pytest.raises(DataError, match=r"2.png' holds a picture of 9x8"):
        data.load(str(tmp_path), "train", CLIP)
    assert data.load(str(tmp_path), "train", CLIP, resize=True).batch([0])["video"].shape == (1, 4, 1, 8, 8)


def test_clips_that_do_not_fit_into_memory_give_the_same_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(6):
        frames(tmp_path / f"{i}", 9, 20 * i)
    whole = data.load(str(tmp_path), "train", CLIP)
    monkeypatch.setattr("zoo.data.examples.MEMORY_LIMIT", 700)
    lazy = data.load(str(tmp_path), "train", CLIP)
    assert lazy._decoded is None
    assert len(lazy) == len(whole)
    n = len(whole)
    assert torch.equal(whole.batch(range(n), range(n))["video"], lazy.batch(range(n), range(n))["video"])


def table(tmp_path: Path, n: int = 4, **columns: list[Any]) -> str:
    clip = cells(frames(tmp_path / "png", 10))
    rows: dict[str, list[Any]] = {"frames": [clip] * n, **columns}
    features = {
        name: datasets.List(datasets.Image()) if isinstance(v[0], list) and v[0] and "bytes" in v[0][0] else None
        for name, v in rows.items()
    }
    known = datasets.Dataset.from_dict(rows)
    for name, feature in features.items():
        if feature is not None:
            known = known.cast_column(name, feature)
    known.to_parquet(tmp_path / "clips.parquet")
    return str(tmp_path / "clips.parquet")


def test_all_clips_and_numbers_of_a_row_share_the_window(tmp_path: Path) -> None:
    maps = cells(frames(tmp_path / "maps", 10, 100))
    joints = [[[float(t), 0.5]] for t in range(10)]
    path = table(tmp_path, segmentation=[maps] * 4, joints=[joints] * 4)
    shapes = {"video": (4, 1, 8, 8), "condition": (4, 1, 8, 8), "joints": (4, 1, 2)}
    train = data.load(path, "train", shapes, columns={"condition": "segmentation"}, stride=2)
    batch = train.batch([0, 1], [3, 4])
    for i in range(2):
        [window], [condition] = values(batch["video"][i : i + 1]), values(batch["condition"][i : i + 1])
        assert condition == [100 + value for value in window]
        assert batch["joints"][i, :, 0, 0].tolist() == window
    assert batch["joints"].dtype == torch.float32


def test_a_model_of_pictures_learns_from_single_frames(tmp_path: Path) -> None:
    train = data.load(table(tmp_path), "train", (1, 8, 8))
    seen = {int(train.batch([0], [place])["image"][0, 0, 0, 0]) for place in range(100)}
    assert seen == set(range(10))


def test_columns_are_named_or_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path, action=[0, 1, 0, 1])
    labelled = data.load(path, "train", {**CLIP, "label": ()}, columns={"label": "action"})
    assert labelled.batch(range(3))["label"].shape == (3,)
    for columns, message in (
        ({"condition": "edges"}, "has no column 'edges' for 'condition'; it has: frames, action"),
        ({"condition": "action"}, "has no condition column 'action'; 'action' is no condition"),
        ({}, r"^painter needs 'condition', but .* gives frames \(video\), action \(label\)$"),
    ):
        with pytest.raises(DataError, match=message):
            data.load(path, "train", {**CLIP, "condition": (4, 1, 8, 8)}, columns=columns, who="painter")
    maps = [cells(frames(tmp_path / "maps", 10))] * 4
    path = table(tmp_path, parts=maps, action=[0, 1, 0, 1], pose=maps)
    message = r"action \(label\), pose \(video\); say which it is with --column condition=NAME: parts or pose$"
    with pytest.raises(DataError, match=message):
        data.load(path, "train", {**CLIP, "condition": (4, 1, 8, 8)}, who="painter")


def test_clips_of_a_row_must_be_of_one_length(tmp_path: Path) -> None:
    path = table(tmp_path, pose=[cells(frames(tmp_path / "maps", 9))] * 4)
    with pytest.raises(DataError, match="differ in length: 'video' 10, 'condition' 9 frames"):
        data.load(path, "train", {**CLIP, "condition": (4, 1, 8, 8)}, columns={"condition": "pose"})


def pair(folder: Path, name: str, condition: str, image: str, value: int) -> None:
    for side, mode, level in ((condition, "L", value), (image, "RGB", (value, 0, 0))):
        (folder / side).mkdir(parents=True, exist_ok=True)
        Image.new(mode, (8, 8), level).save(folder / side / name)


@pytest.mark.parametrize(("condition", "image"), [("train/condition", "train/image"), ("trainA", "trainB")])
def test_pairs_lie_in_two_folders_under_one_name(tmp_path: Path, condition: str, image: str) -> None:
    for i in range(12):
        pair(tmp_path, f"{i}.png", condition, image, i)
    train = data.load(str(tmp_path), "train", PAIR)
    batch = train.batch(range(len(train)))
    assert torch.equal(batch["condition"][:, 0, 0, 0], batch["image"][:, 0, 0, 0])
    assert set(train.given) == {"image", "condition"}
    (tmp_path / image / "7.png").rename(tmp_path / image / "seven.png")
    with pytest.raises(DataError, match=r"lacks (7|seven), which the other folder of pairs has"):
        data.load(str(tmp_path), "train", PAIR)


@pytest.mark.parametrize(("pairs", "first"), [("left-right", "condition"), ("right-left", "image")])
def test_pairs_lie_side_by_side_in_one_picture(tmp_path: Path, pairs: str, first: str) -> None:
    for i in range(4):
        whole = Image.new("RGB", (16, 8), "black")
        whole.paste((200, 200, 200), (8, 0, 16, 8))
        whole.save(tmp_path / f"{i}.png")
    shapes = {"image": (3, 8, 8), "condition": (3, 8, 8)}
    batch = data.load(str(tmp_path), "train", shapes, pairs=pairs).batch([0])
    assert batch[first].max() == 0
    assert batch["image" if first == "condition" else "condition"].min() == 200
    with pytest.raises(DataError, match="16x8"):
        data.load(str(tmp_path), "train", (3, 8, 8))


def test_pairs_of_clips(tmp_path: Path) -> None:
    for i in range(4):
        frames(tmp_path / "train" / "condition" / f"{i}", 6, 10 * i)
        frames(tmp_path / "train" / "video" / f"{i}", 6, 100 + 10 * i)
    batch = data.load(str(tmp_path), "train", {**CLIP, "condition": (4, 1, 8, 8)}).batch([0, 1, 2], [0, 1, 2])
    assert torch.equal(batch["video"], batch["condition"] + 100)


def test_a_label_map_keeps_its_ids(tmp_path: Path) -> None:
    """Ids are what a palette's entries are numbered by, and are never mixed by resizing."""
    for i in range(4):
        (tmp_path / "train" / "condition").mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / "image").mkdir(parents=True, exist_ok=True)
        ids = Image.fromarray((np.arange(256).reshape(16, 16) % 2 * 7).astype(np.uint8), "P")
        ids.putpalette([value for k in range(256) for value in (255 - k, k, 0)])
        ids.save(tmp_path / "train" / "condition" / f"{i}.png")
        Image.new("RGB", (16, 16)).save(tmp_path / "train" / "image" / f"{i}.png")
    batch = data.load(str(tmp_path), "train", PAIR, resize=True).batch([0])
    assert set(batch["condition"].unique().tolist()) <= {0, 7}


class Counted:
    """A feed whose state is how far it has been read."""

    def __init__(self) -> None:
        self.read = 0

    def take(self, first: int, count: int) -> dict[str, Any]:
        if first >= 100:
            raise DataError("the end")
        self.read = first + count
        return {"image": torch.arange(first, first + count)}

    def state_dict(self) -> dict[str, Any]:
        return {"read": self.read}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.read = state["read"]


def test_threads_that_read_take_no_others_from_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their operations use one thread; those of this one, and of those that begin afterwards, as many as before."""

    class Counting:
        def take(self, first: int, count: int) -> dict[str, int]:
            return {"threads": torch.get_num_threads()}

        def state_dict(self) -> dict[str, int]:
            return {}

    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        feed = ahead.Ahead(Counting(), step=1)
        assert [feed.take(i, 1)["threads"] for i in range(4)] == [1, 1, 1, 1]
        feed.close()
        monkeypatch.setattr(examples, "THREADED_FROM", 1)
        frames(tmp_path / "clip", 4)
        clips = data.load(str(tmp_path), "train", CLIP, threads=2)
        assert list(clips._map(lambda row: torch.get_num_threads(), range(4))) == [1, 1, 1, 1]
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)


def test_many_threads_that_begin_to_read_at_once_leave_the_others_theirs() -> None:
    usual = torch.get_num_threads()
    try:
        for _ in range(20):
            torch.set_num_threads(2)
            with ThreadPoolExecutor(8, initializer=alone) as pool:
                assert set(pool.map(lambda _: torch.get_num_threads(), range(16))) == {1}
            with ThreadPoolExecutor(1) as later:
                assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)


def test_reading_ahead_changes_neither_batches_nor_state() -> None:
    feed = ahead.Ahead(Counted(), step=8)
    for first in range(0, 40, 8):
        assert feed.take(first, 4)["image"].tolist() == list(range(first, first + 4))
        assert feed.state_dict() == {"read": first + 4}  # not of what lies ahead
    feed.load_state_dict({"read": 12})
    assert feed.state_dict() == {"read": 12}
    assert feed.take(16, 4)["image"].tolist() == [16, 17, 18, 19]
    assert feed.take(88, 4)["image"].tolist() == [88, 89, 90, 91]  # that the end lies ahead is no error yet
    with pytest.raises(DataError, match="the end"):
        feed.take(104, 4)
    feed.close()
