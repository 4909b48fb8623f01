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


LPC_SPRITES = DataSpec(
    name="lpc_sprites",
    summary="pixel-art characters: 16 frames of 64x64, RGB, 9 actions from 4 sides, label maps and body parts a frame",
    repo=None,
    licence="OGA-BY 3.0, LPC Revised, the artists of its CREDITS.txt",
    columns={
        "video": Column("video", "frames"),
        "label": Column("label"),
        "segmentation": Column("video"),
        "pose": Column("video"),
    },
    resize="box",
    fps=10.0,
)
NOTO_ANIMATED64 = DataSpec(
    name="noto_animated64",
    summary="Google's animated emoji on white, loops of 16 to 81 frames of 64x64, RGB, part maps of the faces",
    repo=None,
    licence="CC BY 4.0, Google (Noto Emoji Animation)",
    columns={"video": Column("video", "frames"), "label": Column("label"), "parts": Column("video")},
    resize="box",
    fps=10.0,
)
BBB64 = DataSpec(
    name="bbb64",
    summary="the film Big Buck Bunny cut into 113 shots of 17 to 377 frames of 64x64, RGB",
    repo=None,
    licence="CC BY 3.0, (c) 2008 Blender Foundation, www.bigbuckbunny.org",
    columns={"video": Column("video", "frames")},
    splits={"train": "train"},
    resize="box",
    fps=12.0,
)
WEIZMANN64 = DataSpec(
    name="weizmann64",
    summary="36 films of nine people and four actions, 51 to 146 frames of 64x64, RGB",
    repo=None,
    licence="none stated; published for research (Gorelick, Blank, Shechtman, Irani and Basri 2007)",
    columns={"video": Column("video", "frames"), "label": Column("label")},
    splits={"train": "train"},
    resize="box",
    fps=25.0,
)
MOCAP_FIGURE64 = DataSpec(
    name="mocap_figure64",
    summary="recorded human motion on a drawn figure: 24 frames of 64x64, RGB, with sticks and joints, 8 actions",
    repo=None,
    licence="motion free for all uses, not to be resold (mocap.cs.cmu.edu, NSF EIA-0196217)",
    columns={
        "video": Column("video", "frames"),
        "condition": Column("video", "pose"),
        "joints": Column("tensor"),
        "label": Column("label"),
    },
    resize="box",
    fps=20.0,
)
MOVING_MNIST = DataSpec(
    name="moving_mnist",
    summary="two digits of MNIST that cross a square and are reflected: 20 frames of 64x64, grey; made from mnist",
    repo=None,
    made_by="zoo_datasets.moving_mnist:splits",
    licence="as MNIST: CC BY-SA 3.0",
    columns={"video": Column("video", "frames")},
    resize="box",
    fps=10.0,
)
EMOJI_EDGES64 = DataSpec(
    name="emoji_edges64",
    summary="1,660 Noto emoji beside their edges by Canny, 64x64, RGB and two classes; made from noto_emoji64",
    repo=None,
    made_by="zoo_datasets.edges:splits",
    licence="Apache 2.0",
    columns={"image": Column("image"), "condition": Column("image")},
    resize="box",
)
FACADES = DataSpec(
    name="facades",
    summary="400 photographs of facades beside their label colours, 256x256, RGB",
    repo=None,
    licence="none stated; published for research (Tylecek and Sara 2013)",
    columns={"image": Column("image"), "condition": Column("image")},
    splits={"train": "train", "validation": "validation", "test": "test"},
    resize="box",
)


@hookimpl
def zoo_datasets():
    pictures = [MNIST, BINARIZED_MNIST, CIFAR10, NOTO_EMOJI64, EMOJI_EDGES64, FACADES]
    return [*pictures, MOVING_MNIST, LPC_SPRITES, NOTO_ANIMATED64, BBB64, WEIZMANN64, MOCAP_FIGURE64]
