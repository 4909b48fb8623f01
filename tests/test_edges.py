"""Edges of emoji: what Canny promises, and pairs that are the same everywhere."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo import data

zoo.models()  # puts plugins/ on the path
from zoo_datasets import edges  # noqa: E402
from zoo_datasets.edges import canny  # noqa: E402


def square(inside: tuple[int, int, int], outside: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    image = np.full((32, 32, 3), outside, np.uint8)
    image[8:24, 8:24] = inside
    return image


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 240, 130), (255, 255, 0)], ids=str)
def test_a_square_has_one_thin_closed_edge(colour: tuple[int, int, int]) -> None:
    """Yellow on white too, which are nearly as bright as each other."""
    found = canny(square(colour))
    assert found[10:22, [7, 8]].sum(1).tolist() == [1] * 12  # one pixel across, left, right, above and below
    assert found[10:22, [23, 24]].sum(1).tolist() == [1] * 12
    assert found[[7, 8], 10:22].sum(0).tolist() == [1] * 12
    assert found[[23, 24], 10:22].sum(0).tolist() == [1] * 12
    assert not found[11:21, 11:21].any()
    assert not found[:6].any()
    outside, frontier = np.zeros((32, 32), bool), {(0, 0)}
    while frontier:  # no way in but through the edge
        y, x = frontier.pop()
        outside[y, x] = True
        near = ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1))
        frontier |= {(a, b) for a, b in near if 0 <= a < 32 and 0 <= b < 32 and not found[a, b] and not outside[a, b]}
    assert not outside[16, 16]


def test_a_turned_picture_has_turned_edges() -> None:
    """In all four directions an edge is as thin; ties go one way, so that counts are compared."""
    image = square((200, 30, 30))
    image[12:30, 4:15] = (20, 20, 220)
    counts = {int(canny(np.rot90(image, turns).copy()).sum()) for turns in range(4)}
    assert max(counts) - min(counts) <= 4


def test_weak_edges_count_where_a_strong_one_goes_on_in_them() -> None:
    image = np.full((32, 64, 3), 255, np.uint8)
    for x in range(64):  # the step between the halves grows from left to right
        image[16:, x] = 255 - round(255 * 0.4 * x / 63)
    weak, whole = np.full((32, 64, 3), 255, np.uint8), canny(image)
    weak[16:] = 255 - round(255 * 0.15)  # everywhere below the stronger threshold: nothing to begin with
    assert not canny(weak).any()
    reached = np.flatnonzero(whole.any(0))
    assert 8 < reached.min() < 16  # where the step passes the weaker threshold, long before the stronger
    assert reached.max() == 63
    assert np.diff(reached).tolist() == [1] * (len(reached) - 1)


def test_flat_pictures_have_no_edges() -> None:
    assert not canny(np.full((16, 16, 3), 77, np.uint8)).any()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A $ZOO_DATA with 140 emoji, rectangles of chance, and edges that hold out eight."""
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(140):
        image = np.full((64, 64, 3), 255, np.uint8)
        top, left = random.integers(4, 30, 2)
        image[top : top + 30, left : left + 30] = random.integers(0, 200, 3)
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        pictures.append({"bytes": file.getvalue(), "path": None})
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    folder = tmp_path / "noto_emoji64" / "data"
    folder.mkdir(parents=True)
    table = datasets.Dataset.from_dict({"image": pictures, "caption": ["x"] * 140}, features=features)
    table.to_parquet(folder / "train-00000-of-00001.parquet")
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(edges, "HELD_OUT", 8)
    return tmp_path


def test_pairs_are_each_emoji_once_beside_its_edges(shelf: Path) -> None:
    model = zoo.build("pix2pix", preset="emoji_edges64", width=8, width_max=8, discriminator_width=8)
    splits = {s: data.load("emoji_edges64", s, model.batch_shapes) for s in ("train", "validation", "test")}
    assert {s: len(part) for s, part in splits.items()} == {"train": 126, "validation": 6, "test": 8}
    seen = [batch for part in splits.values() for batch in part.batches(200)]
    assert len({image.numpy().tobytes() for batch in seen for image in batch["image"]}) == 140
    for batch in seen:
        expected = [canny(image.permute(1, 2, 0).numpy()) for image in batch["image"]]
        assert batch["condition"].unique().tolist() == [0, 1]
        assert torch.equal(batch["condition"][:, 0].bool(), torch.from_numpy(np.stack(expected)))
