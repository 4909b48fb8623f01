"""Clips whose inputs are edited: what an edit costs, and that it gives what drawing all of it anew gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import OptionError

zoo.models()  # puts plugins/ on the path
from zoo_translation.sequence import Editor  # noqa: E402

MODELS = [
    ("vid2vid", {}),
    ("vid2vid", {"condition_channels": 1, "condition_classes": 3, "foreground": (2,)}),
    ("everybody_dance_now", {}),
    ("everybody_dance_now", {"people": 0, "reference": True, "window": 3, "joints": 18}),
    ("deep_video_portraits", {}),
]


def built(name: str, **config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build(name, preset="tiny", **config)


def one_of(options: dict[str, Any]) -> dict[str, Any]:
    """The options of one sample without the axis of samples."""
    return {name: value[0] for name, value in options.items()}


@pytest.mark.parametrize(("name", "config"), MODELS)
def test_an_edit_gives_what_drawing_anew_gives_and_draws_no_frame_before(name: str, config: dict[str, Any]) -> None:
    model = built(name, **config)
    options = model.examples(1)
    length = options["condition"].shape[1]
    editor = Editor(model, seed=3, **one_of(options))
    before = model.sample(1, seed=3, frames=length, **options)[0]
    assert torch.equal(editor.frames, before)
    calls: list[int] = []
    advance = model.advance
    model.advance = lambda state, given: calls.append(1) or advance(state, given)
    t = length // 2
    edited = {key: value.clone() for key, value in options.items() if getattr(value, "ndim", 0) > 3}
    classes = model.input_classes.get("condition", 256)
    for change in (t, t + 1):  # the second edit goes on from the first
        edited["condition"][:, change] = classes - 1 - edited["condition"][:, change]
        rest = editor.edit(change, edited["condition"][0, change])
        assert len(rest) == len(calls) == length - change
        calls.clear()
        whole = model.sample(1, seed=3, frames=length, **{**options, **edited})[0]
        calls.clear()
        assert torch.equal(editor.frames, whole)
        assert torch.equal(rest, whole[change:])
    assert torch.equal(editor.frames[:t], before[:t])
    assert not torch.equal(editor.frames[t], before[t])
    assert torch.equal(editor.inputs["condition"], edited["condition"][0])


def test_other_inputs_of_a_frame_can_be_edited() -> None:
    model = built("deep_video_portraits")
    options = model.examples(1)
    editor = Editor(model, **one_of(options))
    changed = {**options, "gaze": options["gaze"].clone()}
    changed["gaze"][:, 4] = 255 - changed["gaze"][:, 4]
    editor.edit(4, gaze=changed["gaze"][0, 4])
    assert torch.equal(editor.frames, model.sample(1, frames=8, **changed)[0])


def test_keypoints_can_be_edited() -> None:
    model = built("everybody_dance_now", joints=18)
    options = model.examples(1)
    editor = Editor(model, **one_of(options))
    moved = options["joints"].clone()
    moved[:, 5] = 15.0
    editor.edit(5, joints=moved[0, 5])
    assert torch.equal(editor.frames, model.sample(1, **{**options, "joints": moved})[0])


def test_edits_that_do_not_fit_are_named_and_change_nothing() -> None:
    model = built("vid2vid", condition_channels=1, condition_classes=3)
    options = one_of(model.examples(1))
    editor = Editor(model, **options)
    before, frame = editor.frames, options["condition"][0]
    for t, change, message in (
        (4, {"condition": frame}, "there are frames 0 to 3, and no frame 4"),
        (-1, {"condition": frame}, "there are frames 0 to 3, and no frame -1"),
        ("2", {"condition": frame}, "there are frames 0 to 3, and no frame '2'"),
        (1.5, {"condition": frame}, "there are frames 0 to 3, and no frame 1.5"),
        (True, {"condition": frame}, "there are frames 0 to 3, and no frame True"),
        (None, {"condition": frame}, "there are frames 0 to 3, and no frame None"),
        (0, {"condition": frame.tolist()}, r"'condition' of a frame must be uint8 \(1, 16, 16\), not list"),
        (
            0,
            {"condition": torch.tensor(3)},
            r"'condition' of a frame must be uint8 \(1, 16, 16\), not torch.int64 \(\)",
        ),
        (2, {"condition": options["condition"]}, "there are 2 frames from 2 on, but 'condition' is of 4"),
        (2, {"condition": frame[None][:0]}, "there are 2 frames from 2 on, but 'condition' is of 0"),
        (0, {"condition": frame.float()}, r"'condition' of a frame must be uint8 \(1, 16, 16\), not torch.float32"),
        (0, {"condition": frame[:, :8]}, r"not torch.uint8 \(1, 8, 16\)"),
        (0, {"condition": frame + 3}, r"has the value [345], but its classes are 0 to 2"),
        (0, {"gaze": frame}, "this clip is drawn from condition; it has no gaze"),
    ):
        with pytest.raises(OptionError, match=message):
            editor.edit(t, **change)
    assert torch.equal(editor.frames, before)
    for t in (np.int64(1), torch.tensor(1)):
        assert len(editor.edit(t, frame)) == 3
    for other, message in (
        ({"condition": options["condition"].float()}, "option 'condition' takes uint8"),
        ({"condition": options["condition"].numpy()}, "option 'condition' takes clips, a uint8 tensor"),
        ({}, "vid2vid draws from a clip; it needs condition=CLIP"),
    ):
        with pytest.raises(OptionError, match=message):
            model.editor(**other)


def test_weights_that_draw_from_other_clips_alone_have_an_editor() -> None:
    model = built("deep_video_portraits", conditions=("gaze",))
    options = model.examples(1)
    assert torch.equal(model.editor(**one_of(options)).frames, model.sample(1, frames=8, **options)[0])


@pytest.mark.parametrize(("name", "config"), [("deep_video_portraits", {}), ("everybody_dance_now", {"joints": 18})])
def test_controls_begin_within_their_bounds(name: str, config: dict[str, Any]) -> None:
    """Else a slider would change what it shows."""
    controls = built(name, **config).controls
    numbers = torch.cat([controls.begin(200, seed) for seed in range(8)])
    low, high = torch.tensor(controls.low), torch.tensor(controls.high)
    outside = (numbers < low) | (numbers > high)
    assert not outside.any(), outside.any(0).nonzero()


def test_the_model_is_left_in_its_mode() -> None:
    model = built("deep_video_portraits").train()
    editor = Editor(model, **one_of(model.examples(1)))
    editor.edit(0, editor.inputs["condition"][0])
    assert model.training
