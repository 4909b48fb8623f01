"""Fixtures shared by the suite: no network, no user's cache or data, tiny models and pictures made on the spot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import zoo

# Tiny models gain nothing from threads, which on a busy machine wait for each other many times longer than they work.
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).parent))  # for helpers such as hub_server


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the user's data, plugins switched off by name, or strictness."""
    for name in ("ZOO_DATA", "ZOO_DISABLE", "ZOO_STRICT"):
        monkeypatch.delenv(name, raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` say why they are skipped."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and there is none"))


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def tiny() -> zoo.Model:
    """The tiny PixelCNN with fixed random weights, (1, 8, 8) pictures of 4 levels."""
    torch.manual_seed(0)
    return zoo.build("pixelcnn", preset="tiny").eval()


def write_pictures(folder: Path, n: int, size: tuple[int, int] = (8, 8), mode: str = "L") -> Path:
    """A folder of n random PNGs of (width, height) `size`; a stripe whose place depends on the number is bright."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    for i in range(n):
        image = torch.randint(0, 80, (size[1], size[0], 3), generator=generator)
        image[:, i % size[0]] = 255
        array = image.to(torch.uint8).numpy()
        Image.fromarray(array).convert(mode).save(folder / f"{i:04d}.png")
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of 40 grey 8x8 PNGs."""
    return write_pictures(tmp_path / "pictures", 40)
