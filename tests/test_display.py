"""`zoo.show` and `zoo.save_images` give what `zoo sample` writes, and bars are drawn for people alone."""

from __future__ import annotations

import base64
import io
import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo import media
from zoo.cli import main
from zoo.errors import OptionError
from zoo.media import video


@pytest.fixture(scope="module")
def mocogan() -> zoo.Model:
    torch.manual_seed(0)
    return zoo.build("mocogan", preset="tiny").eval()


def pixels(file: Any) -> torch.Tensor:
    with Image.open(file) as picture:
        return media.from_pil(picture, 3)


OUTS = ("all.png", "each/", "{:02d}.png", "a.webp", "values.npy", "values.npz")


@pytest.mark.parametrize(
    ("name", "out"), [*((name, out) for name in ("pixelcnn", "mocogan") for out in OUTS), ("mocogan", "a.gif")]
)
def test_files_are_those_of_the_command_line(tmp_path: Path, name: str, out: str) -> None:
    torch.manual_seed(0)
    model = zoo.build(name, preset="tiny").eval()
    for folder in ("weights", "ours", "theirs"):
        (tmp_path / folder).mkdir()
    zoo.save(model, tmp_path / "weights")
    scale, enlarged = (1, []) if out.startswith("values") else (2, ["--scale", "2"])  # arrays are of the model's pixels
    flags = ["--weights", str(tmp_path / "weights"), "--device", "cpu", "--seed", "3", "-n", "4", *enlarged]
    assert main(["sample", name, *flags, "-o", f"{tmp_path / 'theirs'}/{out}"]) == 0
    drawn = model.sample(4, seed=3)
    written = zoo.save_images(drawn, f"{tmp_path / 'ours'}/{out}", model, scale=scale)
    theirs = sorted(path for path in (tmp_path / "theirs").rglob("*.*") if path.suffix != ".jsonl")
    assert [path.relative_to(tmp_path / "ours") for path in written] == [
        path.relative_to(tmp_path / "theirs") for path in theirs
    ]
    for our, their in zip(written, theirs, strict=True):
        if our.suffix in (".npy", ".npz"):
            both = [np.load(path) for path in (our, their)]
            values = [one["samples"] if our.suffix == ".npz" else one for one in both]
            assert np.array_equal(*values)
            assert torch.equal(torch.from_numpy(values[0]), drawn)
        else:
            assert torch.equal(video.read_clip(our, 3), video.read_clip(their, 3))


def test_a_picture_shows_the_grid_with_all_levels_spread(tiny: zoo.Model) -> None:
    images = tiny.sample(4, seed=1)
    shown = zoo.show(images, tiny, columns=2, scale=3)
    expected = media.grid(media.to_bytes(images, tiny.levels), 2).expand(3, -1, -1)
    png = shown._repr_png_()
    assert png is not None
    assert shown._repr_html_() is None
    assert torch.equal(pixels(io.BytesIO(png))[:, 1::3, 1::3], expected)
    assert repr(shown) == "<4 pictures of 8x8 pixels>"


def test_a_clip_shows_an_animation_at_the_rate_of_the_model(mocogan: zoo.Model, tmp_path: Path) -> None:
    clips = mocogan.sample(2, frames=5)
    shown = zoo.show(clips, mocogan)
    html = shown._repr_html_()
    assert html is not None
    assert shown._repr_png_() is None
    found = re.fullmatch(r'<img alt="2 clips of 5 frames of 8x8 pixels" src="data:image/gif;base64,(.*)">', html)
    assert found is not None
    file = tmp_path / "shown.gif"
    file.write_bytes(base64.b64decode(found[1]))
    assert len(video.read_clip(file, 3)) == 5
    assert video.clip_fps(file) == pytest.approx(mocogan.fps, rel=0.01)
    assert video.clip_fps(zoo.save_images(clips, tmp_path / "fast.gif", mocogan, fps=25)[0]) == pytest.approx(25)


def test_small_pictures_are_enlarged_and_large_ones_are_not() -> None:
    assert zoo.show(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).scale == 8
    assert zoo.show(torch.zeros(16, 3, 28, 28, dtype=torch.uint8)).scale == 3
    assert zoo.show(torch.zeros(3, 1024, 1024, dtype=torch.uint8)).scale == 1


