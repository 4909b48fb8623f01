"""What `--data` may be, how splits are made, and what bad data gets."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from conftest import write_pictures
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import zoo
from zoo import data, media, metrics
from zoo.errors import DataError, OptionError, UnknownNameError
from zoo.metrics.choice import choose

SHAPE = (1, 8, 8)


def table(folder: Path, n: int, **columns: list[object]) -> datasets.Dataset:
    """n distinct pictures, the i-th uniformly grey of level i, with more columns."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(n):
        Image.new("L", (8, 8), i).save(folder / f"{i}.png")
        paths.append(str(folder / f"{i}.png"))
    features = datasets.Features(
        {"image": datasets.Image()} | {name: datasets.Value("int64") for name in columns if name == "label"}
    )
    return datasets.Dataset.from_dict({"image": paths, **columns}, features=features)


def levels(pictures: data.Examples) -> list[int]:
    return [int(batch["image"][0, 0, 0, 0]) for batch in pictures.batches(1)]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A $ZOO_DATA with a small "mnist" of 5100 training and 7 test pictures."""
    shelf = tmp_path / "shelf"
    for split, n in (("train", 5100), ("test", 7)):
        whole = table(tmp_path / "png", 100, label=[i % 10 for i in range(100)])
        rows = whole.select([i % 100 for i in range(n)])
        (shelf / "mnist" / "data").mkdir(parents=True, exist_ok=True)
        rows.to_parquet(shelf / "mnist" / "data" / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("ZOO_DATA", str(shelf))
    return shelf


def test_a_folder_of_pictures(pictures: Path) -> None:
    """40 pictures: the last 5 % are held out, none is in both."""
    train, held_out = data.load(str(pictures), "train", SHAPE), data.load(str(pictures), "validation", SHAPE)
    assert (len(train), len(held_out)) == (38, 2)
    batch = train.batch([3, 1])
    assert batch["image"].shape == (2, *SHAPE)
    assert batch["image"].dtype == torch.uint8
    assert torch.equal(batch["image"][1:], train.batch([1])["image"])


def test_a_parquet_file_and_a_saved_data_set(tmp_path: Path) -> None:
    rows = table(tmp_path / "png", 20, label=[i % 2 for i in range(20)])
    rows.to_parquet(tmp_path / "rows.parquet")
    rows.save_to_disk(str(tmp_path / "saved"))
    for source in (tmp_path / "rows.parquet", tmp_path / "saved"):
        train = data.load(str(source), "train", SHAPE)
        [held_out] = levels(data.load(str(source), "validation", SHAPE))
        assert levels(train) == [i for i in range(20) if i != held_out]
        assert train.batch(range(19))["label"].tolist() == [i % 2 for i in levels(train)]
        assert train.classes == ("0", "1")


def test_without_a_split_it_is_test_or_what_is_held_out(tmp_path: Path, pictures: Path, shelf: Path) -> None:
    assert data.load("mnist", None, SHAPE).split == "test"
    held_out = data.load(str(pictures), None, SHAPE)
    assert held_out.split == "validation"
    assert levels(held_out) == levels(data.load(str(pictures), "validation", SHAPE))
    for split in ("train", "validation"):
        write_pictures(tmp_path / "both" / split, 3)
    assert len(data.load(str(tmp_path / "both"), None, SHAPE)) == 3


def test_a_name_is_looked_for_in_zoo_data_first(shelf: Path) -> None:
    """The last 5000 training pictures of mnist are its validation split; test is left alone."""
    assert len(data.load("mnist", "train", SHAPE)) == 100
    assert len(data.load("mnist", "validation", SHAPE)) == 5000
    test = data.load("mnist", "test", SHAPE)
    assert levels(test) == list(range(7))
    assert test.source.revision == "local"


def test_class_folders_give_labels(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_pictures(tmp_path / "pets" / name, 10)
    train = data.load(str(tmp_path / "pets"), "train", SHAPE)
    assert train.classes == ("cat", "dog")
    assert set(train.labels.tolist()) == {0, 1}


def test_pictures_that_do_not_fit_into_memory_are_decoded_batch_by_batch(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data.load(str(pictures), "train", SHAPE)
    monkeypatch.setattr("zoo.data.examples.MEMORY_LIMIT", 0)
    lazy = data.load(str(pictures), "train", SHAPE)
    assert lazy._decoded is None
    assert torch.equal(whole.batch([5, 2, 2])["image"], lazy.batch([5, 2, 2])["image"])


def test_black_and_white_pictures_become_bytes(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "bits", 4, mode="1")
    values = data.load(str(folder), "train", SHAPE).batch([0, 1])["image"].unique().tolist()
    assert values == [0, 255]


def test_colour(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "colour", 4, mode="RGB")
    image = data.load(str(folder), "train", (3, 8, 8)).batch([0])["image"][0]
    with Image.open(folder / "0000.png") as picture:
        assert tuple(image[:, 2, 5].tolist()) == picture.getpixel((5, 2))


@pytest.mark.parametrize(
    ("size", "mode", "message"),
    [
        (
            (9, 8),
            "L",
            "'.*/000\\d.png' holds a picture of 9x8, mode L; the model needs 8x8, mode L: convert it",
        ),
        ((8, 8), "RGB", "mode RGB; the model needs 8x8, mode L"),
        ((8, 8), "RGBA", "mode RGBA; the model needs 8x8, mode L"),
    ],
)
def test_pictures_of_another_size_or_mode_are_named(
    tmp_path: Path, size: tuple[int, int], mode: str, message: str
) -> None:
    folder = write_pictures(tmp_path / "pictures", 3, size, mode)
    with pytest.raises(DataError, match=message):
        data.load(str(folder), "train", SHAPE)


def test_bad_sources_are_named(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mnist'"):
        data.load("minst", "train", SHAPE)
    with pytest.raises(DataError, match="there is no folder or file './nothing'"):
        data.load("./nothing", "train", SHAPE)
    with pytest.raises(DataError, match=r"put its folder into \$ZOO_DATA"):
        data.load("binarized_mnist", "train", SHAPE)
    with pytest.raises(UnknownNameError, match="unknown split of .* 'holdout'; there are: train, validation$"):
        data.load(str(pictures), "holdout", SHAPE)
    with pytest.raises(UnknownNameError, match="unknown split of .* 'test'; there are: train, validation$"):
        data.load(str(pictures), "test", SHAPE)
    with pytest.raises(DataError, match="no table; a file must be one of .parquet"):
        data.load(str(pictures / "0000.png"), "train", SHAPE)
    (tmp_path / "text.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(DataError, match="has no picture column; it has: a"):
        data.load(str(tmp_path / "text.jsonl"), "train", SHAPE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="can't load"):
        data.load(str(tmp_path / "empty"), "train", SHAPE)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="can't load"):
        data.load(str(tmp_path / "broken.parquet"), "train", SHAPE)
    with pytest.raises(DataError, match="1 or 3 channels"):
        data.load(str(pictures), "train", (2, 8, 8))
    with pytest.raises(DataError, match="can't look for 'x*': File name too long"):
        data.load("x" * 300, "train", SHAPE)


def test_a_damaged_picture_is_named(pictures: Path) -> None:
    (pictures / "0003.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="holds something that is no picture"):
        data.load(str(pictures), "train", SHAPE)


def test_levels_and_bytes_undo_each_other() -> None:
    for count in (2, 3, 4, 16, 255, 256):
        values = torch.arange(count, dtype=torch.uint8).view(1, 1, 1, -1)
        spread = media.to_bytes(values, count)
        assert (int(spread.min()), int(spread.max())) == (0, 255)
        assert torch.equal(media.quantise(spread, count), values)


def test_a_grid_is_filled_row_by_row() -> None:
    pictures = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(-1, 1, 2, 3)
    canvas = media.grid(pictures, columns=2, padding=1)
    assert canvas.shape == (1, 10, 9)
    assert [int(canvas[0, 1 + 3 * (i // 2), 1 + 4 * (i % 2)]) for i in range(5)] == [0, 1, 2, 3, 4]
    assert int(canvas[0, 7, 5]) == 255  # the place that is left over


def test_evaluate_gives_receipts(shelf: Path, tiny: zoo.Model) -> None:
    """Bits per dimension and nats of the same pictures agree, and equal a direct sum."""
    receipts = {receipt["name"]: receipt for receipt in metrics.evaluate(tiny, data="mnist", split="test")}
    with torch.no_grad():
        pictures = data.load("mnist", "test", SHAPE).batch(range(7))["image"]
        direct = -tiny.log_prob(media.quantise(pictures, 4)).mean()
    assert receipts["nats"]["value"] == pytest.approx(float(direct), abs=1e-3)
    assert receipts["bits_per_dim"]["value"] == pytest.approx(float(direct) / 64 / 0.693147, abs=1e-3)
    assert receipts["nats"]["count"] == 7
    assert receipts["nats"]["split"] == "test"
    assert metrics.evaluate(tiny, data="mnist", limit=3)[0]["split"] == "test[3 of 7, seed 0]"


def test_a_limit_is_a_seeded_choice_and_not_the_first(shelf: Path, tiny: zoo.Model) -> None:
    pictures = data.load("mnist", "test", SHAPE)
    with torch.no_grad():
        each = -tiny.log_prob(media.quantise(pictures.batch(range(7))["image"], 4)).double()
    for seed in range(4):
        nats, count = metrics.likelihood(tiny, pictures, limit=3, seed=seed, batch_size=2)
        assert (nats, count) == (pytest.approx(float(each[list(choose(7, 3, seed))].mean()), rel=1e-5), 3)
    assert metrics.likelihood(tiny, pictures, limit=9) == metrics.likelihood(tiny, pictures)
    [nats, _] = metrics.evaluate(tiny, data="mnist", limit=5, seed=2)
    assert nats["split"] == "test[5 of 7, seed 2]"


@given(n=st.integers(0, 200), limit=st.none() | st.integers(1, 250), seed=st.integers(0, 2**40))
def test_a_choice_is_in_order_of_different_examples_and_follows_from_its_seed(
    n: int, limit: int | None, seed: int
) -> None:
    chosen = list(choose(n, limit, seed))
    assert len(chosen) == min(n, limit or n)
    assert chosen == sorted(set(chosen) & set(range(n)))
    assert chosen == list(choose(n, limit, seed))


def test_a_choice_of_a_sorted_table_has_about_each_class_alike() -> None:
    """1,000 of 10,000 in ten classes, one after the other: 100 of each, with a deviation of 9."""
    counts = torch.tensor([i // 1000 for i in choose(10_000, 1000, 0)]).bincount(minlength=10)
    assert counts.min() > 60
    assert counts.max() < 140
    assert choose(10_000, 1000, 0) != choose(10_000, 1000, 1)


def test_evaluate_gives_labels_to_a_conditional_model_and_says_so(shelf: Path) -> None:
    torch.manual_seed(0)
    model = zoo.build("conditional_pixelcnn", preset="tiny")
    [receipt] = metrics.evaluate(model, data="mnist", split="test", metrics=["nats"])
    batch = data.load("mnist", "test", SHAPE).batch(range(7))
    with torch.no_grad():
        direct = -model.log_prob(media.quantise(batch["image"], 4), label=batch["label"]).mean()
    assert receipt["value"] == pytest.approx(float(direct), abs=1e-3)
    assert receipt["given"] == "label"


def test_evaluate_names_what_it_can_not_do(shelf: Path, tiny: zoo.Model) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nats'"):
        metrics.evaluate(tiny, data="mnist", metrics=["nat"])
    with pytest.raises(OptionError, match="limit"):
        metrics.evaluate(tiny, data="mnist", limit=0)


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three parquet files of 40 training pictures, numbered by their grey level, and one of 5 for validation."""
    rows = table(tmp_path / "png", 125)
    (tmp_path / "shards").mkdir()
    for i in range(3):
        rows.select(range(40 * i, 40 * i + 40)).to_parquet(tmp_path / "shards" / f"train-{i:05d}-of-00003.parquet")
    rows.select(range(120, 125)).to_parquet(tmp_path / "shards" / "validation-00000-of-00001.parquet")
    monkeypatch.setattr(data.Stream, "BLOCK", 24)
    return tmp_path / "shards"


