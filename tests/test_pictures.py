"""Pictures that `zoo sample` composes: drawings pixel by pixel, a row for each value of an option, completions."""

from __future__ import annotations

import errno
import io
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_pictures
from PIL import Image

import zoo
from zoo import hub, media, registry
from zoo.cli import main
from zoo.cli.options import parse_options, share_out
from zoo.errors import OptionError
from zoo.media import images, video
from zoo.spec import ModelSpec, Option, Preset

GREY = images.GREY


@pytest.fixture
def folder(tmp_path, tiny):
    """A weights folder of the tiny PixelCNN."""
    return zoo.save(tiny, tmp_path / "weights")


@pytest.fixture
def draw(tmp_path, folder, capsys):
    """Sample into a file; the file."""

    def run(name, *arguments, model="pixelcnn", weights=folder):
        path = tmp_path / name
        command = ("sample", model, "--weights", weights, "-o", path, *arguments)
        assert main([str(argument) for argument in command]) == 0, capsys.readouterr().err
        return path

    return run


@pytest.fixture
def error(folder, capsys, monkeypatch):
    """Sample into an error, found before the model is loaded; its line."""

    def run(*arguments, model="pixelcnn"):
        with monkeypatch.context() as patch:
            patch.setattr(hub, "load", lambda *a, **k: pytest.fail("it loaded the model first"))
            assert main(["sample", model, "--weights", str(folder), *map(str, arguments)]) == 2
        return capsys.readouterr().err.removeprefix("error: ").strip()

    return run


def seek(clip: Image.Image, i: int) -> Image.Image:
    clip.seek(i)
    return clip


def frames(path: Path) -> list[torch.Tensor]:
    """All frames of an animation, grey, (1, H, W)."""
    with Image.open(path) as clip:
        return [media.from_pil(seek(clip, i).convert("L"), 1) for i in range(clip.n_frames)]


def still(path: Path, channels: int = 1) -> torch.Tensor:
    with Image.open(path) as picture:
        return media.from_pil(picture, channels)


def cells(canvas: torch.Tensor, columns: int, size: int = 8) -> torch.Tensor:
    """The pictures of a grid, (N, C, size, size)."""
    pitch = size + 2
    tiles = canvas[:, 2:, 2:].unfold(1, pitch, pitch).unfold(2, pitch, pitch)  # C R columns pitch pitch
    assert tiles.shape[2] == columns
    return tiles[..., :size, :size].permute(1, 2, 0, 3, 4).flatten(0, 1)


# Drawings


@pytest.mark.parametrize("ending", ["gif", "webp", "apng"])
def test_a_drawing_shows_pixel_after_pixel(draw, ending):
    found = frames(draw(f"a.{ending}", "-n", 4, "--animate"))
    final = still(draw("a.png", "-n", 4))
    assert len(found) == 65  # none, and each of 8 x 8
    assert torch.equal(found[-1], final)
    pictures = cells(final, 2).flatten(1)
    for drawn in (0, 1, 21, 63):
        shown = cells(found[drawn], 2).flatten(1)
        assert torch.equal(shown[:, :drawn], pictures[:, :drawn])
        assert (shown[:, drawn:] == GREY).all()


def test_a_drawing_holds_its_last_frame_and_loops(draw):
    with Image.open(draw("a.gif", "-n", 1, "--animate", "--scale", 3)) as clip:
        assert clip.size == (36, 36)
        assert clip.info["loop"] == 0
        usual = clip.info["duration"]
        assert seek(clip, clip.n_frames - 1).info["duration"] >= 10 * usual


@pytest.mark.parametrize(("size", "rows", "expected"), [((28, 28), 0, 99), ((28, 28), 14, 99), ((64, 64), 0, 101)])
def test_a_drawing_has_about_a_hundred_frames(size, rows, expected):
    found = media.drawing(torch.zeros(1, 3, *size, dtype=torch.uint8), rows)
    assert len(found) == expected
    counts = [int((frame[0, 0] != GREY).sum()) for frame in found]
    assert counts[0] == rows * size[1]
    assert counts[-1] == size[0] * size[1]
    assert len({later - earlier for earlier, later in itertools.pairwise(counts[:-1])}) == 1


