"""Deep Video Portraits: windows of conditions, the drawn head, transfer from one to another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from objectives import assert_gradients, step_gradients
from PIL import Image

import zoo
from zoo import building, data, sampling
from zoo.errors import OptionError
from zoo.settings import Settings
from zoo.train.accelerator import make_accelerator

zoo.models()  # puts plugins/ on the path
from zoo_translation import head  # noqa: E402
from zoo_translation.deep_video_portraits import DeepVideoPortraits  # noqa: E402


def built(**config: Any) -> Any:
    torch.manual_seed(0)
    return zoo.build("deep_video_portraits", preset="tiny", **config)


def make_trainer(model: Any, **recipe: Any) -> Any:
    settings = Settings(model=model.spec.name, data="-", out="-", preset="tiny", batch_size=2, device="cpu")
    full = building.schema(model.spec, "recipe").check(recipe)
    return building.make_trainer(model.spec, model, settings, make_accelerator(settings), full)


def test_the_paper_stacks_99_channels() -> None:
    """Eleven frames of a rendering, a correspondence and a gaze, at 256 pixels through eight halvings."""
    with torch.device("meta"):
        model = DeepVideoPortraits()
        assert model.generator.encoder[0].in_channels == 99
        assert len(model.generator.encoder) == len(model.generator.decoder) == 8
        assert model.generator(torch.zeros(1, 99, 256, 256)).shape == (1, 3, 256, 256)


def test_a_frame_depends_on_its_window_alone() -> None:
    model = built(window=3)
    given = {name: torch.cat([clip] * 2, 1)[:, :8] for name, clip in model.examples(1).items()}
    clip = model.sample(1, frames=8, **given)
    for name in model.conditions:
        edited = {**given, name: given[name].clone()}
        edited[name][:, 3] = 255 - edited[name][:, 3]
        changed = model.sample(1, frames=8, **edited)
        assert [not torch.equal(changed[:, t], clip[:, t]) for t in range(8)] == [3 <= t < 6 for t in range(8)]


def test_dropout_is_the_samples_own() -> None:
    model = built(width=32, width_max=64)
    request = sampling.request_for(model, 5, options=model.examples(5))
    for mask in model.begin(request).masks.values():
        assert set(mask.unique().tolist()) == {0, 1}
        assert mask.mean().item() == pytest.approx(0.5, abs=0.05)
    model = built()
    given = model.examples(3)
    together = model.sample(3, seed=4, **given)
    assert not torch.equal(model.sample(3, seed=5, **given), together)
    for i in range(3):
        alone = model.sample(1, seed=4, start=i, **{name: clip[i : i + 1] for name, clip in given.items()})
        assert (alone[0].int() - together[i].int()).abs().max() <= 1
    stream = model.stream(3, seed=4, **given)
    assert (torch.stack(list(stream), 1).int() - together.int()).abs().max() <= 1


def test_gradients_reach_every_parameter() -> None:
    model = built()
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    trainer = make_trainer(model, learning_rate=0.01)
    for update in range(2):
        clips = head.render(head.motion(6, update), 16)
        batch = {name: clip.unflatten(0, (2, 3)) for name, clip in clips.items()}
        trainer.step(batch, 2 * update)
    assert [key for key, p in model.named_parameters() if torch.equal(p, before[key])] == []


def test_each_network_learns_from_its_own_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last frame of a window from all of its conditions, the oldest first: 100 L1 and a GAN that sees them too."""
    monkeypatch.setattr("zoo_translation.deep_video_portraits.drop", lambda x, mask: x)
    model, other = built().train(), built().train()
    clips = head.render(head.motion(6, 0), 16)
    batch = {name: clip.unflatten(0, (2, 3)) for name, clip in clips.items()}
    found = step_gradients(make_trainer(model), batch, dict(model.named_children()))
    window = torch.cat([batch[name][:, t].float() / 127.5 - 1 for t in range(3) for name in head.CONDITIONS], 1)
    real = batch["video"][:, 2].float() / 127.5 - 1
    made = other.generator(window)
    true, false = (other.discriminator(torch.cat([window, x], 1)) for x in (real, made))
    losses = {"generator": torch.nn.functional.softplus(-false).mean() + 100 * (made - real).abs().mean()}
    losses["discriminator"] = sum(torch.nn.functional.softplus(x).mean() for x in (-true, false)) / 2
    assert_gradients(found, losses, dict(other.named_children()))


