"""Moving MNIST: made of digits, the same everywhere, and what is known of how its digits move."""

from __future__ import annotations

import hashlib
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo import data
from zoo.errors import DataError

zoo.models()  # puts plugins/ on the path
from zoo_datasets import moving_mnist  # noqa: E402
from zoo_datasets.moving_mnist import clip  # noqa: E402

SQUARE = np.full((1, 28, 28), 200, np.uint8)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A $ZOO_DATA whose MNIST is grey squares, darker ones in its test split, and a set of few clips of them."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    for split, count, level in (("train", 5002, 200), ("test", 2, 100)):
        rows = {"image": [Image.new("L", (28, 28), level)] * count, "label": [0] * count}
        (tmp_path / "mnist" / "data").mkdir(parents=True, exist_ok=True)
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(tmp_path / "mnist" / "data" / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(moving_mnist, "CLIPS", {"train": 40, "test": 3})
    return tmp_path


def corners(frames: np.ndarray) -> np.ndarray:
    """Where the one square of each frame begins, (T, 2): top and left."""
    return np.array([[np.flatnonzero(frame.max(axis))[0] for axis in (1, 0)] for frame in frames])


def test_digits_move_straight_and_are_reflected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one digit a clip: 3.6 pixels a frame between the borders, which it reaches and never passes."""
    monkeypatch.setattr(moving_mnist, "DIGITS", 1)
    reached = set()
    for index in range(50):
        places = corners(clip(SQUARE, "train", index))
        assert places.min() >= 0
        assert places.max() <= 36
        reached |= set(places.flatten().tolist())
        steps = np.abs(np.diff(places, axis=0))
        inside = ((places > 3) & (places < 33)).all(1)
        for t in np.flatnonzero(inside[:-1] & inside[1:]):
            assert abs(np.hypot(*steps[t]) - 3.6) < 1.5  # places are whole pixels
    assert reached == set(range(37))


def test_where_digits_overlap_the_brighter_pixel_is_seen() -> None:
    digits = np.stack([np.full((28, 28), level, np.uint8) for level in (100, 200)])
    for index in range(20):
        frames = clip(digits, "train", index)
        assert set(np.unique(frames)) <= {0, 100, 200}
        assert ((frames > 0).sum((1, 2)) <= 2 * 28 * 28).all()
        assert ((frames > 0).sum((1, 2)) >= 28 * 28).all()
        assert not (frames == 200).any() or ((frames == 200).sum((1, 2)) >= 28 * 28).all()  # nothing lies on it


def test_a_clip_follows_from_split_and_number() -> None:
    """The same on every machine: the digits, where they begin and where they go are pinned."""
    digits = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (10, 28, 28), np.uint8)
    found = [clip(digits, split, index) for split, index in (("train", 0), ("train", 1), ("test", 0))]
    assert [f.shape for f in found] == [(20, 64, 64)] * 3
    assert len({f.tobytes() for f in found}) == 3
    assert np.array_equal(clip(digits, "train", 1), found[1])
    pinned = [hashlib.sha256(f.tobytes()).hexdigest()[:8] for f in found]
    assert pinned == ["adb42ce8", "473aa786", "3739453b"]


def test_it_is_a_data_set_like_any_other(shelf: Path) -> None:
    train, test = (data.load("moving_mnist", split, {"video": (16, 1, 64, 64)}) for split in ("train", "test"))
    assert (len(train), len(test)) == (38, 3)  # a twentieth is held out
    assert len(data.load("moving_mnist", "validation", {"video": (16, 1, 64, 64)})) == 2
    video = test.batch([0, 1])["video"]
    assert (video.shape, video.dtype) == ((2, 16, 1, 64, 64), torch.uint8)
    assert set(video.unique().tolist()) == {0, 100}  # of digits that training never sees
    assert set(train.batch([0])["video"].unique().tolist()) == {0, 200}
    small = data.load("moving_mnist", "test", {"video": (20, 1, 32, 32)}).batch([0])["video"]
    whole = torch.from_numpy(clip(np.full((2, 28, 28), 100, np.uint8), "test", 0))
    assert (small[0, :, 0].float() - torch.nn.functional.avg_pool2d(whole.float(), 2)).abs().max() <= 1


def test_without_mnist_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="mnist"):
        data.load("moving_mnist", "train", {"video": (16, 1, 64, 64)})
