"""Captions, from the table to the gates: data that carry them, pictures brought to size, and Conditional PixelCNN."""

from __future__ import annotations

import itertools
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from safetensors.torch import load_file

import zoo
from zoo import data, media, metrics, registry
from zoo.errors import DataError, OptionError
from zoo.hub import card
from zoo.metrics.choice import choose
from zoo.settings import Settings
from zoo.train import loop, planning
from zoo_pixelcnn.text_encoder import LIMIT, TextEncoder, encode

CAPTIONS = ["a red apple", "snowflake", "x", "Cat face with tears of joy!"]


def model(image_shape: tuple[int, int, int] = (1, 4, 3), levels: int = 8, **changes: Any) -> zoo.Model:
    """A small model of captions; its weights are enlarged, so that the captions do matter."""
    sizes = {"n_layers": 3, "width": 6, "head_width": 8, "condition_size": 5}
    torch.manual_seed(1)
    built = zoo.build(
        "conditional_pixelcnn", image_shape=image_shape, levels=levels, **{"condition": "text", **sizes, **changes}
    )
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(3)
    return built.eval()


def some_images(n: int) -> torch.Tensor:
    return torch.randint(0, 8, (n, 1, 4, 3), generator=torch.Generator().manual_seed(2))


def emoji(n: int, size: tuple[int, int] = (16, 16)) -> datasets.Dataset:
    """n random RGB pictures; the i-th is called "picture i"."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (n, size[1], size[0], 3), dtype=np.uint8)
    columns = {"image": [Image.fromarray(p) for p in pixels], "caption": [f"picture {i}" for i in range(n)]}
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


def put(table: datasets.Dataset, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `table` the training split of noto_emoji64."""
    (shelf / "noto_emoji64" / "data").mkdir(parents=True)
    table.to_parquet(shelf / "noto_emoji64" / "data" / "train-00000-of-00001.parquet")
    monkeypatch.setenv("ZOO_DATA", str(shelf))


# The encoder


def test_a_caption_is_read_the_same_whatever_is_beside_it() -> None:
    """In double precision: alone, in a batch, and with more padding than any caption needs."""
    torch.manual_seed(0)
    encoder = TextEncoder(5).double()
    with torch.no_grad():
        together = encoder(encode(CAPTIONS))
        alone = torch.cat([encoder(encode([caption])) for caption in CAPTIONS])
        padded = encoder(torch.nn.functional.pad(encode(CAPTIONS), (0, 9)))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(together, padded, rtol=0, atol=1e-12)


def test_case_does_not_matter_but_order_does() -> None:
    assert torch.equal(encode(["Red Apple"]), encode(["red apple"]))
    torch.manual_seed(0)
    h = TextEncoder(5)(encode(["cat on dog", "dog on cat"]))
    assert not torch.allclose(h[0], h[1])


def test_characters_outside_the_alphabet_are_one_symbol() -> None:
    codes = encode(["\u732bx\u72ac"])[0]
    assert codes[0] == codes[2] != codes[1]
    assert 0 not in codes  # which is padding


def test_the_longest_caption_that_is_read() -> None:
    assert encode(["a" * LIMIT]).shape == (1, LIMIT)
    with pytest.raises(OptionError, match=f"has {LIMIT + 1} characters; at most {LIMIT} are read"):
        encode(["a" * (LIMIT + 1)])


# The model


@pytest.mark.parametrize("words", [0, 64])
def test_other_captions_give_other_logits_and_the_batch_does_not_matter(words: int) -> None:
    network, pictures = model(caption_words=words).double(), some_images(1).expand(4, -1, -1, -1)
    with torch.no_grad():
        together = network.log_prob(pictures, text=CAPTIONS)
        alone = torch.cat([network.log_prob(pictures[:1], text=caption) for caption in CAPTIONS])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)
    torch.testing.assert_close(together, network.log_prob(pictures, text=CAPTIONS, batch_size=3), rtol=0, atol=1e-10)
    assert together.unique().numel() == 4


def test_without_v_the_text_does_not_matter_and_the_model_is_the_unconditional_one() -> None:
    network = model()
    sizes = {name: network.config[name] for name in ("image_shape", "levels", "n_layers", "width", "head_width")}
    plain = zoo.build("gated_pixelcnn", **sizes)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "condition" in name:
                parameter.zero_()
        shared = plain.state_dict().keys()
        plain.load_state_dict({k: v for k, v in network.state_dict().items() if k in shared})
        pictures = some_images(4)
        assert torch.allclose(network.log_prob(pictures, text=CAPTIONS), plain.log_prob(pictures))