def read(stream: data.Stream, first: int, last: int, size: int = 8) -> list[int]:
    batches = [stream.take(position, size)["image"] for position in range(first, last, size)]
    return torch.cat(batches)[:, 0, 0, 0].tolist()


def test_a_stream_gives_every_picture_once_an_epoch_in_another_order(shards: Path) -> None:
    stream, held_out = data.stream(str(shards), SHAPE, seed=0)
    seen = read(stream, 0, 240)
    assert sorted(seen[:120]) == sorted(seen[120:]) == list(range(120))
    assert seen[:120] != seen[120:]
    assert seen[:24] != sorted(seen[:24])
    assert levels(held_out) == [120, 121, 122, 123, 124]
    assert read(data.stream(str(shards), SHAPE, seed=1)[0], 0, 120) != seen[:120]


@pytest.mark.parametrize("stop", [8, 24, 40, 120, 136])
def test_a_stream_goes_on_exactly_where_it_stopped(shards: Path, stop: int) -> None:
    """Within a block, at its end, at the end of an epoch, and in the next."""
    whole = read(data.stream(str(shards), SHAPE, seed=0)[0], 0, 200)
    stopped, _ = data.stream(str(shards), SHAPE, seed=0)
    read(stopped, 0, stop)
    resumed, _ = data.stream(str(shards), SHAPE, seed=0)
    resumed.load_state_dict(stopped.state_dict())
    assert read(resumed, stop, 200) == whole[stop:]