def test_a_drawing_of_a_whole_picture_is_that_picture(tmp_path):
    [only] = media.drawing(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), 4)
    video.write_clip([only[0]], tmp_path / "a.gif", [2000])
    assert not still(tmp_path / "a.gif").any()


def test_a_drawing_in_colour_keeps_one_palette(tmp_path):
    final = torch.randint(0, 256, (1, 3, 12, 12), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    drawn = [frame[0] for frame in media.drawing(final)]
    video.write_clip(drawn, tmp_path / "a.gif", [40] * len(drawn))
    with Image.open(tmp_path / "a.gif") as clip:
        middle, last = (media.from_pil(seek(clip, i).convert("RGB"), 3) for i in (36, clip.n_frames - 1))
    assert torch.equal(middle.flatten(1)[:, :72], last.flatten(1)[:, :72])
    assert (last.int() - final[0].int()).abs().float().mean() < 16


def test_an_animation_of_still_pictures_is_refused_naming_animate(error, tmp_path):
    for name in ("a.gif", "a.apng", "a.mp4", "a.GIF"):
        text = error("-o", tmp_path / name)
        assert f"can't write '{tmp_path / name}': pixelcnn draws still pictures; add --animate" in text
    assert "add --animate" in error("--format", "gif", "-o", f"{tmp_path}/x/")
    assert error("-o", "a.mp4", model="progan").endswith("progan draws still pictures; take .png")


@pytest.fixture
def gan(tmp_path):
    """A weights folder of the tiny StyleGAN2, pictures (3, 8, 8), which can walk and mix styles."""
    torch.manual_seed(0)
    return zoo.save(zoo.build("stylegan2", preset="tiny").eval(), tmp_path / "gan")


def test_a_gan_walks_into_animations_and_draws_a_still_webp(draw, gan, tmp_path):
    steps = ("--option", "keys=2", "--option", "steps=3")
    common = {"model": "stylegan2", "weights": gan}
    for name, flags in (("a.gif", ()), ("a.webp", ("--animate",)), ("b.webp", ("--option", "walk=z"))):
        assert len(frames(draw(name, *steps, *flags, **common))) == 6, name
    assert len(cells(frames(tmp_path / "a.gif")[0], 2)) == 4  # walks
    still_one = draw("c.webp", "-n", 4, **common)
    assert len(frames(still_one)) == 1
    draw("a.npy", "-n", 2, *steps, "--option", "walk=w", **common)
    assert np.load(tmp_path / "a.npy").shape == (2, 6, 3, 8, 8)


def test_a_table_of_styles_has_its_own_size(draw, gan, error):
    path = draw("a.png", "--option", "mixing=2", model="stylegan2", weights=gan)
    found = cells(still(path, 3), 3)
    assert len(found) == 9
    expected = zoo.load("stylegan2", weights=str(gan), device="cpu").sample(9, mixing=2)
    assert torch.equal(found, expected)
    assert len(cells(still(draw("b.png", "--option", "mixing=2", "-n", 6, model="stylegan2", weights=gan), 3), 3)) == 6
    for flags in (("-n", 8), ("--columns", 4)):
        text = error("--option", "mixing=2", *flags, "-o", "a.png", model="stylegan2")
        assert "option 'mixing' makes a table of 3 columns" in text
    assert "makes a still table" in error("--option", "mixing=2", "--animate", "-o", "a.gif", model="stylegan2")
    assert "draws still pictures" in error("--option", "mixing=2", "-o", "a.gif", model="stylegan2")


def test_one_drawing_each(draw, tmp_path):
    draw("{}.gif", "-n", 2, "--animate")
    assert [len(frames(tmp_path / f"0000{i}.gif")) for i in range(2)] == [65, 65]


def test_errors_of_animate(error, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "needs .gif, .webp, .apng" in error("--animate", "-o", "a.png")
    assert "can't write" in error("--animate", "-o", "no/folder/a.gif")
    base = {"name": "other", "summary": "s", "paper": "p", "kind": "gan", "task": "image-generation"}
    other = ModelSpec(**base, data_shape=("C", "H", "W"), presets={"tiny": Preset()})
    monkeypatch.setattr(registry, "model_spec", lambda name: other)
    assert "--animate needs a model that draws pixel by pixel" in error("--animate", "-o", "a.gif", model="other")


def test_a_full_disk_is_found_out_first(error, monkeypatch, tmp_path):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: Full())
    assert "No space left" in error("--animate", "-o", tmp_path / "a.gif")


@pytest.mark.parametrize(("ending", "scale"), [("webp", 64), ("gif", 230)])
def test_a_picture_too_large_for_its_format_is_one_line(tmp_path, ending, scale):
    wide = torch.zeros(1, 1, 300, dtype=torch.uint8)
    with pytest.raises(OptionError, match=f"{300 * scale}x{scale} pixels are too many for .{ending}"):
        video.write_clip([wide, wide], tmp_path / f"a.{ending}", [40, 40], scale=scale)
    assert list(tmp_path.iterdir()) == []


# Several values of an option


@pytest.fixture
def conditional(tmp_path):
    """The tiny Conditional PixelCNN on ten classes, with weights large enough for classes to differ, and its folder."""
    torch.manual_seed(0)
    model = zoo.build("conditional_pixelcnn", preset="tiny").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    return model, zoo.save(model, tmp_path / "conditional")


def test_each_class_gets_a_row(draw, conditional):
    model, weights = conditional
    path = draw("a.png", "-n", 15, "--option", "label=7-9,2,0", model="conditional_pixelcnn", weights=weights)
    labels = [label for label in (7, 8, 9, 2, 0) for _ in range(3)]
    expected = media.to_bytes(model.sample(15, label=labels), model.levels)
    assert torch.equal(cells(still(path), 3), expected)
    assert not torch.equal(expected, media.to_bytes(model.sample(15, label=7), model.levels))


def test_eight_samples_a_value_unless_told_otherwise(draw, conditional):
    path = draw("a.png", "--option", "label=0-2", model="conditional_pixelcnn", weights=conditional[1])
    assert len(cells(still(path), 8)) == 24


def options_spec() -> ModelSpec:
    options = (
        Option(name="label", type="int", minimum=0, maximum=9, per_sample=True),
        Option(name="text", type="str", per_sample=True),
        Option(name="temperature", type="float"),
    )
    base = {"name": "other", "summary": "s", "paper": "p", "kind": "autoregressive", "task": "image-generation"}
    return ModelSpec(**base, data_shape=("C", "H", "W"), presets={"tiny": Preset()}, sample_options=options)


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        (["label=0-3"], {"label": [0, 1, 2, 3]}),
        (["label=1", "label=5, 7-8"], {"label": [1, 5, 7, 8]}),
        (["label=4-4"], {"label": 4}),
        (["text=red, round apple"], {"text": "red, round apple"}),
        (["text=red apple", "text=car 0-9"], {"text": ["red apple", "car 0-9"]}),
    ],
)
def test_several_values(assignments, expected):
    assert parse_options(options_spec(), assignments) == (expected, {})