def test_the_table_adds_the_mean_of_the_vectors_of_a_captions_words() -> None:
    """Words end at what is no letter and no digit; capitals are none; characters that are not known are letters."""
    torch.manual_seed(0)
    network = TextEncoder(5, 512)
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.zero_()
        vectors = {word: network(encode([word]))[0] for word in ("red", "apple", "2nd", "caf\u00e9")}
        texts = ["red apple", "Apple, red!", "red red apple", "2nd-red", "(caf\u00e9)", "?!"]
        found = network(encode(texts))
    assert (
        len({tuple(vector.tolist()) for vector in vectors.values()} & set(map(tuple, network.words.weight.tolist())))
        == 4
    )
    red, apple, second, cafe = vectors.values()
    wanted = [(red + apple) / 2, (red + apple) / 2, (2 * red + apple) / 3, (second + red) / 2, cafe, torch.zeros(5)]
    torch.testing.assert_close(found, torch.stack(wanted))


@pytest.mark.parametrize("words", [0, 7])
def test_the_gradient_reaches_the_whole_encoder(words: int) -> None:
    network, pictures = model(caption_words=words), some_images(4)
    network.nats(pictures, network(pictures, **network.conditions({"text": CAPTIONS}, 4))).sum().backward()
    for name, parameter in network.encoder.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_the_probabilities_of_all_binary_pictures_sum_to_one_for_every_caption() -> None:
    network = model((1, 3, 3), 2)
    pictures = torch.tensor(list(itertools.product((0, 1), repeat=9)), dtype=torch.uint8).view(512, 1, 3, 3)
    with torch.no_grad():
        sums = [float(network.log_prob(pictures, text=caption).exp().sum()) for caption in CAPTIONS[:2]]
    assert sums == pytest.approx([1, 1], abs=1e-5)


def test_one_text_for_all_samples_or_one_for_each() -> None:
    network = model()
    drawn = network.sample(4, seed=1, text=CAPTIONS)
    assert torch.equal(drawn, network.sample(4, seed=1, text=CAPTIONS, batch_size=3))
    assert torch.equal(drawn, network.sample(4, seed=1, text=CAPTIONS, method="naive"))
    for i, caption in enumerate(CAPTIONS):
        assert torch.equal(drawn[i], network.sample(4, seed=1, text=caption)[i])
    assert not torch.equal(drawn, network.sample(4, seed=1, text=CAPTIONS[0]))