def test_a_stream_without_a_validation_split_holds_its_first_pictures_out(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shards / "validation-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match="training split .* is empty"):
        read(data.stream(str(shards), SHAPE, seed=0)[0], 0, 8)
    monkeypatch.setattr("zoo.data.tables.STREAM_HOLDOUT", 10)
    stream, held_out = data.stream(str(shards), SHAPE, seed=0)
    assert levels(held_out) == list(range(10))
    assert held_out.split == "train[:10]"  # and not "validation", which has others, that were trained on
    assert levels(data.load(str(shards), "train[:10]", SHAPE)) == list(range(10))
    assert not set(read(stream, 0, 104)) & set(range(10))


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    """Of 30 pictures in bus/, car/ and train/ none is lost, nor is any word in a file's name a split."""
    for name in ("bus", "car", "train"):
        write_pictures(tmp_path / name, 10)
    (tmp_path / "bus" / "0000.png").rename(tmp_path / "bus" / "test digit-0.png")
    train, held_out = (data.load(str(tmp_path), split, SHAPE) for split in ("train", "validation"))
    assert train.classes == held_out.classes == ("bus", "car", "train")
    assert len(train) + len(held_out) == 30


def test_splits_are_folders_that_are_all_called_so_and_number_their_classes_alike(tmp_path: Path) -> None:
    for place in ("train/cat", "train/dog", "Test/dog"):
        write_pictures(tmp_path / place, 3)
    assert data.load(str(tmp_path), "test", SHAPE).labels.tolist() == [1, 1, 1]
    write_pictures(tmp_path / "Test" / "emu", 1)
    with pytest.raises(DataError, match="split 'test' of .* has a class 'emu', which 'train' has not"):
        data.load(str(tmp_path), "test", SHAPE)


def test_classes_are_in_natural_order_and_what_is_not_used_is_named(tmp_path: Path) -> None:
    for name in ("10", "2", "1"):
        write_pictures(tmp_path / name, 4)
    (tmp_path / "2" / "0000.png").rename(tmp_path / "2" / "first.PnG")
    (tmp_path / "2" / "notes.txt").write_text("mine")
    (tmp_path / "a [strange] * name").mkdir()
    with pytest.warns(UserWarning, match="1 files are no pictures and not used: notes.txt"):
        train = data.load(str(tmp_path), "train", SHAPE)
    assert train.classes == ("1", "2", "10")
    assert len(train) == 11


def test_pictures_beside_folders_of_classes_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, 2)
    write_pictures(tmp_path / "cat", 2)
    with pytest.raises(DataError, match=r"has 2 pictures beside folders of classes \(cat\)"):
        data.load(str(tmp_path), "train", SHAPE)