@pytest.mark.parametrize(
    ("assignments", "text"),
    [
        (["label=7-11"], "an integer from 0 to 9, not 10"),
        (["label=9-0"], "an integer from 0 to 9, not '9-0'"),
        (["label=3,"], "an integer from 0 to 9, not ''"),
        (["temperature=1", "temperature=1"], "option 'temperature' is one for all samples, but it is given twice"),
        (["temperature=1,2"], "takes a number, not '1,2'"),
    ],
)
def test_errors_of_several_values(assignments, text):
    with pytest.raises(OptionError, match=text):
        parse_options(options_spec(), assignments)


def test_samples_are_shared_out_equally():
    assert share_out(None, {"label": 3}, {}) == (16, 16)
    assert share_out(None, {"label": [1, 2]}, {"given": [Path("a")]}) == (16, 8)
    assert share_out(6, {"label": [1, 2]}, {"given": [Path("a"), Path("b")]}) == (6, 3)
    with pytest.raises(OptionError, match="-n 7 is no multiple of the 2 values of option 'label'"):
        share_out(7, {"label": [1, 2]}, {})
    with pytest.raises(OptionError, match="must have equally many: label 2, text 3"):
        share_out(6, {"label": [1, 2], "text": ["a", "b", "c"]}, {})


# Completions


