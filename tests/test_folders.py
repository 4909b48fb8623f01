"""Odd folders, tables and streams: what is in them is used as it should be, or named, and never lost or mixed up."""

from __future__ import annotations

import warnings
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from conftest import write_pictures
from PIL import Image

from zoo import data, media
from zoo.cli.app import main
from zoo.data import tables
from zoo.errors import DataError, UnknownNameError

SHAPE = (1, 8, 8)
PAIR = {"image": (3, 8, 8), "condition": (1, 8, 8)}


def rows(folder: Path, n: int, labels: list[int | None] | None = None) -> datasets.Dataset:
    """A table of n pictures, the i-th uniformly grey of level i, and their labels, by default its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.new("L", (8, 8), i).save(folder / f"{i}.png")
    columns = {"image": [str(folder / f"{i}.png") for i in range(n)], "label": labels or list(range(n))}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict(columns, features=features)


# Splits and classes


def test_a_folder_without_pictures_beside_those_of_splits_is_no_class(tmp_path: Path) -> None:
    """Else pictures for validation would be trained on."""
    for name, n in (("train", 5), ("val", 3), ("__MACOSX", 1), ("annotations", 0)):
        write_pictures(tmp_path / name, n)
    (tmp_path / "__MACOSX" / "0000.png").rename(tmp_path / "__MACOSX" / "._0000.png")
    (tmp_path / "annotations" / "boxes.txt").write_text("1 2 3 4")
    with pytest.warns(UserWarning, match="1 files are no pictures and not used: boxes.txt"):
        train = data.load(str(tmp_path), "train", SHAPE)
    assert (len(train), train.classes) == (5, ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(data.load(str(tmp_path), "validation", SHAPE)) == 3


def test_a_split_of_training_without_pictures_makes_no_class_of_the_other(tmp_path: Path) -> None:
    write_pictures(tmp_path / "val", 2)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="there is no picture in it"):
        data.load(str(tmp_path), "train", SHAPE)


def test_splits_beside_other_pictures_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "more"):
        write_pictures(tmp_path / name, 2)
    with pytest.raises(DataError, match=r"has folders of splits \(train, val\) beside 'more'; put that elsewhere"):
        data.load(str(tmp_path), "train", SHAPE)


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train", "val", "valid"):
        write_pictures(tmp_path / "pictures" / name, 2)
        for side in PAIR:
            write_pictures(tmp_path / "pairs" / name / side, 2, mode="RGB" if side == "image" else "L")
    with pytest.raises(DataError, match="has two folders of split 'validation': val and valid"):
        data.load(str(tmp_path / "pictures"), "train", SHAPE)
    with pytest.raises(DataError, match="has pairs of split 'validation' twice: '.*valid/image' and '.*val/image'"):
        data.load(str(tmp_path / "pairs"), "train", PAIR)


def test_a_split_without_the_classes_of_training_is_named(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "val"):
        write_pictures(tmp_path / name, 2)
    with pytest.raises(DataError, match="split 'validation' of .* has no folders of classes, but 'train' has"):
        data.load(str(tmp_path), "train", SHAPE)


def test_a_table_without_a_training_split_has_no_share_of_it_either(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    rows(tmp_path / "png", 3).to_parquet(tmp_path / "tables" / "test-00000-of-00001.parquet")
    place = str(tmp_path / "tables")
    assert len(data.load(place, "test", SHAPE)) == 3
    for split in ("train", "validation"):
        with pytest.raises(UnknownNameError, match=f"unknown split of .* '{split}'; there are: test$"):
            data.load(place, split, SHAPE)
    with pytest.raises(UnknownNameError, match="unknown split of .* 'train'; there are: test$"):
        data.stream(place, SHAPE, seed=0)


@pytest.mark.parametrize("names", [("B.png", "b.png"), ("01.png", "1.png")])
def test_the_order_of_files_never_depends_on_the_disk(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, name in enumerate(names):
        Image.new("L", (8, 8), i).save(tmp_path / name)
    listed = sorted(tmp_path.iterdir())
    for order in (listed, listed[::-1]):
        monkeypatch.setattr(Path, "iterdir", lambda self, order=order: iter(order))
        parts, _ = tables.read_folder(tmp_path) or pytest.fail("it is a folder of pictures")
        assert [Path(path).name for path in parts["train"].paths["image"]] == list(names)


# Pairs and columns


def test_names_of_clips_may_have_dots(tmp_path: Path) -> None:
    for side, mode in (("video", "RGB"), ("condition", "L")):
        for name in ("walk.01", "walk.02", "walk.03"):
            write_pictures(tmp_path / "train" / side / name, 2, mode=mode)
    shapes = {"video": (2, 3, 8, 8), "condition": (2, 1, 8, 8)}
    assert sum(len(data.load(str(tmp_path), split, shapes)) for split in ("train", "validation")) == 3


def test_pictures_of_one_name_but_for_the_ending_are_refused_as_pairs(tmp_path: Path) -> None:
    for side in PAIR:
        write_pictures(tmp_path / "train" / side, 2, mode="RGB" if side == "image" else "L")
    Image.new("RGB", (8, 8)).save(tmp_path / "train" / "image" / "0001.bmp")
    with pytest.raises(DataError, match="has '0001' twice, and pairs are matched by their names without endings"):
        data.load(str(tmp_path), "train", PAIR)


def test_pairs_and_columns_that_nobody_takes_are_named(pictures: Path) -> None:
    with pytest.raises(DataError, match="--pairs left-right is for models that draw a picture from a picture"):
        data.load(str(pictures), "train", SHAPE, pairs="left-right", who="pixelcnn")
    with pytest.raises(DataError, match="pixelcnn takes no 'lable', for which column 'n' is named, but image, label,"):
        data.load(str(pictures), "train", SHAPE, columns={"lable": "n"}, who="pixelcnn")


def test_a_label_map_of_16_bits_keeps_its_numbers(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train" / "image", 2, mode="RGB")
    (tmp_path / "train" / "condition").mkdir()
    values = np.arange(64, dtype=np.uint16).reshape(8, 8)
    for i, numbers in enumerate((values, values * 256)):  # the second is a grey picture
        Image.fromarray(numbers).save(tmp_path / "train" / "condition" / f"{i:04d}.png")
    for file in sorted((tmp_path / "train" / "condition").iterdir()):
        found = media.read_images([file], 1, ids=True)[0, 0]
        assert found.tolist() == values.tolist()
    both = (data.load(str(tmp_path), split, PAIR) for split in ("train", "validation"))
    for examples in both:
        assert examples.batch([0])["condition"][0, 0].tolist() == values.tolist()


# Rows


def test_a_row_whose_picture_is_empty_is_named(tmp_path: Path) -> None:
    content = rows(tmp_path / "png", 1).cast_column("image", datasets.Image(decode=False))[0]["image"]
    whole = {"bytes": Path(content["path"]).read_bytes(), "path": None}
    cells = [{"image": {"bytes": b"", "path": None}}] * 2 + [{"image": whole}]
    features = datasets.Features({"image": datasets.Image(decode=False)})
    datasets.Dataset.from_list(cells, features=features).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="there is no picture"):
        data.load(str(tmp_path / "rows.parquet"), "train", SHAPE)


def test_numbers_that_are_no_classes_are_not_counted_out(tmp_path: Path) -> None:
    """A hash as label would otherwise ask for the names of 10^18 classes."""
    rows(tmp_path / "png", 6, [10**18 + i for i in range(6)]).to_parquet(tmp_path / "rows.parquet")
    train = data.load(str(tmp_path / "rows.parquet"), "train", SHAPE)
    assert train.labels is None
    assert train.classes == ()
    assert "values up to 100000000000000000" in train.trouble


# Streams


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.Stream, "BLOCK", 8)
    monkeypatch.setattr(tables, "STREAM_HOLDOUT", 2)


def test_a_saved_data_set_is_streamed(tmp_path: Path) -> None:
    rows(tmp_path / "png", 10).save_to_disk(str(tmp_path / "saved"))
    stream, held_out = data.stream(str(tmp_path / "saved"), SHAPE, seed=0)
    assert len(held_out) == 2
    assert sorted(stream.take(0, 8)["label"].tolist()) == list(range(2, 10))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, "a row of .* has no label in column 'label'"),
        (-1, "a row of .* has label -1 in column 'label'"),
        (10, "a row of .* has label 10, but the classes are 0 to 9"),
    ],
)
def test_bad_labels_of_a_stream_matter_only_to_a_model_of_classes(
    bad: int | None, message: str, tmp_path: Path
) -> None:
    rows(tmp_path / "png", 10, [*range(7), bad, 8, 9]).to_parquet(tmp_path / "rows.parquet")
    plain, _ = data.stream(str(tmp_path / "rows.parquet"), SHAPE, seed=0, classes=10)
    assert set(plain.take(0, 8)) == {"image"}
    of_classes, _ = data.stream(str(tmp_path / "rows.parquet"), {"image": SHAPE, "label": ()}, seed=0, classes=10)
    with pytest.raises(DataError, match=message):
        of_classes.take(0, 8)


def test_a_streamed_run_keeps_the_names_of_its_classes(tmp_path: Path) -> None:
    import zoo

    for name in ("cat", "dog", "emu"):
        write_pictures(tmp_path / "pets" / name, 6)
    flags = ["--stream", "--examples", "4", "--batch-size", "4", "--device", "cpu", "--sample-every", "0"]
    run = [
        "train",
        "conditional_pixelcnn",
        "--preset",
        "tiny",
        "--set",
        "condition_size=3",
        "-o",
        str(tmp_path / "run"),
    ]
    assert main([*run, "--data", str(tmp_path / "pets"), "--eval-every", "0", *flags]) == 0
    model = zoo.load("conditional_pixelcnn", weights=tmp_path / "run", device="cpu")
    assert model.class_names == ("cat", "dog", "emu")


def test_a_stream_of_clips_that_are_all_too_short_says_so(tmp_path: Path) -> None:
    frame = {"bytes": (write_pictures(tmp_path / "png", 1) / "0000.png").read_bytes(), "path": None}
    features = datasets.Features({"video": datasets.List(datasets.Image())})
    (tmp_path / "tables").mkdir()
    for split, length in (("train", 1), ("validation", 2)):
        table = datasets.Dataset.from_list([{"video": [frame] * length}] * 3, features=features)
        table.to_parquet(tmp_path / "tables" / f"{split}-00000-of-00001.parquet")
    with pytest.raises(DataError, match="no clip that can be used: none that can be read has the 2 frames of a window"):
        data.stream(str(tmp_path / "tables"), {"video": (2, 1, 8, 8)}, seed=0)[0].take(0, 1)


def test_a_broken_file_in_a_stream_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from zoo.media.video import write_clip

    write_clip([torch.full((3, 16, 16), 40 * t, dtype=torch.uint8) for t in range(4)], tmp_path / "a.mp4", [100] * 4)
    whole = {"bytes": (tmp_path / "a.mp4").read_bytes(), "path": "a.mp4"}
    broken = {"bytes": b"no film", "path": "b.mp4"}
    cells = [{"video": cell} for cell in (whole, whole, whole, broken, whole, whole)]
    features = datasets.Features({"video": datasets.Video(decode=False)})
    datasets.Dataset.from_list(cells, features=features).to_parquet(tmp_path / "rows.parquet")
    stream, _ = data.stream(str(tmp_path / "rows.parquet"), {"video": (2, 3, 16, 16)}, seed=0)
    with pytest.warns(UserWarning, match="a clip is left out: .* can't be read as a video"):
        assert stream.take(0, 8)["video"].shape == (8, 2, 3, 16, 16)


def test_a_table_without_pictures_is_named_when_streamed(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(DataError, match="has no picture column; it has: a"):
        data.stream(str(tmp_path / "text.jsonl"), SHAPE, seed=0)
