"""Pictures say what drew them, and are drawn again from that, pixel by pixel."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.cli import main
from zoo.errors import DataError
from zoo.media import origin, picture_files
from zoo.media.origin import Origin

DIGITS = ("sample", "conditional_pixelcnn:mnist")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    return zoo.save(zoo.build("pixelcnn", preset="tiny").eval(), tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture
def run(capsys):
    def call(*arguments, code=0):
        found = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert found == code, err
        return out if code == 0 else err

    return call


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def with_chunk(path: Path, text: str) -> Path:
    """A picture that says this of its origin."""
    Image.new("L", (2, 2)).save(path)
    content = path.read_bytes()
    body = b"iTXtpixelzoo\0\0\0\0\0" + text.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(content[: origin.HEADER_END] + chunk + content[origin.HEADER_END :])
    return path


def test_a_grid_says_what_drew_it_and_is_drawn_again(folder, tmp_path, run):
    first, again = tmp_path / "a.png", tmp_path / "b.png"
    flags = ("--seed", 7, "--start", 3, "-n", 6, "--columns", 2, "--scale", 2, "--option", "temperature=0.5")
    run("sample", "pixelcnn", "--weights", folder, *flags, "-o", first)
    said = json.loads(run("info", first, "--json"))
    sha256 = json.loads((folder / "config.json").read_text())["weights"]["sha256"]
    assert said == {
        "model": "pixelcnn",
        "weights": None,
        "sha256": sha256,
        "seed": 7,
        "index": 3,
        "n": 6,
        "options": {"temperature": 0.5},
        "inputs": {},
        "flags": {"scale": 2, "columns": 2},
        "version": zoo.__version__,
    }
    assert str(tmp_path) not in first.read_bytes().decode("latin-1")
    run("sample", "--like", first, "--weights", folder, "-o", again)
    assert (pixels(first) == pixels(again)).all()
    run("sample", "--like", first, "--weights", folder, "--seed", 8, "-o", again)
    assert (pixels(first) != pixels(again)).any()
    run("sample", "--like", first, "--weights", folder, "--option", "temperature=2", "-o", again)
    assert origin.read(again).options == {"temperature": 2.0}
    assert origin.read(again).seed == 7


def test_a_sample_of_a_folder_is_drawn_again_alone(tmp_path, run):
    out = tmp_path / "many"
    flags = ("-n", 4, "--start", 10, "--option", "label=3,4")
    printed = json.loads(run(*DIGITS, *flags, "-o", f"{out}/", "--json"))
    lines = [json.loads(line) for line in (out / origin.MANIFEST).read_text().splitlines()]
    assert lines == printed
    assert [(line["file"], line["index"], line["options"]["label"]) for line in lines] == [
        ("00010.png", 10, 3),
        ("00011.png", 11, 3),
        ("00012.png", 12, 4),
        ("00013.png", 13, 4),
    ]
    again = tmp_path / "again.png"
    for line in lines[1:3]:
        run("sample", "--like", out / line["file"], "-o", again)
        assert (pixels(out / line["file"]) == pixels(again)).all()
    run(*DIGITS, "-n", 1, "--start", 9, "-o", f"{out}/")
    lines = [json.loads(line)["file"] for line in (out / origin.MANIFEST).read_text().splitlines()]
    assert lines == ["00009.png", "00010.png", "00011.png", "00012.png", "00013.png"]
    assert [path.name for path in picture_files(out)] == lines


def test_a_tag_is_enough_to_draw_again_with_several_classes(tmp_path, run):
    first, again = tmp_path / "a.png", tmp_path / "b.png"
    run(*DIGITS, "--option", "label=3,4", "-n", 2, "-o", first)
    assert origin.read(first).weights == "mnist"
    assert origin.read(first).options == {"label": [3, 4]}
    run("sample", "--like", first, "-o", again)
    assert (pixels(first) == pixels(again)).all()


def test_a_sidecar_speaks_for_animations(folder, tmp_path, run):
    first, again = tmp_path / "a.gif", tmp_path / "b.gif"
    run("sample", "pixelcnn", "--weights", folder, "-n", 2, "--animate", "-o", first, "--sidecar")
    assert origin.read(first) == origin.read(tmp_path / "a.gif.json")
    run("sample", "--like", first, "--weights", folder, "-o", again)
    assert first.read_bytes() == again.read_bytes()


def test_completions_need_their_picture_again(folder, tmp_path, run):
    given, first, again = tmp_path / "given.png", tmp_path / "a.png", tmp_path / "b.png"
    Image.frombytes("L", (8, 8), bytes(range(0, 256, 4))).save(given)
    options = ("--option", f"given={given}", "--option", "given_rows=4", "-n", 2, "--show-given")
    run("sample", "pixelcnn", "--weights", folder, *options, "-o", first)
    assert "--option given=FILE" in run("sample", "--like", first, "--weights", folder, code=2)
    run("sample", "--like", first, "--weights", folder, "--option", f"given={given}", "-o", again)
    assert (pixels(first) == pixels(again)).all()


def test_other_weights_and_other_models_are_refused(folder, tmp_path, run):
    first = tmp_path / "a.png"
    run("sample", "pixelcnn", "--weights", folder, "-n", 1, "-o", first)
    torch.manual_seed(1)
    other = zoo.save(zoo.build("pixelcnn", preset="tiny").eval(), tmp_path / "other")
    assert "sha256" in run("sample", "--like", first, "--weights", other, code=2)
    assert "is by pixelcnn" in run("sample", "gated_pixelcnn", "--like", first, code=2)
    assert "missing argument" in run("sample", code=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "../x"}, "model"),
        ({"seed": -1}, "seed"),
        ({"n": True}, "seed, index or n"),
        ({"options": {"label": {"a": 1}}}, "options"),
        ({"sha256": "x"}, "sha256"),
        ({"weights": 3}, "weights"),
        ({"more": 3}, "not understood"),
    ],
)
def test_what_a_picture_says_is_checked(tmp_path, change, words):
    good = json.loads(Origin("pixelcnn", "mnist", None, 0, 0, 1).text())
    assert origin.read(with_chunk(tmp_path / "good.png", json.dumps(good))).model == "pixelcnn"
    with pytest.raises(DataError, match=words):
        origin.read(with_chunk(tmp_path / "bad.png", json.dumps({**good, **change})))


@pytest.mark.parametrize("text", ["", "[]", "{", "3", "[" * 5000])
def test_nonsense_is_one_line(tmp_path, text):
    with pytest.raises(DataError, match="not understood"):
        origin.read(with_chunk(tmp_path / "bad.png", text))


def test_a_picture_without_origin_says_so(tmp_path, run):
    Image.new("L", (2, 2)).save(tmp_path / "plain.png")
    assert "does not say where it comes from" in run("info", tmp_path / "plain.png", code=2)
    assert "there is no file" in run("info", tmp_path / "none.png", code=2)
    (tmp_path / "text.png").write_text("hello")
    assert "no picture" in run("info", tmp_path / "text.png", code=2)
