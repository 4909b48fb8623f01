"""Clips that are edited on the demo page: what was edited is what `model.sample` draws from the edited inputs."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
import torch

import zoo
from zoo.cli import main
from zoo.errors import OptionError
from zoo_demo import drawing, editing
from zoo_demo.catalogue import Entry, fields
from zoo_demo.editing import Session, coloured
from zoo_demo.pictures import examples
from zoo_demo.shelf import Shelf

MAPS = {"condition_channels": 1, "condition_classes": 5}


def built(name: str, **config) -> zoo.Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return zoo.build(name, preset="tiny", **config).eval()


def session_of(model: zoo.Model, **how) -> Session:
    entry = Entry(model.spec, "none", "", "", None, ())
    return Session(model, examples(entry, model, 0), seed=3, **how)


def redrawn(session: Session) -> torch.Tensor:
    """What `model.sample` draws from the inputs of a session."""
    given = {name: value.unsqueeze(0) for name, value in session.editor.inputs.items()}
    others = {name: value for name, value in session.options.items() if name not in given}
    return session.model.sample(1, seed=3, frames=len(session), **{**others, **given})[0]


def test_colours_of_classes_are_apart_and_come_back():
    for classes in (2, 9, 36):
        colours = editing.palette(classes)
        assert len(np.unique(colours, axis=0)) == classes
        assert colours[0].tolist() == [0, 0, 0]
        labels = torch.arange(classes, dtype=torch.uint8).view(1, 1, -1)
        layer = np.dstack([colours[None], np.full((1, classes, 1), 255, np.uint8)])
        painted, where = editing.painted(torch.zeros_like(labels), [layer], classes)
        assert torch.equal(painted, labels)
        assert where.all()
        assert torch.equal(editing.coloured(labels, classes).permute(1, 2, 0)[0], torch.from_numpy(colours))


def test_paint_changes_what_it_covers_and_its_soft_edge_nothing():
    picture = torch.full((3, 4, 4), 7, dtype=torch.uint8)
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[:8, :8] = (200, 100, 50, 255)
    layer[8:, 8:] = (200, 100, 50, 90)
    painted, where = editing.painted(picture, [np.zeros_like(layer), layer], 0)
    assert painted[:, :2, :2].flatten(1).T.unique(dim=0).tolist() == [[200, 100, 50]]
    assert (painted[:, where.logical_not()] == 7).all()
    assert int(where.sum()) == 4
    grey, _ = editing.painted(picture[:1], [layer], 0)
    assert int(grey[0, 0, 0]) == round(350 / 3)


@pytest.mark.parametrize("enlarged", [1, 5])
def test_a_label_map_on_a_canvas_comes_back_as_its_numbers(tmp_path, enlarged):
    pytest.importorskip("gradio", reason="needs gradio: pixelzoo[demo]")
    from zoo_demo import widgets

    model = built("pix2pix", **MAPS)
    entry, shelf = Entry(model.spec, "none", "", "", None, ()), Shelf("cpu")
    shelf.put(entry, model)
    labels = model.examples(1, 4)["condition"][0]
    [field] = fields(entry)
    for shown in (coloured(labels, 5), labels.expand(3, -1, -1)):  # from the example, or an upload of numbers
        canvas = np.dstack([shown.permute(1, 2, 0).numpy(), np.full(shown.shape[1:], 255, np.uint8)])
        canvas = canvas.repeat(enlarged, 0).repeat(enlarged, 1)
        given = ({"background": canvas, "layers": [], "composite": None},)
        file = widgets.values([field], given, frozenset(), tmp_path, entry, shelf)["condition"]
        drawn = drawing.draw(entry, {"condition": file}, tmp_path, shelf, n=1, seed=2)
        assert torch.equal(drawn.samples, model.sample(1, seed=2, condition=labels[None]))


@pytest.mark.parametrize("onwards", [True, False])
def test_a_painted_map_redraws_the_clip_from_its_frame_on(onwards):
    session = session_of(built("vid2vid", **MAPS))
    before, inputs = session.editor.frames, session.editor.inputs["condition"]
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[4:12, 4:12] = (*editing.palette(5)[3], 255)
    session.paint(1, [layer], onwards=onwards)
    now = session.editor.inputs["condition"]
    assert (now[1, :, 4:12, 4:12] == 3).all()
    assert torch.equal(now[2:, :, 4:12, 4:12] == 3, torch.ones(2, 1, 8, 8).bool()) is onwards
    assert torch.equal(now[:, :, :4], inputs[:, :, :4])
    assert torch.equal(session.editor.frames[0], before[0])
    assert not torch.equal(session.editor.frames[1], before[1])
    assert torch.equal(session.editor.frames, redrawn(session))
    session.paint(2, [np.zeros_like(layer)], onwards=True)
    assert torch.equal(session.editor.inputs["condition"], now)


@pytest.mark.parametrize(
    ("name", "config", "i"),
    [
        ("everybody_dance_now", {"joints": 18, "people": 0}, 4),
        ("everybody_dance_now", {"joints": 0, "people": 3}, 4),
        ("deep_video_portraits", {}, 0),
        ("deep_video_portraits", {"image_shape": (3, 16, 8)}, 0),
    ],
)
def test_moved_numbers_redraw_the_clip_from_their_frame_on(name, config, i):
    session = session_of(built(name, **config))
    assert len(session) == editing.FRAMES
    before, numbers = session.editor.frames, session.numbers.clone()
    value = 0.5 * (session.controls.low[i] + session.controls.high[i]) + 0.1
    session.move(5, {i: value}, onwards=True)
    assert session.numbers[5, i] == pytest.approx(value)
    low, high = session.controls.low[i], session.controls.high[i]
    shifted = (numbers[5:, i] + value - numbers[5, i]).clamp(low, high)
    torch.testing.assert_close(session.numbers[5:, i], shifted)
    assert torch.equal(session.numbers[:5], numbers[:5])
    assert torch.equal(session.editor.frames[:5], before[:5])
    assert not torch.equal(session.editor.frames[5:], before[5:])
    assert torch.equal(session.editor.frames, redrawn(session))
    numbers = session.numbers.clone()
    session.move(9, {i: 1e9}, onwards=False)
    assert session.numbers[9, i] == torch.tensor(high)
    numbers[9, i] = high
    assert torch.equal(session.numbers, numbers)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("vid2vid", MAPS),
        ("everybody_dance_now", {"joints": 0}),
        ("everybody_dance_now", {"joints": 0, "reference": True, "people": 0, "window": 3, **MAPS}),
        ("deep_video_portraits", {}),
    ],
)
def test_the_line_and_its_files_give_the_edited_clip(tmp_path, monkeypatch, name, config):
    model = built(name, **config)
    zoo.save(model, tmp_path / "weights")
    session = session_of(model)
    if session.controls:
        session.move(2, {0: session.controls.high[0] / 2}, onwards=True)
    clip, files, line = session.write(tmp_path, name)
    assert clip.is_file()
    assert all(file.is_file() for file in files)
    words = shlex.split(line)
    assert words[:3] == ["zoo", "sample", name]
    monkeypatch.chdir(tmp_path)
    assert main([*words[1:-1], "drawn.npy", "--weights", "weights"]) == 0
    assert (np.load("drawn.npy")[0] == session.editor.frames.numpy()).all()


def test_a_clip_that_is_too_long_is_refused():
    model = built("vid2vid", **MAPS)
    clip = torch.zeros(editing.LONGEST + 1, 1, 16, 16, dtype=torch.uint8)
    with pytest.raises(OptionError, match="129 frames; 128 are the most"):
        Session(model, {"condition": clip})


def test_other_models_have_no_editor():
    model = zoo.build("mocogan", preset="tiny")
    assert (model.has_editor, model.controls) == (False, None)
    with pytest.raises(OptionError, match="no clips that can be edited"):
        model.editor()