def test_without_a_text_the_sample_texts_are_drawn_in_turn() -> None:
    network = model(sample_texts=tuple(CAPTIONS[:3]))
    drawn = network.sample(5, seed=1)
    assert torch.equal(drawn, network.sample(5, seed=1, text=[CAPTIONS[i % 3] for i in range(5)]))
    assert torch.equal(drawn[2:], network.sample(3, seed=1, start=2, batch_size=2))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_texts_in_half_precision(precision: str) -> None:
    assert model().sample(2, text=CAPTIONS[:2], precision=precision).shape == (2, 1, 4, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "conditioned on a text; give text=..."),
        (["a", "b", "c"], "text must be one caption, or one for each of the 2 pictures, not 3"),
        (7, "one for each of the 2 pictures, not 7"),
        (["a", 7], r"one for each of the 2 pictures, not \['a', 7\]"),
        ("  ", "text must not be empty"),
        (["a", "b" * 101], "has 101 characters; at most 100 are read"),
    ],
)
def test_a_wrong_text_is_named(text: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model().log_prob(some_images(2), text=text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "conditioned on a text; give text=..."),
        (["a", "b", "c"], "option 'text' needs one value, or one for each of the 2 samples, not 3"),
        (7, "option 'text' takes a text, not 7"),
        (["a", 7], "option 'text' takes a text, not 7"),
        ("", "text must not be empty"),
        ("b" * 101, "at most 100"),
    ],
)
def test_a_wrong_text_to_sample_is_named(text: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model().sample(2, text=text)


def test_a_wrong_text_is_named_before_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    network = model()
    monkeypatch.setattr(network, "draw_batch", lambda request: pytest.fail("a batch was drawn"))
    with pytest.raises(OptionError, match="at most 100"):
        network.sample(2, batch_size=1, text=["a", "b" * 101])


@pytest.mark.parametrize(
    ("condition", "given"),
    [("label", {"text": "a"}), ("text", {"text": "a", "label": 1}), ("label", {"vector": torch.zeros(1, 3)})],
)
def test_the_condition_of_another_model_is_refused(condition: str, given: dict[str, Any]) -> None:
    network = model(condition=condition)
    other = next(name for name in given if name != condition)
    for call in (lambda: network.log_prob(some_images(1), **given), lambda: network.sample(1, **given)):
        with pytest.raises(OptionError, match=f"conditioned on a {condition}, not on a {other}"):
            call()


def test_only_a_model_of_texts_has_sample_texts_and_words_and_they_are_checked() -> None:
    with pytest.raises(OptionError, match="sample_texts"):
        model(condition="label", sample_texts=("a",))
    with pytest.raises(OptionError, match="caption_words are for a model of texts"):
        model(condition="label", caption_words=8)
    with pytest.raises(OptionError, match="caption_words must be at least 0"):
        model(caption_words=-1)
    with pytest.raises(OptionError, match="at most 100"):
        model(sample_texts=("b" * 101,))


def test_saved_and_loaded_it_draws_the_same(tmp_path: Path) -> None:
    network = model(sample_texts=("a cat",))
    zoo.save(network, tmp_path / "saved")
    loaded = zoo.load("conditional_pixelcnn", weights=str(tmp_path / "saved"), device="cpu")
    assert torch.equal(network.sample(2, text=CAPTIONS[:2]), loaded.sample(2, text=CAPTIONS[:2]))
    assert "golden" in json.loads((tmp_path / "saved" / "config.json").read_text())


# The data


def test_captions_come_with_their_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emoji(20).to_parquet(tmp_path / "rows.parquet")
    train = data.load(str(tmp_path / "rows.parquet"), "train", (3, 16, 16))
    places = {caption: i for i, caption in enumerate(train.captions)}
    assert len(places) == 19
    assert train.batch([4, 0])["caption"] == [train.captions[4], train.captions[0]]
    shuffled = data.Shuffled(train, seed=0).take(0, 19)
    for picture, caption in zip(shuffled["image"], shuffled["caption"], strict=True):
        assert torch.equal(picture, train.batch([places[caption]])["image"][0])
    monkeypatch.setattr(data.Stream, "BLOCK", 8)
    monkeypatch.setattr("zoo.data.tables.STREAM_HOLDOUT", 4)
    stream, held_out = data.stream(str(tmp_path / "rows.parquet"), (3, 16, 16), seed=0)
    assert held_out.captions == [f"picture {i}" for i in range(4)]
    taken = stream.take(0, 8)
    for picture, caption in zip(taken["image"], taken["caption"], strict=True):
        assert caption not in places or torch.equal(picture, train.batch([places[caption]])["image"][0])


def test_pictures_without_their_promised_caption_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = emoji(200).to_list()
    rows[3]["caption"], rows[5]["caption"], rows[9]["caption"] = "", " ", None
    put(datasets.Dataset.from_list(rows, features=emoji(1).features), tmp_path, monkeypatch)
    train, held_out = (data.load("noto_emoji64", split, (3, 16, 16)) for split in ("train", "validation"))
    assert len(train) + len(held_out) == 197
    assert train.captions[:8] == [f"picture {i}" for i in (0, 1, 2, 4, 6, 7, 8, 10)]
    stream, _ = data.stream("noto_emoji64", (3, 16, 16), seed=0)
    assert not {"", " ", None} & set(stream.take(0, 64)["caption"])


def test_a_promised_caption_column_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(emoji(150).remove_columns("caption"), tmp_path, monkeypatch)
    with pytest.raises(DataError, match="noto_emoji64 has no caption column 'caption'; it has: image"):
        data.load("noto_emoji64", "train", (3, 16, 16))


@pytest.mark.parametrize("factor", [2, 4])
def test_pictures_are_brought_to_size_by_the_mean_of_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: int
) -> None:
    """The mean of factor x factor pixels, rounded half up."""
    put(emoji(150), tmp_path, monkeypatch)
    size = 16 // factor
    exact = data.load("noto_emoji64", "train", (3, 16, 16)).batch(range(10))["image"].double()
    small = data.load("noto_emoji64", "train", (3, size, size)).batch(range(10))["image"]
    boxes = exact.view(10, 3, size, factor, size, factor).mean((3, 5))
    assert torch.equal(small.double(), (boxes + 0.5).floor())