def test_completions_of_several_pictures(draw, tmp_path):
    given = write_pictures(tmp_path / "given", 3)
    (given / ".hidden").touch()
    options = ("--option", f"given={given}", "--option", "given_rows=5", "-n", 6)
    rows = cells(still(draw("a.png", *options)), 2).unflatten(0, (3, 2))
    originals = torch.stack([still(file) for file in sorted(given.glob("*.png"))])
    originals = media.to_bytes(media.quantise(originals, 4), 4)
    assert torch.equal(rows[:, :, :, :5], originals[:, None, :, :5].expand(-1, 2, -1, -1, -1))
    assert not torch.equal(rows[:, 0], rows[:, 1])

    shown = cells(still(draw("b.png", *options, "--show-given")), 4).unflatten(0, (3, 4))
    assert torch.equal(shown[:, 1:3], rows)
    assert torch.equal(shown[:, 3], originals)
    assert torch.equal(shown[:, 0, :, :5], originals[:, :, :5])
    assert (shown[:, 0, :, 5:] == GREY).all()

    drawn = frames(draw("c.gif", *options, "--show-given", "--animate"))
    assert len(drawn) == 1 + 3 * 8
    first = cells(drawn[0], 4).unflatten(0, (3, 4))
    assert torch.equal(first[:, :3], shown[:, :1].expand(-1, 3, -1, -1, -1))  # nothing but the given rows
    assert torch.equal(first[:, 3], originals)
    assert torch.equal(drawn[-1], still(draw("b.png", *options, "--show-given")))


def test_many_completions_of_one_picture(draw, tmp_path, folder):
    file = next(write_pictures(tmp_path / "given", 1).iterdir())
    options = ("--option", f"given={file}", "--option", "given_rows=4")
    found = cells(still(draw("a.png", *options)), 4)
    model = zoo.load("pixelcnn", weights=str(folder))
    given = media.quantise(still(file)[None], 4)
    assert torch.equal(found, media.to_bytes(model.sample(16, given=given, given_rows=4), 4))
    assert len(cells(still(draw("b.png", *options, "--show-given", "-n", 5)), 7)) == 7


def test_one_picture_completed_as_each_class(draw, conditional, tmp_path):
    file = next(write_pictures(tmp_path / "given", 1).iterdir())
    options = ("--option", f"given={file}", "--option", "given_rows=4", "--option", "label=0-2", "-n", 6)
    path = draw("a.png", *options, "--show-given", model="conditional_pixelcnn", weights=conditional[1])
    rows = cells(still(path), 4).unflatten(0, (3, 4))
    assert torch.equal(rows[:, 3], rows[:1, 3].expand(3, -1, -1, -1))


def test_errors_of_completions(error, tmp_path):
    given = write_pictures(tmp_path / "given", 3)
    (tmp_path / "empty").mkdir()
    here = ("-o", tmp_path / "a.png", "--option")
    assert "-n 4 is no multiple of the 3 values of option 'given'" in error("-n", 4, *here, f"given={given}")
    assert "there is no picture in" in error(*here, f"given={tmp_path / 'empty'}")
    assert "option 'given' needs given_rows=N" in error(*here, f"given={given}")
    assert "--show-given needs options given=PICTURE and given_rows=N" in error(*here, "given_rows=4", "--show-given")
    rows = ("--option", f"given={given}", "--option", "given_rows=4")
    assert "one grid of all samples" in error(*rows, "--show-given", "-o", f"{tmp_path}/{{}}.png")