def test_what_is_held_out_of_a_folder_of_classes_is_of_all_classes(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_pictures(tmp_path / name, 100)
    held_out = data.load(str(tmp_path), "validation", SHAPE)
    assert len(held_out) == 15
    assert set(held_out.labels.tolist()) == {0, 1, 2}


def test_one_picture_alone_is_trained_on(tmp_path: Path) -> None:
    assert len(data.load(str(write_pictures(tmp_path, 1)), "train", SHAPE)) == 1


@pytest.mark.parametrize("bad", [None, -1])
def test_bad_labels_matter_only_to_a_model_of_classes(bad: int | None, tmp_path: Path) -> None:
    labels = [0, 1, bad, *[0] * 17]
    table(tmp_path / "png", 20, label=labels).to_parquet(tmp_path / "rows.parquet")
    train = data.load(str(tmp_path / "rows.parquet"), "train", SHAPE)
    held_out = data.load(str(tmp_path / "rows.parquet"), "validation", SHAPE)
    assert train.trouble or held_out.trouble
    assert "image" in train.batch([0])


def test_a_row_without_a_picture_is_named(tmp_path: Path) -> None:
    rows = table(tmp_path / "png", 4).to_list()
    rows[1]["image"] = rows[2]["image"] = None
    features = table(tmp_path / "png2", 1).features
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="there is no picture"):
        data.load(str(tmp_path / "rows.parquet"), "train", SHAPE)


