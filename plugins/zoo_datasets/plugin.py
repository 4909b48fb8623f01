"""Named data sets: what `--data <name>` stands for. Free of torch."""

from __future__ import annotations

from zoo import hookimpl
from zoo.spec import Column, DataSpec

MNIST = DataSpec(
    name="mnist",
    summary="handwritten digits, 28x28, grey, labels 0 to 9",
    repo="ylecun/mnist",
    licence="CC BY-SA 3.0",
    columns={"image": Column("image"), "label": Column("label")},
    holdout=5000,
)
BINARIZED_MNIST = DataSpec(
    name="binarized_mnist",
    summary="MNIST in the fixed binarisation of Salakhutdinov and Murray (2008), 28x28, black and white",
    repo=None,
    licence="as MNIST: CC BY-SA 3.0",
    splits={"train": "train", "validation": "validation", "test": "test"},
)
CIFAR10 = DataSpec(
    name="cifar10",
    summary="small photographs of ten classes, 32x32, RGB, labels 0 to 9",
    repo="uoft-cs/cifar10",
    licence="none stated; published for research",
    columns={"image": Column("image", "img"), "label": Column("label")},
    holdout=5000,
)
NOTO_EMOJI64 = DataSpec(
    name="noto_emoji64",
    summary="Noto emoji on white without variants of skin tone, 64x64, RGB, with their Unicode names as captions",
    repo=None,
    licence="Apache 2.0",
    columns={"image": Column("image"), "caption": Column("caption")},
    splits={"train": "train"},
    holdout=128,
    resize="box",
)


@hookimpl
def zoo_datasets():
    return [MNIST, BINARIZED_MNIST, CIFAR10, NOTO_EMOJI64]
