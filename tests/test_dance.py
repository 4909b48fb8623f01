"""Everybody Dance Now: frames from figures and past frames, detail at the head, keypoints brought to another person."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from objectives import assert_gradients, judged, step_gradients
from PIL import Image

import zoo
from zoo import building, metrics
from zoo.errors import DataError, OptionError
from zoo.media import write_image
from zoo.settings import Settings
from zoo.testing import kit
from zoo.train.accelerator import make_accelerator

zoo.models()  # puts plugins/ on the path
from zoo_translation import pose  # noqa: E402
from zoo_translation.dance_train import feature_loss, pairs  # noqa: E402
from zoo_translation.examples import dancer  # noqa: E402
from zoo_translation.networks import MultiScale, Norm, PatchGAN  # noqa: E402

TINY = {**zoo.ModelSpec.preset(next(s for s in zoo.models() if s.name == "everybody_dance_now"), "tiny").model}


def build(**config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build("everybody_dance_now", **{**TINY, **config}).eval()


def make_trainer(model: Any, **recipe: Any) -> Any:
    settings = Settings(model=model.spec.name, data="-", out="", batch_size=2, device="cpu")
    return building.make_trainer(model.spec, model, settings, make_accelerator(settings), recipe)


# Sampling


def test_a_frame_depends_on_no_later_figure_and_on_all_before() -> None:
    model = build()
    options = model.examples(1)
    clip = model.sample(1, **options)
    assert clip.shape == (1, 8, 3, 16, 16)
    changed = options["condition"].clone()
    changed[:, 4] = 255 - changed[:, 4]
    other = model.sample(1, **{**options, "condition": changed})
    assert torch.equal(other[:, :4], clip[:, :4])
    assert all(not torch.equal(other[:, t], clip[:, t]) for t in (4, 5))  # the frame itself, and through it the next


def test_a_stream_takes_figures_as_it_goes() -> None:
    model = build()
    options = model.examples(1)
    clip = model.sample(1, **options)
    taken = []

    def figures() -> Iterator[torch.Tensor]:
        for t in range(10**9):
            taken.append(t)
            yield options["condition"][0, t % 8]

    stream = model.stream(1, **{**options, "condition": figures()})
    frames = torch.stack([next(stream) for _ in range(8)], 1)
    assert torch.equal(frames, clip)
    assert len(taken) == 8
    assert len(list(model.stream(1, frames=3, **{**options, "condition": figures()}))) == 3
    ends = iter(options["condition"][0, :5])
    assert len(list(model.stream(1, **{**options, "condition": ends}))) == 5
    same = next(model.stream(2, **{**options, "condition": figures()}))
    assert same.shape == (2, 3, 16, 16)


def test_a_clip_goes_on_from_its_last_frame() -> None:
    model = build()
    options = model.examples(1)
    clip = model.sample(1, **options)
    rest = {"condition": options["condition"][:, 5:], "label": options["label"]}
    on = model.sample(1, **rest, previous=clip[:, 4])
    begun = model.sample(1, **rest)
    distance = [(other.int() - clip[:, 5:].int()).abs().float()[:, 0].mean() for other in (on, begun)]
    assert distance[0] < 1 < distance[1]  # levels: rounding against another first frame


def test_whom_to_draw_is_told_by_a_number_or_a_picture() -> None:
    model = build()
    condition = model.examples(1)["condition"]
    with torch.no_grad():  # as after training, where each person's scales and shifts have gone their own way
        for norm in (module for module in model.generator.modules() if isinstance(module, Norm)):
            norm.bias[1] += 1
    one, two = (model.sample(1, condition=condition, label=label) for label in (0, 1))
    assert (one.int() - two.int()).abs().float().mean() > 1
    assert torch.equal(model.sample(1, condition=condition), one)
    model = build(people=0, reference=True, window=3, joints=0)
    options = model.examples(2)
    assert not torch.equal(*(model.sample(1, condition=condition, reference=x[None]) for x in options["reference"]))
    with pytest.raises(OptionError, match="they need reference=PICTURE"):
        model.sample(1, condition=condition)
    with pytest.raises(OptionError, match="know whom to draw and take no reference"):
        build().sample(1, reference=torch.zeros(1, 3, 16, 16, dtype=torch.uint8), **build().examples(1))
    with pytest.raises(OptionError, match="know one person and take no label"):
        model.sample(1, **{**options, "condition": condition, "reference": options["reference"][:1], "label": 1})


def test_weights_without_a_detail_network_take_no_keypoints_to_draw_from() -> None:
    model = build(detail=0, joints=18)
    assert "joints" not in model.examples(1)
    with pytest.raises(OptionError, match="draw from condition; they know no joints"):
        model.sample(1, **build(joints=18).examples(1))


def test_bad_inputs_are_named() -> None:
    model = build()
    condition = model.examples(1)["condition"]
    for options, message in (
        ({}, "everybody_dance_now draws from a clip; it needs condition=CLIP"),
        ({"condition": condition, "frames": 9}, "option 'condition' has 8 frames, but 9 are to be drawn"),
        ({"condition": condition[:, :0]}, "option 'condition' has 0 frames"),
        ({"condition": condition[:, :, :1]}, r"option 'condition' takes uint8 \(N, T, 3, 16, 16\), not"),
        ({"condition": condition[..., :8]}, r"option 'condition' takes uint8 \(N, T, 3, 16, 16\), not"),
        ({"condition": condition, "label": 2}, "option 'label' takes an integer from 0 to 1, not 2"),
        ({"condition": condition, "label": object()}, "option 'label' takes a class"),
        ({"condition": condition, "label": [None]}, "option 'label' takes a class, .* one of its values is None"),
        ({"condition": condition, "joints": torch.zeros(1, 8, 5, 2)}, r"option 'joints' takes \(N, T, 3, 2\)"),
        ({"condition": condition, "joints": torch.zeros(1, 7, 3, 2)}, "but have: 'condition' 8, 'joints' 7"),
        (
            {"condition": condition, "joints": torch.full((1, 8, 3, 2), torch.nan)},
            "option 'joints' does not know joint 0, the head, in any of the 8 frames of clip 0; fill it in",
        ),
        (
            {"condition": condition, "previous": condition[:, 0, :, :8]},
            r"option 'previous' takes uint8 \(N, 3, 16, 16\)",
        ),
        ({"condition": iter([condition[0, 0, :1]])}, r"frames of option 'condition' must be uint8 \(3, 16, 16\)"),
    ):
        with pytest.raises(OptionError, match=message):
            model.sample(1, **options)
    for config, message in (
        ({"window": 1}, "window must be at least 2"),
        ({"detail": 10}, "detail must be a multiple of 4"),
        ({"head": 3}, "head must be one of the 3 joints"),
        ({"people": -1}, "people and joints must not be negative"),
        ({"patch": 70}, "patch 70 at 1 scales is too large"),
        ({"downs": 5}, "5 halvings do not divide 16x16"),
        ({"downs": 4}, "16x16 is too small for 4 halvings, which must leave 2 pixels"),
    ):
        with pytest.raises(OptionError, match=message):
            build(**config)


# Detail


def test_detail_changes_the_crop_around_the_head_alone() -> None:
    model = build(joints=1)
    missing = torch.tensor([[torch.nan, 2.0]])
    heads = torch.stack([torch.tensor([[8.0, 9.0]]), torch.tensor([[15.0, 0.0]]), missing])
    corners = model.corners(heads, 3)
    assert corners == [(5, 4), (0, 8), (0, 4)]  # row and column; in the picture; the upper middle
    assert model.corners(None, 1) == [(0, 4)]
    frames, condition = torch.randn(3, 3, 16, 16), torch.randn(3, 5, 16, 16)
    changed = (model.refine(condition, frames, corners, torch.zeros(3, dtype=torch.int64)) != frames).any(1)
    for i, (top, left) in enumerate(corners):
        inside = torch.zeros(16, 16, dtype=torch.bool)
        inside[top : top + 8, left : left + 8] = True
        assert torch.equal(changed[i], inside)
    assert torch.equal(build(detail=0).refine(condition, frames, corners), frames)


# Training


def test_the_gradient_of_the_second_frame_flows_through_the_first() -> None:
    model = build()
    condition = torch.randn(1, 2, 5, 16, 16, requires_grad=True)
    drawn, _, _ = make_trainer(model)._draw(condition, None, 3, torch.tensor([0]))
    (slope,) = torch.autograd.grad(drawn[:, 1].sum(), condition, retain_graph=True)
    assert slope[:, 0].abs().max() > 0
    (slope,) = torch.autograd.grad(drawn[:, 0].sum(), condition)
    assert slope[:, 1].abs().max() == 0


@pytest.mark.parametrize("config", [{"window": 3}, {"people": 0, "reference": True, "window": 3, "joints": 0}])
def test_each_network_learns_from_its_own_loss(config: dict[str, Any]) -> None:
    """Eq. 6 and 7 of windows of frames, written out: each from the last, with detail; two judged by what they show."""
    large = {"image_shape": (3, 32, 32), "scales": 2, **config}
    model, other = build(**large).train(), build(**large).train()
    batch = kit.random_batch(model, 2)
    if model.joints:
        batch["joints"] = torch.rand(2, 3, 3, 2) * 32
    trainer = make_trainer(model, l1_weight=3.0)
    found = step_gradients(trainer, batch, dict(model.named_children()))
    real, figures = (batch[key].float() / 127.5 - 1 for key in ("video", "condition"))
    label = batch.get("label")
    if model.reference:
        whom = real[:, :1].expand(-1, 2, -1, -1, -1)
        real, figures = real[:, 1:], torch.cat([figures[:, 1:], whom], 2)
    shown = figures
    if model.people:
        maps = torch.nn.functional.one_hot(label, 2).view(2, 1, 2, 1, 1).expand(2, 3, 2, 32, 32)
        shown = torch.cat([figures, maps.float()], 2)
    last, drawn, crops = torch.zeros(2, 3, 32, 32), [], []
    for t in range(real.shape[1]):
        frame = other.generator(torch.cat([figures[:, t], last], 1), label=label)
        corners = other.corners(batch["joints"][:, t] if model.joints else None, 2)
        size = other.detail_size
        places = [(slice(None), slice(top, top + size), slice(left, left + size)) for top, left in corners]
        seen = [torch.cat([figures[i, t], frame[i].detach()])[place] for i, place in enumerate(places)]
        residual, better = other.detail(torch.stack(seen), label=label), frame.detach().clone()
        for i, place in enumerate(places):
            crops.append((shown[i, t][place], real[i, t][place], frame[i].detach()[place] + residual[i]))
            better[i][place] += residual[i].detach()
        last = frame + (better - frame.detach())
        drawn.append(frame)
    made = torch.stack(drawn, 1)
    pair = [
        torch.cat([torch.cat([shown[:, t], x[:, t], shown[:, t + 1], x[:, t + 1]], 1) for t in range(x.shape[1] - 1)])
        for x in (real, made)
    ]
    losses = dict(zip(("generator", "discriminator"), judged(other.discriminator, *pair), strict=True))
    losses["generator"] = losses["generator"] + 3 * (made - real).abs().mean()
    where, true, refined = (torch.stack(x) for x in zip(*crops, strict=True))
    both = judged(other.detail_discriminator, torch.cat([where, true], 1), torch.cat([where, refined], 1))
    losses |= {"detail": both[0] + 3 * (true - refined).abs().mean(), "detail_discriminator": both[1]}
    assert_gradients(found, losses, dict(other.named_children()))


def test_each_person_trains_scales_and_shifts_of_their_own() -> None:
    model = build().train()
    batch = {**kit.random_batch(model, 2), "label": torch.tensor([1, 1])}
    make_trainer(model).step(batch, 0)
    for norm in (module for module in model.generator.modules() if isinstance(module, Norm)):
        assert not norm.bias[0].any()
        assert norm.bias[1].any()


def test_the_first_network_learns_nothing_from_the_detail() -> None:
    model = build()
    condition = torch.randn(1, 2, 5, 16, 16)
    drawn, refined, _ = make_trainer(model)._draw(condition, None, 3, torch.tensor([0]))
    assert not torch.equal(drawn, refined)
    own = list(model.generator.parameters())
    assert all(g is None for g in torch.autograd.grad(refined[:, 0].sum(), own, allow_unused=True))


def test_discriminators_judge_each_two_frames_in_succession() -> None:
    condition, video = torch.arange(6.0).view(1, 3, 2, 1, 1), 10 + torch.arange(3.0).view(1, 3, 1, 1, 1)
    assert pairs(condition, video)[:, :, 0, 0].tolist() == [[0, 1, 10, 2, 3, 11], [2, 3, 11, 4, 5, 12]]
    model = build(image_shape=(3, 64, 64), scales=2, patch=34)
    assert [part.layers[0].in_channels for part in model.discriminator.parts] == [2 * (3 + 2 + 3)] * 2
    scores = [found[-1].shape[2] for found in model.discriminator.features(torch.zeros(1, 16, 64, 64))]
    assert scores == [14, 6]


def test_feature_matching_compares_layers_and_leaves_true_pictures_alone() -> None:
    torch.manual_seed(0)
    network = MultiScale([PatchGAN(1, width=2, patch=70, norm="instance", biases=True) for _ in range(2)])
    real, made = (torch.randn(1, 1, 64, 64, requires_grad=True) for _ in range(2))
    loss = feature_loss(network.features(real), network.features(made))
    slopes = torch.autograd.grad(loss, (real, made), allow_unused=True)
    assert slopes[0] is None
    assert slopes[1].abs().max() > 0
    assert feature_loss(network.features(real), network.features(real)).item() == 0
    layers = [[torch.zeros(1), torch.ones(1), torch.zeros(1), torch.zeros(1), torch.tensor([9.0])]]
    assert feature_loss([[torch.zeros(1)] * 5], layers).item() == 1  # the scores do not count


@pytest.mark.parametrize("config", [{"detail": 0}, {"people": 0, "reference": True, "window": 4, "joints": 0}])
def test_other_forms_train_all_of_their_weights(config: dict[str, Any]) -> None:
    model = build(**config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer = make_trainer(model.train(), mirror=True)
    for seed in range(2):
        torch.manual_seed(seed)
        metrics = trainer.step(kit.random_batch(model, 2, seed), 2 * seed)
    assert ("detail_generator" in metrics) == (config.get("detail") != 0)
    assert all(torch.isfinite(value) for value in metrics.values())
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert not still


def test_keypoints_are_mirrored_with_the_figure_that_they_draw() -> None:
    model = build(image_shape=(3, 32, 32), joints=18, people=0)
    joints = torch.stack([dancer(2, 32, 32, 0, i) for i in range(6)])
    figures = torch.stack([pose.draw(clip, (32, 32)) for clip in joints])
    batch = {"video": figures, "condition": figures, "joints": joints}
    torch.manual_seed(0)
    condition, _, found = make_trainer(model, mirror=True)._clips(batch)
    for i in range(6):
        drawn = model.encode(pose.draw(found[i], (32, 32))[None])[0]
        assert (drawn - condition[i]).abs().mean() < 0.01
    assert 0 < sum(torch.equal(x, y) for x, y in zip(found, joints, strict=True)) < 6


def test_bad_batches_are_named() -> None:
    model = build(condition_channels=1, condition_classes=3)
    batch = kit.random_batch(model, 2)
    with pytest.raises(DataError, match="a condition has the value 3, but classes are 0 to 2"):
        make_trainer(model).step({**batch, "condition": batch["condition"] + 1}, 0)
    with pytest.raises(DataError, match="labels must be 0 to 1, not 1 to 5"):
        make_trainer(model).step({**batch, "label": torch.tensor([1, 5])}, 0)
    with pytest.raises(OptionError, match="built without a discriminator"):
        make_trainer(build(discriminator=False))


# Keypoints


def test_figures_are_drawn_where_the_joints_are() -> None:
    joints = dancer(2, 64, 64, 0, 0)
    figures = pose.draw(joints, (64, 64))
    assert figures.shape == (2, 3, 64, 64)
    for first, second, colour in (limb for limb in pose.FIGURE.limbs if limb[0].endswith(("knee", "elbow"))):
        x, y = ((joints[0, pose.FIGURE.index(first)] + joints[0, pose.FIGURE.index(second)]) / 2).floor().long()
        near = figures[0, :, y - 1 : y + 2, x - 1 : x + 2].flatten(1).T
        assert (near == torch.tensor(colour)).all(1).any(), first
    assert pose.draw(joints[:0], (64, 64)).shape == (0, 3, 64, 64)
    moved = pose.draw(joints + 3, (64, 64))
    assert torch.equal(moved[:, :, 3:, 3:], figures[:, :, :-3, :-3])
    outside = pose.draw(joints - 100, (64, 64))
    assert not outside.any()


def test_a_limb_without_an_end_is_not_drawn() -> None:
    joints = dancer(1, 64, 64, 0, 0)
    joints[:, pose.FIGURE.index("l_wrist"), 1] = torch.nan
    yellow = torch.tensor([255, 255, 0])
    figure = pose.draw(joints, (64, 64))[0].flatten(1).T
    assert not (figure == yellow).all(1).any()
    assert (figure == torch.tensor([0, 255, 0])).all(1).any()  # the other arm


def test_missing_joints_come_from_the_frames_around_or_stay_away() -> None:
    joints = torch.arange(12.0).view(6, 1, 2).repeat(1, 3, 1)
    holes = joints.clone()
    holes[2:4, 0] = torch.nan  # within
    holes[0, 1, 0] = torch.nan  # at the beginning, one coordinate
    holes[:, 2] = torch.nan  # always
    filled = pose.fill(holes)
    assert torch.allclose(filled[:, 0], joints[:, 0])
    assert torch.equal(filled[0, 1], joints[1, 1])
    assert torch.equal(filled[1:, 1], joints[1:, 1])
    assert filled[:, 2].isnan().all()
    assert holes[2, 0].isnan().all()  # the input stays
    with pytest.raises(DataError, match="there is no keypoint in any of the 6 frames"):
        pose.fill(torch.full((6, 3, 2), torch.nan))


def test_smoothing_takes_out_jumps_and_keeps_motion() -> None:
    line = torch.arange(9.0)[:, None, None].expand(9, 2, 2).clone()
    assert torch.allclose(pose.smooth(line), line)
    assert pose.smooth(line[:0]).shape == (0, *line.shape[1:])
    jump = line.clone()
    jump[4, 0] += 50
    assert torch.allclose(pose.smooth(jump)[:, 1], line[:, 1])
    assert (pose.smooth(jump)[:, 0] - line[:, 0]).abs().max() < 1
    torch.manual_seed(0)
    noise = torch.randn(200, 1, 2)
    assert pose.smooth(noise, median=1, mean=5)[2:-2].std() < 0.6 * noise.std()
    with pytest.raises(ValueError, match="odd numbers"):
        pose.smooth(line, median=2)


def walker(far: float, near: float, far_height: float, near_height: float, x: float) -> torch.Tensor:
    """Someone who comes nearer in five frames, growing as they do; (5, 18, 2)."""
    shape = dancer(1, 100, 100, 0, 0)[0]
    ankles = shape[[pose.FIGURE.index(name) for name in pose.FIGURE.ankles]].mean(0)
    shape = (shape - ankles) / (ankles[1] - shape[pose.FIGURE.index("head"), 1])  # of height 1, standing at 0
    share = torch.linspace(0, 1, 5)
    place = torch.stack([torch.full((5,), x), far + share * (near - far)], 1)
    return place[:, None] + shape * (far_height + share * (near_height - far_height))[:, None, None]


def test_the_extremes_of_the_source_become_those_of_the_target() -> None:
    source, target = walker(40, 60, 20, 30, 10), walker(100, 200, 60, 120, 80)
    ours, theirs = pose.measure(source), pose.measure(target)
    assert (theirs.far, theirs.near) == pytest.approx((100, 200))
    assert (theirs.far_height, theirs.near_height) == pytest.approx((60, 120))
    moved = pose.normalise(source, ours, theirs)
    assert torch.allclose(
        moved[[0, -1]], target[[0, -1]], atol=1e-3
    )  # between them the scale is linear, not the height
    assert torch.allclose(pose.normalise(source, ours, ours), source, atol=1e-4)
    still = walker(50, 50, 20, 20, 10)
    brought = pose.measure(pose.normalise(still, pose.measure(still), theirs))
    assert (brought.near, brought.near_height, brought.middle) == pytest.approx((200, 120, theirs.middle), abs=1e-2)


def test_a_jump_is_no_walk_away_from_the_camera() -> None:
    """Section 9.1: feet in the air do not count. They had made people grow and shrink, or stand on their heads."""
    still, target = walker(50, 50, 20, 20, 10).repeat(4, 1, 1), walker(100, 200, 60, 120, 80)
    jump = still.clone()
    jump[7:9, :, 1] -= 12
    jump[8, pose.FIGURE.index("head"), 1] += 15  # with the legs drawn up
    ours = pose.measure(jump)
    assert (ours.far, ours.near, ours.far_height, ours.near_height) == pytest.approx((50, 50, 20, 20))
    moved = pose.normalise(jump, ours, pose.measure(target))
    assert torch.allclose(moved[7] - moved[6], torch.tensor([0.0, -12 * 6]), atol=1e-3)  # 120 pixels for 20
    assert torch.allclose(pose.normalise(jump, ours, ours), jump, atol=1e-4)
    approaching = walker(40, 60, 20, 30, 10)
    both = torch.cat([approaching, approaching[2:3] - torch.tensor([0.0, 25.0])])
    found = pose.measure(both)
    assert (found.far, found.near) == pytest.approx((40, 60))
    scale = pose._heights(pose.normalise(both, found, pose.measure(target)), pose.FIGURE) / pose._heights(
        both, pose.FIGURE
    )
    assert torch.allclose(scale[-1], scale[0])  # no smaller than far away


def test_keypoints_of_another_skeleton_or_of_nobody_are_named() -> None:
    with pytest.raises(DataError, match=r"keypoints must be \(T, 18, 2\), not \(4, 17, 2\)"):
        pose.draw(torch.zeros(4, 17, 2), (8, 8))
    with pytest.raises(DataError, match="head and ankles are missing in all of the 4 frames"):
        pose.measure(torch.full((4, 18, 2), torch.nan))
    with pytest.raises(DataError, match="the head is not above the ankles where they are the farthest, or the nearest"):
        pose.measure(-dancer(4, 64, 64, 0, 0))


# Figures


def test_a_receipt_names_the_frames_of_the_windows_that_are_compared(tmp_path: Path) -> None:
    """The model draws clips of any length, but of each clip of the data one window counts."""
    from test_distances import OfFrames, script

    model = build(people=0, joints=0, window=3)
    for i, clip in enumerate(model.examples(4)["condition"]):
        for t, frame in enumerate(clip[:6]):
            for key in ("condition", "video"):
                (folder := tmp_path / "train" / key / str(i)).mkdir(parents=True, exist_ok=True)
                write_image(frame, folder / f"{t}.png")
    network = script(OfFrames(), tmp_path / "frames.pt")
    [receipt] = metrics.evaluate(model, data=str(tmp_path), metrics=["fd"], features=network, count=3)
    assert (receipt["of"], receipt["frames"], receipt["count"]) == ("single frames", 3, 3)


def test_figures_are_measured_with_the_person_and_the_keypoints_that_belong_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that a frame is drawn from comes from the data: of a table all of it, of a folder the figures alone."""
    from test_distances import OfFrames, script

    model = build(joints=3, window=2)
    network = script(OfFrames(), tmp_path / "frames.pt")
    clips = model.examples(6)["condition"].permute(0, 1, 3, 4, 2).numpy()
    joints = torch.rand(6, 8, 3, 2) * 16
    joints[0, :, 2] = torch.nan  # of the table some may be missing
    rows = {
        "frames": [[Image.fromarray(frame) for frame in clip] for clip in clips],
        "condition": [[Image.fromarray(frame) for frame in clip] for clip in clips],
        "joints": joints.tolist(),
        "actor": [0, 1, 1, 0, 1, 0],
        "label": [5, 6, 7, 8, 9, 4],  # what they do, which is not asked for
    }
    kinds = {"frames": datasets.List(datasets.Image()), "condition": datasets.List(datasets.Image())}
    kinds |= {"joints": datasets.List(datasets.List(datasets.List(datasets.Value("float32"))))}
    kinds |= dict.fromkeys(("actor", "label"), datasets.Value("int32"))
    (tmp_path / "table").mkdir()
    table = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    table.to_parquet(tmp_path / "table" / "train.parquet")
    drawn: list[dict[str, Any]] = []
    sample = model.sample
    monkeypatch.setattr(model, "sample", lambda n, **how: drawn.append(how) or sample(n, **how))
    how: dict[str, Any] = {"metrics": ["fd"], "features": network, "count": 5, "split": "train+validation"}
    how |= {"columns": {"label": "actor"}}
    [receipt] = metrics.evaluate(model, data=str(tmp_path / "table"), **how)
    assert receipt["given"] == "label, joints"
    [options] = drawn
    actors = torch.as_tensor(options["label"])
    assert sorted(actors.tolist()) in ([0, 0, 1, 1, 1], [0, 0, 0, 1, 1])
    whole = zoo.data.load(str(tmp_path / "table"), "train", model.batch_shapes, columns={"label": "actor"})
    assert torch.equal(options["joints"][0].nan_to_num(), whole.batch([0])["joints"][0].nan_to_num())
    assert actors[0] == whole.batch([0])["label"][0]
    [receipt] = metrics.evaluate(model, data=str(tmp_path / "table"), **{**how, "columns": None}, options={"label": 1})
    assert drawn[-1]["label"] == 1  # what is asked for comes first
    assert (receipt["given"], receipt["options"]) == ("joints", "label=1")
    with pytest.raises(DataError, match="column 'label' of .* has labels up to 9, but this .* knows 0 to 1"):
        metrics.evaluate(model, data=str(tmp_path / "table"), **{**how, "columns": None})
    for i in range(4):
        for t in range(3):
            for key in ("condition", "video"):
                (folder := tmp_path / "folder" / "train" / key / str(i)).mkdir(parents=True, exist_ok=True)
                Image.fromarray(clips[i, t]).save(folder / f"{t}.png")
    [receipt] = metrics.evaluate(model, data=str(tmp_path / "folder"), **{**how, "columns": None, "count": 3})
    assert "given" not in receipt
    assert not {"label", "joints"} & set(drawn[-1])