class TestAnyPicture:
    """`media.to_array` is what training, options and measuring read pictures by."""

    def test_it_is_turned_as_its_exif_says(self) -> None:
        image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
        exif = image.getexif()
        exif[0x0112] = 6  # to be turned clockwise
        file = io.BytesIO()
        image.save(file, "PNG", exif=exif)
        turned = media.to_array(Image.open(file), 1)[:, :, 0]
        assert turned.tolist() == [[3, 0], [4, 1], [5, 2]]

    @pytest.mark.parametrize("mode", ["I;16", "I"])
    def test_of_16_bits_the_upper_byte_is_kept(self, mode: str) -> None:
        values = np.array([[0, 255, 256, 65535]], dtype=np.uint16 if mode == "I;16" else np.int32)
        image = Image.fromarray(values)
        assert image.mode == mode
        assert media.to_array(image, 1).flatten().tolist() == [0, 0, 1, 255]

    def test_values_beyond_16_bits_and_modes_without_one_right_conversion_are_refused(self) -> None:
        for image in (
            Image.fromarray(np.array([[70000]], dtype=np.int32)),
            Image.new("F", (1, 1)),
            Image.new("LAB", (1, 1)),
        ):
            with pytest.raises(DataError, match="convert it"):
                media.to_array(image, 3)

    @pytest.mark.parametrize("mode", ["L", "RGB", "P"])
    def test_a_transparent_colour_is_white(self, mode: str) -> None:
        image = Image.new(mode, (2, 1), 0)
        image.putpixel((1, 0), {"L": 9, "RGB": (9, 9, 9), "P": 1}[mode])
        file = io.BytesIO()
        image.save(file, "PNG", transparency={"L": 0, "RGB": (0, 0, 0), "P": 0}[mode])
        pixels = media.to_array(Image.open(file), 3)
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert pixels[0, 1].tolist() != [255, 255, 255]

    def test_a_bomb_is_one_line(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        Image.new("L", (100, 100)).save(tmp_path / "large.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(DataError, match="no picture: Image size .10000 pixels. exceeds limit"):
            media.read_images([tmp_path / "large.png"], 1)


def test_pictures_of_any_size_are_brought_to_the_model_where_the_user_asks_for_it(tmp_path: Path) -> None:
    """The middle of a wide picture, filtered: black at the sides, white in the middle."""
    wide = Image.new("L", (64, 16), 0)
    wide.paste(255, (16, 0, 48, 16))
    for i in range(2):
        (tmp_path / "wide").mkdir(exist_ok=True)
        wide.save(tmp_path / "wide" / f"{i}.png")
    with pytest.raises(DataError, match="64x16, mode L; the model needs 8x8, mode L: .*--resize"):
        data.load(str(tmp_path / "wide"), "train", SHAPE)
    train = data.load(str(tmp_path / "wide"), "train", SHAPE, resize=True)
    assert train.batch([0])["image"].unique().tolist() == [255]
    assert train.source.resizer(8, 8) == "centre crop, antialiased to 8x8"


def test_what_was_trained_on_resized_pictures_is_measured_on_them(tmp_path: Path) -> None:
    from zoo.cli import main

    photos = write_pictures(tmp_path / "photos", 20, size=(20, 12))
    train = ["train", "pixelcnn", "--preset", "tiny", "--data", str(photos), "--resize", "--examples", "8"]
    flags = ["--batch-size", "8", "--device", "cpu", "--sample-every", "0", "-o", str(tmp_path / "run")]
    assert main([*train, *flags]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["training"]["resize"] is True
    assert config["metrics"][0]["resizer"] == "centre crop, antialiased to 8x8"
    measure = ["eval", "pixelcnn", "--weights", str(tmp_path / "run"), "--data", str(photos)]
    assert main(measure) == 2
    assert main([*measure, "--resize"]) == 0
