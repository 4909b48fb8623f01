"""vid2vid: the composition, what a frame depends on, runs of frames, editing."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from objectives import assert_gradients, judged, step_gradients

import zoo
from zoo import building
from zoo.errors import OptionError
from zoo.nn.flow import match_blocks, warp
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator

zoo.models()  # puts plugins/ on the path
from zoo_translation.vid2vid import Vid2Vid  # noqa: E402
from zoo_translation.vid2vid_networks import compose  # noqa: E402
from zoo_translation.vid2vid_spec import ABLATION  # noqa: E402
from zoo_translation.vid2vid_train import runs  # noqa: E402

MAPS = {"condition_channels": 1, "condition_classes": 3, "foreground": (2,)}


def built(**config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build("vid2vid", preset="tiny", **config)


def make_trainer(model: Any, examples: int = 1000, **recipe: Any) -> Any:
    settings = Settings(
        model="vid2vid", data="-", out="-", preset="tiny", batch_size=2, device="cpu", examples=examples
    )
    full = building.schema(model.spec, "recipe").check({"grow": 0.0, **recipe})
    return building.make_trainer(model.spec, model, settings, make_accelerator(settings), full)


def made_up(model: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    most = {"condition": model.classes or 256, "video": 256}
    return {
        key: torch.randint(0, most[key], (2, *shape), dtype=torch.uint8, generator=generator)
        for key, shape in model.batch_shapes.items()
    }


def test_the_papers_coarse_network_has_its_parameters() -> None:
    """That of Cityscapes with a foreground network, 35 classes and their edges."""
    with torch.device("meta"):
        model = zoo.build("vid2vid", preset="cityscapes", discriminator=False)
    assert sum(p.numel() for p in model.parameters()) == 411_335_241


def test_a_frame_is_hallucinated_or_moved() -> None:
    raw, moved = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    assert torch.equal(compose(raw, moved, torch.ones(2, 1, 4, 4)), raw)
    assert torch.equal(compose(raw, moved, torch.zeros(2, 1, 4, 4)), moved)


def test_where_nothing_is_hallucinated_the_past_frame_stays() -> None:
    """With a weight of 0 and no flow a frame is the one before it."""
    model = built().eval()
    [generator] = model.generators
    torch.nn.init.constant_(generator.weight_head.bias, -100.0)
    for head in (generator.weight_head, generator.flow_head):
        torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(generator.flow_head.bias)
    clip = model.sample(1, condition=model.examples(1)["condition"])
    assert (clip[:, 1:].int() - clip[:, :1].int()).abs().max() <= 1
    torch.nn.init.constant_(generator.flow_head.bias, 0.05)  # of 20: by one pixel, right and down
    clip = model.sample(1, condition=model.examples(1)["condition"])
    assert (clip[:, 1, :, :-1, :-1].int() - clip[:, 0, :, 1:, 1:].int()).abs().max() <= 1


def test_the_foreground_is_drawn_from_labels_alone() -> None:
    model = built(**MAPS).eval()
    condition = torch.zeros(1, 4, 1, 16, 16, dtype=torch.uint8)
    condition[:, :, :, 4:12, 4:12] = 2
    labels = model.encode(condition[:, 0])
    state = model.start(1, torch.device("cpu"))
    frame = model.next(state, labels).frame
    torch.manual_seed(1)
    other = model.after(state, torch.rand(1, 3, 16, 16), labels)
    changed = model.next(other, labels).frame
    assert torch.allclose(frame[..., 4:12, 4:12], changed[..., 4:12, 4:12], atol=1e-5)
    assert not torch.allclose(frame[..., :4, :4], changed[..., :4, :4], atol=1e-3)


def test_a_frame_depends_on_no_later_condition() -> None:
    model = built()
    condition = model.examples(1)["condition"]
    clip = model.sample(1, condition=condition)
    for t in range(4):
        edited = condition.clone()
        edited[:, t] = 255 - edited[:, t]
        changed = model.sample(1, condition=edited)
        assert torch.equal(changed[:, :t], clip[:, :t])
        assert not torch.equal(changed[:, t], clip[:, t])


def test_a_clip_drawn_by_parts_or_streamed_is_the_same() -> None:
    model = built()
    condition = torch.cat([model.examples(2)["condition"]] * 2, 1)  # 8 frames
    clip = model.sample(2, condition=condition, frames=8)
    assert torch.equal(torch.stack(list(model.stream(2, condition=condition)), 1), clip)
    one = model.stream(condition=iter(condition[0].unbind()))  # an iterator of frames
    assert torch.equal(torch.cat(list(one)), model.sample(1, condition=condition[:1], frames=8)[0])
    model.eval()
    with torch.no_grad():
        state, frames = model.start(2, torch.device("cpu")), []
        for part in (condition[:, :3], condition[:, 3:]):  # the state is carried from one to the other
            for frame in part.unbind(1):
                drawn, state = model.advance(state, {"condition": frame})
                frames.append(drawn)
    assert (zoo.nn.adversarial.to_pixels(torch.stack(frames, 1)).int() - clip.int()).abs().max() <= 1


def test_all_of_a_clip_is_drawn_from_unless_fewer_frames_are_asked_for() -> None:
    model = built()  # that learns from 4 frames
    condition = torch.cat([model.examples(2)["condition"]] * 2, 1)
    whole = model.sample(2, condition=condition)
    assert whole.shape[1] == 8
    for frames in (2, 6):
        shorter = model.sample(2, condition=condition[:, :frames])
        assert torch.equal(shorter, whole[:, :frames])
        assert torch.equal(model.sample(2, condition=condition, frames=frames), shorter)
    assert model.sample(0, condition=condition[:0]).shape == (0, 8, 3, 16, 16)


def test_an_iterator_of_frames_drives_all_samples_and_must_have_enough() -> None:
    model = built()
    condition = model.examples(1)["condition"]
    wanted = model.sample(3, condition=condition)
    assert torch.equal(model.sample(3, batch_size=1, condition=iter(condition[0])), wanted)
    for frames, asked, message in (
        (2, None, "ended after 2 frames, but 4"),
        (2, 3, "after 2 frames, but 3"),
        (0, 1, "but 1"),
    ):
        with pytest.raises(OptionError, match=message):
            model.sample(1, frames=asked, condition=iter(condition[0, :frames]))
    with pytest.raises(OptionError, match="what is drawn from ended after 0 frames, but 1 are to be drawn"):
        list(model.stream(condition=iter([])))
    with pytest.raises(OptionError, match="ended after 2 frames, but 3 are"):
        list(model.stream(frames=3, condition=iter(condition[0, :2])))
    assert len(list(model.stream(condition=iter(condition[0, :2])))) == 2


def test_a_sample_does_not_depend_on_its_mates() -> None:
    model = built()
    condition = model.examples(3)["condition"]
    together = model.sample(3, condition=condition)
    for i in range(3):
        alone = model.sample(1, condition=condition[i : i + 1])
        assert (alone[0].int() - together[i].int()).abs().max() <= 1


def test_bad_conditions_are_named() -> None:
    model = built(**MAPS)
    condition = model.examples(1)["condition"]
    for wrong, message in (
        ({}, "it needs condition=CLIP"),
        ({"condition": condition + 3}, "option 'condition' has the value [345], but its classes are 0 to 2"),
        ({"condition": condition[:, :, :, :8]}, "option 'condition' takes uint8"),
        ({"condition": condition, "frames": 9}, "has 4 frames, but 9 are to be drawn"),
    ):
        with pytest.raises(OptionError, match=message):
            model.sample(1, **wrong)
    with pytest.raises(OptionError, match="frames of option 'condition' must be uint8"):
        next(model.stream(condition=iter([torch.zeros(3, 16, 16, dtype=torch.uint8)])))


def test_no_clips_are_asked_for() -> None:
    model = built()
    assert model.sample(0, **model.examples(0)).shape == (0, 4, 3, 16, 16)


def test_finer_generators_add_to_the_coarse_one() -> None:
    model = built(scales=2)
    assert len(model.generators) == 2
    clip = model.sample(1, condition=model.examples(1)["condition"])
    assert clip.shape == (1, 4, 3, 16, 16)
    before = clip.clone()
    torch.nn.init.normal_(model.generators[0].picture[0][0].first.weight)
    assert not torch.equal(model.sample(1, condition=model.examples(1)["condition"]), before)


@pytest.mark.parametrize("downs", [1, 2, 3])
def test_finer_foregrounds_add_to_the_coarse_one(downs: int) -> None:
    """Of three halvings, as in the paper, the coarse foreground is half as wide, and so are finer ones."""
    model = built(**MAPS, scales=2, downs=downs, width=8, image_shape=(3, 32, 32)).eval()
    condition = model.examples(1)["condition"]
    foreground = (condition[:, 0] == 2).expand(1, 3, 32, 32)
    before = model.sample(1, condition=condition)[:, 0]
    torch.nn.init.normal_(model.generators[0].foreground[0][0][0].weight)
    changed = model.sample(1, condition=condition)[:, 0] != before
    assert changed[foreground].any()
    assert not changed[~foreground].any()


# Training


@pytest.mark.parametrize(("name", "change"), ABLATION.items())
def test_the_ablation_leaves_out_what_its_names_say(name: str, change: dict[str, Any]) -> None:
    with torch.device("meta"):
        whole, part = (zoo.build("vid2vid", preset=f"lpc_sprites32{end}") for end in ("", f"-{name}"))
    assert part.config == {**whole.config, **change}
    names = {text.split(".")[2] for text, _ in part.named_parameters() if text.startswith("generators.0.")}
    assert ("flow_head" in names) == (name != "no-flow")
    assert any("foreground" in text for text in names) == (name == "foreground")
    assert (len(part.clip_discriminators) > 0) == (name != "no-clips")


@pytest.mark.parametrize("config", [{}, MAPS, {"scales": 2}, {"flow": False}])
def test_gradients_reach_every_parameter(config: dict[str, Any]) -> None:
    model = built(**config)
    unused = "generators.0.(picture_head|flow_head|weight_head)" if config.get("scales") else "$^"
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    trainer = make_trainer(model, learning_rate=0.01)
    for update in range(2):
        trainer.step(made_up(model, update), 2 * update)
    import re

    still = [k for k, p in model.named_parameters() if torch.equal(p, before[k]) and not re.match(unused, k)]
    assert still == []


def test_each_network_learns_from_its_own_loss() -> None:
    """Eq. 1 and 7, written out frame by frame: what is drawn is drawn from labels and frames up to it."""
    model = built(frames=7, strides=2, discriminator_scales=1)
    other = copy.deepcopy(model).train()
    batch = {**made_up(model), "flow": torch.randn(2, 7, 2, 16, 16)}
    mine, theirs = (
        {"generator": x.generators, "frames": x.frame_discriminator, "clips": x.clip_discriminators}
        for x in (model, other)
    )
    found = step_gradients(make_trainer(model.train(), l1_weight=3.0), batch, mine)
    real, labels = (batch[key].float() / 127.5 - 1 for key in ("video", "condition"))
    fake, flow_loss = [torch.zeros(2, 3, 16, 16)] * 2, 0
    for t in range(7):
        seen = torch.cat([labels[:, max(t - 2, 0)], labels[:, max(t - 1, 0)], labels[:, t]], 1)
        past = torch.cat([fake[-2].detach(), fake[-1].detach()], 1)
        drawn = other.generators[0](seen, past, raw=t == 0)
        fake.append(drawn.frame)
        if t:
            moved = (warp(real[:, t - 1], drawn.flow) - real[:, t]).abs().mean()
            flow_loss = flow_loss + (moved + (drawn.flow - batch["flow"][:, t]).abs().mean() / 20) / 6
    made = torch.stack(fake[2:], 1)
    loss, frames = judged(
        other.frame_discriminator, *(torch.cat([labels, clip], 2).flatten(0, 1) for clip in (real, made))
    )
    clips = 0
    for stride, network in zip((1, 3), other.clip_discriminators, strict=True):
        rows: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for t in range(7 - 2 * stride):
            flows = [batch["flow"][:, t + 1], batch["flow"][:, t + 2]]
            if stride == 3:
                flows = [match_blocks(real[:, a], real[:, a + 3], reach=8, block=3) for a in (t, t + 3)]
            for clip, row in zip((real, made), rows, strict=True):
                row.append(torch.cat([*(clip[:, t + i * stride] for i in range(3)), *(flow / 20 for flow in flows)], 1))
        of_made, of_both = judged(network, *(torch.cat(row) for row in rows))
        loss, clips = loss + of_made, clips + of_both
    total = loss + 10 * flow_loss + 3 * (made - real).abs().mean()
    assert_gradients(found, {"generator": total, "frames": frames, "clips": clips}, theirs)


def test_scales_see_what_the_picture_is_reduced_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """And find flows in pixels of their own size."""
    model = built(scales=3, width=8, image_shape=(3, 32, 32)).eval()
    assert [generator.flow_scale for generator in model.generators] == [20, 40, 80]
    sizes = []
    for generator in model.generators:
        forward = generator.forward
        monkeypatch.setattr(
            generator, "forward", lambda *a, forward=forward, **k: sizes.append([*a[:2]]) or forward(*a, **k)
        )
    state = model.start(1, torch.device("cpu"))
    labels = torch.rand(1, 3, 32, 32)
    model.next(model.after(state, torch.rand(1, 3, 32, 32), labels), labels)
    whole = sizes[-1]
    for (seen, past), share in zip(sizes, (4, 2, 1), strict=True):
        for reduced, full in zip((seen, past), whole, strict=True):
            assert torch.allclose(reduced, torch.nn.functional.avg_pool2d(full, share), atol=1e-6)


def test_runs_have_the_frames_and_flows_between_them() -> None:
    clip = torch.arange(7.0).view(1, 7, 1, 1, 1)
    flow = 10 * torch.arange(5.0).view(1, 5, 1, 1, 1).expand(1, 5, 2, 1, 1)  # over 2 frames
    found = runs(clip, flow, 3, 2)[:, :, 0, 0]
    assert found.tolist() == [[t, t + 2, t + 4, 10 * t, 10 * t, 10 * (t + 2), 10 * (t + 2)] for t in range(3)]


def test_clips_grow_by_a_schedule_that_ends() -> None:
    trainer = make_trainer(built(frames=16), examples=1000, grow=0.1)
    assert [trainer.length(seen) for seen in (0, 99, 100, 200, 300, 999)] == [2, 2, 4, 8, 16, 16]


def test_the_flow_loss_is_least_for_the_true_flow() -> None:
    """L_W of a clip that moves by whole pixels: near 0 with the flow that moves it."""
    model = built(frames=4)
    trainer = make_trainer(model)
    still = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    real = torch.stack([still.roll(t, 3) for t in range(4)], 1)
    labels = torch.zeros(1, 4, 3, 16, 16)
    losses = {}
    [generator] = model.generators
    torch.nn.init.zeros_(generator.flow_head.weight)
    for x in (0, -1, 1):  # the frame before lies one pixel to the left
        torch.nn.init.zeros_(generator.flow_head.bias)
        generator.flow_head.bias.data[0] = x / 20
        losses[x] = trainer._draw(real, labels, trainer._reference(real, None))[1].item()
    assert losses[-1] < 0.35 * min(losses[0], losses[1])


def test_flicker_is_how_much_the_error_changes_from_frame_to_frame() -> None:
    """Of clips that are not mirrored."""
    model = built()
    batch, trainer = made_up(model), make_trainer(model, mirror=True)
    true = batch["video"] / 127.5 - 1
    for signs, flicker in (([1, 1, 1, 1], 0.0), ([1, -1, 1, -1], 0.2), ([1, 1, -1, -1], 0.2 / 3)):
        error = 0.1 * torch.tensor(signs).view(1, 4, 1, 1, 1)
        trainer._draw = lambda real, *_, error=error: (true + error, None)
        found = trainer.evaluate(batch)
        assert found["l1"].item() == pytest.approx(0.1, rel=1e-4)
        assert found["flicker"].item() == pytest.approx(flicker, abs=1e-5)
    assert trainer.mirror


def test_the_flow_of_the_data_is_the_reference_where_there_is_one() -> None:
    model = built()
    batch = {**made_up(model, 0), "flow": torch.randn(2, 4, 2, 16, 16)}
    for recipe in ({}, {"reference_flow": "network"}):
        trainer = make_trainer(model, **recipe)
        real, _, flow = trainer._clips(batch, 4)
        assert torch.equal(trainer._reference(real, flow), batch["flow"][:, 1:])
    trainer = make_trainer(model, mirror=True)
    torch.manual_seed(0)
    real, _, flow = trainer._clips(batch, 4)
    straight = make_trainer(model)._clips(batch, 4)[0]
    for i in range(2):
        turned = not torch.equal(real[i], straight[i])
        wanted = batch["flow"][i, 1:]
        wanted = torch.stack([-wanted[:, 0], wanted[:, 1]], 1).flip(3) if turned else wanted
        assert torch.equal(flow[i], wanted)
    trainer = make_trainer(model)
    trainer.settings = dataclasses.replace(trainer.settings, frame_stride=2)  # over which the data's flow does not go
    assert trainer._clips(batch, 4)[2] is None
    trainer = make_trainer(model, reference_flow="none")
    assert trainer._reference(*trainer._clips(batch, 4)[::2]) is None


@pytest.mark.parametrize("reference", ["match", "network"])
def test_references_find_the_motion_of_a_clip(reference: str) -> None:
    """Over one frame and over three."""
    model = built(frames=4)
    trainer = make_trainer(model, reference_flow=reference)
    spots = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ground = torch.nn.functional.interpolate(spots, (20, 20), mode="bilinear")
    real = torch.stack([ground.roll((t, -2 * t), (2, 3)) for t in range(4)], 1)
    for stride in (1, 3):
        flow = trainer._found(real, stride)
        assert flow.shape == (1, 4 - stride, 2, 20, 20)
        middle = flow[..., 7:-7, 7:-7].mean((0, 1, 3, 4))
        assert torch.allclose(middle, torch.tensor([2.0, -1.0]) * stride, atol=0.3)


def test_sizes_that_make_no_sense_are_named() -> None:
    for config, message in (
        ({"frames": 6}, "runs of 3 frames at 2 strides need 7 frames, not 6"),
        ({"frames": 1, "strides": 0}, "runs of 3 frames at 0 strides need 2 frames, not 1"),  # nothing could flicker
        ({"image_shape": (3, 100, 64)}, "halvings do not divide 100x64"),
        (
            {"image_shape": (3, 32, 64), "scales": 3, "patch": 16},
            "32x64 is too small for 5 halvings, which must leave 2 pixels",
        ),
        ({"foreground": (1,)}, "foreground takes classes"),
        ({"width": 6, "scales": 3, "patch": 16}, "width must divide by 4, not 6, for 3 scales"),
        ({"width": 1, **MAPS}, "width must divide by 2, not 1, for 1 scales and such a foreground"),
    ):
        with pytest.raises(ValueError, match=message):
            Vid2Vid(**config)
    with pytest.raises(OptionError, match="built without a discriminator"):
        make_trainer(built().released())
    with pytest.raises(OptionError, match="block an odd number, not 4 and 2"):
        make_trainer(built(), block=2)