def test_who_is_drawn_in_a_measurement_is_whom_each_clip_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in training the first frame is given, and those after it are drawn and compared."""
    from test_distances import OfFrames, script

    model = build(people=0, reference=True, window=3, joints=0)
    network = script(OfFrames(), tmp_path / "frames.pt")
    for i, clip in enumerate(model.examples(4)["condition"]):
        for t, frame in enumerate(clip[:3]):
            for key, shown in (("condition", frame), ("video", 255 - frame.roll(i, 2))):
                (folder := tmp_path / "train" / key / str(i)).mkdir(parents=True, exist_ok=True)
                write_image(shown, folder / f"{t}.png")
    batch = zoo.data.load(str(tmp_path), "train", model.batch_shapes).batch(range(3))
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(model, "sample", lambda n, **how: drawn.append(how) or batch["video"][:, 1:])
    [receipt] = metrics.evaluate(model, data=str(tmp_path), metrics=["fd"], features=network, count=3)
    assert torch.equal(drawn[0]["reference"], batch["video"][:, 0])
    assert torch.equal(drawn[0]["condition"], batch["condition"][:, 1:])
    assert receipt["value"] == pytest.approx(0, abs=1e-3)
    assert (receipt["given"], receipt["frames"]) == ("reference", 2)
    whom = batch["video"][:1, 2]
    [receipt] = metrics.evaluate(
        model, data=str(tmp_path), metrics=["fd"], features=network, count=3, options={"reference": whom}
    )
    assert drawn[1]["reference"] is whom  # who is asked for comes first
    assert "given" not in receipt