@pytest.mark.parametrize("size", [(5, 5), (32, 32), (8, 16), (16, 8)])
def test_other_sizes_than_whole_fractions_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    put(emoji(150), tmp_path, monkeypatch)
    with pytest.raises(DataError, match=f"picture of 16x16, mode RGB; the model needs {size[1]}x{size[0]}"):
        data.load("noto_emoji64", "train", (3, *size))


def test_data_that_are_not_registered_as_resizable_stay_as_they_are(tmp_path: Path) -> None:
    emoji(20).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="picture of 16x16, mode RGB; the model needs 8x8"):
        data.load(str(tmp_path / "rows.parquet"), "train", (3, 8, 8))


# Training and measuring


def run(source: Path | str, out: Path, **changes: Any) -> Settings:
    shape = {"image_shape": (3, 4, 4), "levels": 4, "n_layers": 2, "width": 6, "head_width": 6}
    overrides = {**shape, "condition": "text", "condition_size": 4, **changes.pop("overrides", {})}
    events = {"log_every": 8, "eval_every": 16, "sample_every": 16, "checkpoint_every": 8}
    sizes = {"examples": 16, "batch_size": 8, "accumulate": 2, "device": "cpu"}
    return Settings(
        model="conditional_pixelcnn", data=str(source), out=str(out), overrides=overrides, **events, **sizes, **changes
    )