def test_windows_are_drawn_from_as_they_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest condition first, and dropout: half of the features, the others doubled."""
    model = built().eval()
    given = model.examples(1)
    clip = model.sample(1, seed=3, **given)
    seen: list[torch.Tensor] = []
    forward = model.generator.forward
    monkeypatch.setattr(model.generator, "forward", lambda x, masks: seen.append(x) or forward(x, masks))
    assert torch.equal(model.sample(1, seed=3, **given), clip)
    assert torch.equal(seen[4], model.encode({name: x[:, 2:5] for name, x in given.items()}).flatten(1, 2))
    shapes = model.generator.mask_shapes(16, 16)
    even = {name: torch.full((1, *shape), 0.5) for name, shape in shapes.items()}
    plain = forward(seen[4], even)
    monkeypatch.setattr("zoo_translation.deep_video_portraits.DROPPING", 0)
    assert torch.allclose(forward(seen[4], None), plain, atol=1e-6)


def test_bad_conditions_are_named() -> None:
    model = built()
    given = model.examples(1)
    for change, message in (
        ({"gaze": None}, "it needs gaze=CLIP"),
        ({"gaze": given["gaze"][:, :5]}, "must have equally many frames, but have: 'condition' 8, .* 'gaze' 5"),
        ({"gaze": given["gaze"][..., :8]}, "option 'gaze' takes uint8"),
        ({"frames": 9}, "has 8 frames, but 9 are to be drawn"),
        ({**{name: clip[:, :2] for name, clip in given.items()}, "frames": 2}, "2 frames, but .* from windows of 3"),
    ):
        with pytest.raises(OptionError, match=message):
            model.sample(1, **{**given, **change})
    with pytest.raises(OptionError, match="'patch' of deep_video_portraits must be one of 1, 16, .* not 50"):
        built(patch=50)
    with pytest.raises(OptionError, match="conditions are some of"):
        built(conditions=("edges",))
    with pytest.raises(OptionError, match="draw from condition; they know no gaze"):
        built(conditions=("condition",)).sample(1, condition=given["condition"], gaze=given["gaze"])
    short = {name: iter(clip[0, : 4 if name == "gaze" else 8].unbind()) for name, clip in given.items()}
    with pytest.raises(OptionError, match="equally many frames, but gaze ended first"):
        list(model.stream(1, **short))


def test_a_clip_may_come_frame_by_frame() -> None:
    model = built()
    given = model.examples(1)
    clip = model.sample(1, frames=8, **given)[0]
    pulled: list[int] = []

    def frames(name: str) -> Iterator[torch.Tensor]:
        for t, frame in enumerate(given[name][0]):
            pulled.append(t)
            yield frame

    for t, frame in enumerate(model.stream(1, **{name: frames(name) for name in model.conditions})):
        assert max(pulled) == t  # no frame is read ahead
        assert torch.equal(frame[0], clip[t])


def test_label_maps_become_a_channel_for_each_class() -> None:
    model = built(conditions=("condition",), condition_classes=6)
    assert model.batch_shapes["condition"] == (3, 1, 16, 16)
    maps = torch.arange(6, dtype=torch.uint8).view(1, 6, 1, 1, 1).expand(1, 6, 1, 16, 16)
    found = model.encode({"condition": maps})
    assert torch.equal(found[0, :, :, 0, 0], torch.eye(6))
    assert model.sample(1, condition=maps, frames=6).shape == (1, 6, 3, 16, 16)
    with pytest.raises(OptionError, match="option 'condition' has the value 6, but its classes are 0 to 5"):
        model.sample(1, condition=maps + 1, frames=6)
    with pytest.raises(OptionError, match="condition_classes needs condition"):
        built(conditions=("gaze",), condition_classes=6)


def test_the_preset_of_animated_emoji_reads_maps_of_their_parts(tmp_path: Path) -> None:
    """Grey pictures of numbers 0 to 5, as its data have them."""
    model = zoo.build("deep_video_portraits", preset="noto_animated64", discriminator=False)
    for name, mode in (("video", "RGB"), ("condition", "L")):
        (tmp_path / "train" / name / "0").mkdir(parents=True)
        for t in range(11):
            colour = t % 6 if mode == "L" else (t, t, t)
            Image.new(mode, (64, 64), colour).save(tmp_path / "train" / name / "0" / f"{t:02d}.png")
    batch = data.load(str(tmp_path), "train", model.batch_shapes).batch([0])
    assert batch["condition"][0, :, 0, 0, 0].tolist() == [t % 6 for t in range(11)]
    assert model.encode(batch).shape == (1, 11, 6, 64, 64)


@pytest.mark.parametrize("config", [{}, {"window": 11}, {"image_shape": (3, 16, 32)}, {"condition_classes": 4}])
def test_examples_can_be_drawn_from(config: dict[str, Any]) -> None:
    model = built(**config)
    clip = model.sample(1, **model.examples(1))
    assert clip.shape == (1, max(8, model.frames), *model.image_shape)


# The head


def test_each_parameter_changes_the_frame() -> None:
    neutral = torch.tensor(head.NEUTRAL)
    still = head.render(neutral[None], 64)
    for i, name in enumerate(head.NAMES):
        moved = neutral.clone()
        moved[i] += 0.4 if name != "smile" else 1.0
        assert not torch.equal(head.render(moved[None], 64)["video"], still["video"]), name


def test_a_gaze_moves_the_eyes_alone() -> None:
    neutral = torch.tensor(head.NEUTRAL)
    looking = neutral.clone()
    looking[head.NAMES.index("gaze_x")] = 1.0
    still, moved = (head.render(p[None], 64) for p in (neutral, looking))
    assert torch.equal(still["condition"], moved["condition"])
    assert torch.equal(still["correspondence"], moved["correspondence"])
    changed = (still["video"] != moved["video"]).any(1)
    assert torch.equal(changed, (still["gaze"] != moved["gaze"]).any(1))
    assert 0 < changed.sum() < 80


def test_transfer_gives_the_target_the_sources_changes() -> None:
    source, target = head.motion(5, 1), head.motion(5, 2)
    moved = head.transfer(source, target)
    light = head.NAMES.index("light")
    assert torch.equal(moved[0], target[0])
    pose = [i for i in range(len(head.NAMES)) if i != light]
    assert torch.allclose((moved - moved[0])[:, pose], (source - source[0])[:, pose], atol=1e-6)
    assert (moved[:, light] == target[0, light]).all()


def test_parameters_that_draw_no_head_are_named() -> None:
    neutral = torch.tensor(head.NEUTRAL)[None]
    broken, empty = neutral.clone(), neutral.clone()
    broken[0, 0], empty[0, head.NAMES.index("size")] = math.nan, 0.0
    for wrong, message in ((neutral[:, 1:], "are .T, 12., not"), (broken, "finite"), (empty, "size must be positive")):
        with pytest.raises(OptionError, match=message):
            head.render(wrong, 16)
        with pytest.raises(OptionError, match=message):
            head.transfer(wrong, neutral)


def test_heads_that_cannot_be_written_are_named_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["head", "new", "--clips", "1", "--frames", "2", "--size", "8"])
    head.main()
    assert len(list(Path("new/train/gaze/0000").iterdir())) == 2
    for arguments, message in (
        (["new"], "'new' exists and is not empty; choose another folder"),  # older clips would stay among the new ones
        (["full/file"], "'full/file' exists and is not empty"),
        (["other", "--frames", "0"], "--frames takes an integer of at least 1, not 0"),
        (["full/file/other"], "can't write 'full/file/other': Not a directory"),
    ):
        monkeypatch.setattr("sys.argv", ["head", *arguments])
        with pytest.raises(SystemExit, match="2"):
            head.main()
        assert capsys.readouterr().err.splitlines()[-1].partition("error: ")[2].startswith(message)
    assert not Path("other").exists()


def test_a_folder_of_heads_is_read_as_clips(tmp_path: Path) -> None:
    head.write(tmp_path, clips=10, frames=4, size=16)
    train = data.load(str(tmp_path), "train", built().batch_shapes)
    batch = train.batch(range(2))
    assert set(batch) == {"video", *head.CONDITIONS}
    assert len(data.load(str(tmp_path), "test", built().batch_shapes)) == 1
    first = head.render(head.motion(4, 0, 0), 16)
    windows = [first["gaze"][t : t + 3] for t in range(2)]
    assert any(torch.equal(batch["gaze"][0], window) for window in windows)