def test_one_picture_and_arrays_of_numpy_will_do(tmp_path: Path) -> None:
    array = np.arange(64, dtype=np.int64).reshape(1, 8, 8)
    [file] = zoo.save_images(array, tmp_path)
    assert file == tmp_path / "00000.png"
    assert torch.equal(pixels(file), torch.from_numpy(array).to(torch.uint8).expand(3, -1, -1))


@pytest.mark.parametrize(
    ("images", "path", "message"),
    [
        (torch.zeros(2, 1, 8, 8), "a.png", "not torch.float32"),
        (torch.zeros(8, 8, dtype=torch.uint8), "a.png", "not (8, 8)"),
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), "a.png", "not (0, 1, 8, 8)"),
        (torch.zeros(2, 4, 8, 8, dtype=torch.uint8), "a.png", "with 1 or 3 channels"),
        (torch.full((2, 1, 8, 8), 4, dtype=torch.uint8), "a.png", "pixelcnn have values 0 to 3, not 4 to 4"),
        (torch.full((2, 1, 8, 8), -1), "a.png", "not -1 to -1"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "a.gif", "images[None]"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "a.docx", "'.docx' is no picture format"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "none/a.png", "there is no folder"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "", "path of the pictures is empty"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    tiny: zoo.Model, tmp_path: Path, images: torch.Tensor, path: str, message: str
) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        zoo.save_images(images, tmp_path / path if path else "", tiny)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"fps": -3}, "option 'fps' takes a number from 0.1 to 1000.0, not -3"),
        ({"fps": 0}, "from 0.1 to 1000.0, not 0"),
        ({"fps": math.nan}, "not nan"),
        ({"fps": math.inf}, "not inf"),
        ({"fps": "a"}, "not 'a'"),
        ({"fps": [10]}, "not [10]"),
        ({"columns": 0}, "option 'columns' takes an integer of at least 1, not 0"),
        ({"columns": 2.5}, "not 2.5"),
        ({"columns": "a"}, "not 'a'"),
        ({"scale": 65}, "option 'scale' takes an integer from 1 to 64, not 65"),
        ({"scale": 1.5}, "not 1.5"),
        ({"scale": "a"}, "not 'a'"),
        ({"images": "a.png"}, "pictures are an array of torch or NumPy, not 'a.png'"),
    ],
)
def test_wrong_arguments_are_one_line_and_leave_nothing(tmp_path: Path, how: dict[str, Any], message: str) -> None:
    arguments = {"images": torch.zeros(2, 3, 3, 8, 8, dtype=torch.uint8), **how}
    for write in (
        lambda: zoo.show(**arguments).save(tmp_path / "a.mp4"),
        lambda: zoo.save_images(path="", **arguments),
    ):
        with pytest.raises(OptionError, match=re.escape(message)):
            write()
    assert not list(tmp_path.iterdir())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(tiny: zoo.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        drawn = tiny.sample(4, batch_size=1, progress=True)
        tiny.sample(1, progress=False)
        assert torch.equal(drawn, tiny.sample(4))
        assert ("sampling pixelcnn: 100%" in stream.getvalue()) == stream.isatty()


def test_a_notebook_gets_a_bar_though_its_stderr_is_no_terminal(
    tiny: zoo.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = type("ZMQInteractiveShell", (), {"config": {}})()
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": staticmethod(lambda: shell)}))
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    tiny.sample(2, progress=True)
    assert "sampling pixelcnn: 100%" in stream.getvalue()


def test_a_model_shows_its_paper_options_and_weights_escaped(tiny: zoo.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    html = tiny._repr_html_()
    assert tiny.spec.paper in html
    assert all(f">{option.name}</td>" in html for option in tiny.spec.sample_options)
    assert f">{', '.join(sorted(tiny.spec.weights))}</td>" in html
    monkeypatch.setattr(tiny, "spec", replace(tiny.spec, summary="<script>alert(1)</script>"))
    assert "<script>" not in tiny._repr_html_()
    assert "&lt;script&gt;" in tiny._repr_html_()