@pytest.mark.parametrize("row", [0, 2])
@pytest.mark.parametrize(
    ("caption", "message"),
    [("a" * 101, "has 101 characters; at most 100 are read"), (None, "must not be empty"), (" ", "must not be empty")],
)
def test_captions_that_can_not_be_read_are_named_before_training(
    caption: str | None, message: str, row: int, tmp_path: Path
) -> None:
    """Held-out ones too: of ten pictures, these two are in different splits."""
    table = emoji(10, (4, 4)).remove_columns("caption")
    captions = [f"picture {i}" for i in range(10)]
    captions[row] = caption  # type: ignore[call-overload]
    table.add_column("caption", captions).to_parquet(tmp_path / "rows.parquet")
    for check in (planning.plan, loop.train):
        with pytest.raises(DataError, match=f"a caption of .*rows.parquet .*{message}"):
            check(run(tmp_path / "rows.parquet", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("condition", ["vector", "map"])
def test_a_run_on_vectors_or_maps_of_the_data(condition: str, tmp_path: Path) -> None:
    """From a column of numbers to weights that are drawn from, measured and known again."""
    size, shape = (3, (3,)) if condition == "vector" else (2, (2, 4, 3))
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (16, 4, 3), dtype=np.uint8)
    numbers = generator.normal(size=(16, *shape)).astype(np.float32).tolist()
    table = datasets.Dataset.from_dict({"image": [Image.fromarray(p) for p in pixels], condition: numbers})
    (tmp_path / "data").mkdir()
    table.cast_column("image", datasets.Image()).to_parquet(tmp_path / "data" / "train.parquet")
    sizes = {"image_shape": (1, 4, 3), "levels": 8, "n_layers": 2, "width": 6, "head_width": 6}
    loop.train(
        Settings(
            model="conditional_pixelcnn", data=str(tmp_path / "data"), out=str(tmp_path / "run"), batch_size=4,
            overrides={**sizes, "condition": condition, "condition_size": size}, examples=16, device="cpu",
        )
    )  # fmt: skip
    run = zoo.load("conditional_pixelcnn", weights=tmp_path / "run")
    (receipt,) = metrics.evaluate(run, data=str(tmp_path / "data"), split="train", metrics=["nats"])
    assert 0 < receipt["value"] < 40
    assert json.loads((tmp_path / "run" / "config.json").read_text())["golden"]["examples"]
    shown = run.examples(4)
    assert torch.equal(run.examples(2)[condition], shown[condition][:2])
    drawn = run.sample(4, **shown)
    assert torch.equal(drawn, run.sample(4, method="naive", **shown))


@pytest.mark.parametrize("sample_texts", [(), ("picture 1",)])
def test_two_steps_on_captions_move_the_encoder(tmp_path: Path, sample_texts: tuple[str, ...]) -> None:
    """Measured on captions too, as the receipts say; samples are drawn if there are texts to draw them for."""
    emoji(20, (4, 4)).to_parquet(tmp_path / "rows.parquet")
    settings = run(tmp_path / "rows.parquet", tmp_path / "run", overrides={"sample_texts": sample_texts})
    summary = loop.train(settings)
    assert summary["reason"] == "finished"
    fresh = planning.build(settings, device="cpu")[1].state_dict()
    trained = load_file(tmp_path / "run" / "model.safetensors")
    assert not [name for name in fresh if name.startswith("encoder") and torch.equal(fresh[name], trained[name])]
    receipts = json.loads((tmp_path / "run" / "config.json").read_text())["metrics"]
    assert {receipt["given"] for receipt in receipts} == {"caption"}
    assert bool(list((tmp_path / "run" / "samples").iterdir())) == bool(sample_texts)


def test_data_without_captions_are_named_before_anything_is_written(tmp_path: Path) -> None:
    emoji(20, (4, 4)).remove_columns("caption").to_parquet(tmp_path / "rows.parquet")
    settings = run(tmp_path / "rows.parquet", tmp_path / "run")
    for start in (planning.plan, loop.train):
        with pytest.raises(DataError, match="rows.parquet has no caption column, on which .* is conditioned"):
            start(settings)
    assert not (tmp_path / "run").exists()


def test_evaluation_reads_captions_and_names_the_resizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(emoji(150), tmp_path, monkeypatch)
    network = model((3, 8, 8), 16)
    [receipt] = metrics.evaluate(network, data="noto_emoji64", split="validation", metrics=["nats"], limit=5)
    held_out = data.load("noto_emoji64", "validation", (3, 8, 8))
    batch = held_out.batch(choose(len(held_out), 5, 0))
    with torch.no_grad():
        direct = -network.log_prob(media.quantise(batch["image"], 16), text=batch["caption"]).mean()
    assert receipt["value"] == pytest.approx(float(direct), abs=1e-3)
    assert (receipt["given"], receipt["resizer"]) == ("caption", "box to 8x8")


def test_the_preset_fits_the_data_set() -> None:
    with torch.device("meta"):
        network = zoo.build("conditional_pixelcnn", preset="noto_emoji64")
    assert (network.image_shape, network.condition) == ((3, 32, 32), "text")
    assert len(encode(network.sample_texts)) > 1


@pytest.mark.parametrize(
    ("given", "task"), [("caption", "text-to-image"), ("label", "unconditional-image-generation")], ids=str
)
def test_the_card_of_weights_that_were_measured_on_captions_calls_them_text_to_image(given: str, task: str) -> None:
    receipt = {"name": "nats", "value": 1.0, "data": "emoji", "split": "test", "count": 1, "given": given}
    found = card.metadata(registry.model_spec("conditional_pixelcnn"), {"metrics": [receipt]})
    assert found["pipeline_tag"] == task
    assert found["model-index"][0]["results"][0]["task"] == {"type": task}


def test_a_sample_is_judged_by_the_picture_that_it_is_nearest_to(tmp_path: Path) -> None:
    """Who draws the very pictures of the captions is always right; who draws those of the next captions never is."""
    judged = runpy.run_path(str(ROOT / "benchmarks" / "judge_captions.py"))["judged"]
    emoji(40).to_parquet(tmp_path / "rows.parquet")
    pictures = data.load(str(tmp_path / "rows.parquet"), "train", (3, 16, 16))
    assert pictures.captions is not None
    for step, right in ((0, 1.0), (1, 0.0)):

        def sample(n: int, *, text: list[str], step: int = step, **_: int) -> torch.Tensor:
            assert len(text) == n
            places = [(pictures.captions.index(caption) + step) % len(pictures) for caption in text]
            return media.quantise(pictures.batch(places)["image"], 16)

        drawer = SimpleNamespace(image_shape=(3, 16, 16), levels=16, sample=sample)
        where = {"data": str(tmp_path / "rows.parquet"), "split": "train"}
        receipt = judged(drawer, ROOT / "benchmarks" / "features" / "cifar10.pt", n=10, **where)
        assert (receipt["nearest"], receipt["samples"]) == (right, 10)
        assert receipt["among the nearest 5"] >= right
