"""What the zoo sees of pix2pix. Free of torch."""

from __future__ import annotations

from typing import Any

from zoo.spec import Figure, ModelSpec, Option, Preset, Weights

# The condition's channels and size are the model's, which `Model.input_shape` says.
CONDITION = Option(
    name="condition",
    type="image",
    shape=(None, None, None),
    per_sample=True,
    help="what to draw from: a label map, edges, or another picture; a file or a folder",
)

# Table 1 of the paper: which losses, and so what the discriminator sees.
ABLATION: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "l1": ({"discriminator": False}, {"losses": "l1"}),
    "gan": ({"conditional": False}, {"losses": "gan"}),
    "cgan": ({}, {"losses": "cgan"}),
    "l1-gan": ({"conditional": False}, {"losses": "l1+gan"}),
    "l1-cgan": ({}, {"losses": "l1+cgan"}),
}
PATCHES = (1, 16, 286)  # table 2, besides 70

_JITTER = {"jitter": 30, "mirror": True}
_TINY = {"image_shape": (3, 16, 16), "width": 8, "width_max": 16, "discriminator_width": 8, "patch": 16}
# Ours, for a CPU: networks of a few MB.
_SMALL = {"width": 32, "width_max": 128, "discriminator_width": 32}
_SMALL64 = {**_SMALL, "image_shape": (3, 64, 64)}
_RECIPE64 = {"jitter": 8, "mirror": True, "constant": 0.5}
_RUN64 = {"data": "facades", "examples": 120_000, "batch_size": 1, "ema_images": 0}
_FACADES = {"data": "facades", "examples": 80_000, "batch_size": 1, "ema_images": 0}
_SPRITES32: dict[str, Any] = {
    **_SMALL,
    "image_shape": (3, 32, 32),
    "condition_channels": 1,
    "condition_classes": 9,
    "norm": "instance",
    "patch": 16,
}
_RUN32: dict[str, Any] = {
    "data": "lpc_sprites",
    "columns": {"condition": "segmentation"},
    "examples": 80_000,
    "batch_size": 4,
    "ema_images": 1_000,
}


def _paper(examples: int, batch_size: int = 1, *, jitter: bool = True) -> Preset:
    settings = {"examples": examples, "batch_size": batch_size, "ema_images": 0}
    return Preset(recipe=_JITTER if jitter else {}, settings=settings)


PIX2PIX = ModelSpec(
    name="pix2pix",
    summary="A picture from a label map, edges or another picture: U-Net or ResNet, PatchGAN, cGAN and L1",
    paper="Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017, "
    "arXiv 1611.07004",
    kind="translation",
    task="image-translation",
    data_shape=("C", "H", "W"),
    presets={
        "tiny": Preset(model=_TINY),
        # The paper's (section 6.2): examples are its epochs times its training pairs.
        "facades": Preset(recipe=_JITTER, settings=_FACADES),
        **{
            f"facades-{n}": Preset(model=m, recipe={**_JITTER, **r}, settings=_FACADES)
            for n, (m, r) in ABLATION.items()
        },
        **{f"facades-patch{p}": Preset(model={"patch": p}, recipe=_JITTER, settings=_FACADES) for p in PATCHES},
        "cityscapes": _paper(2975 * 200),
        "maps": _paper(1096 * 200),
        "edges2shoes": _paper(50_000 * 15, 4, jitter=False),
        "edges2handbags": _paper(137_000 * 15, 4, jitter=False),
        "day2night": _paper(17_823 * 17, 4),
        # Ours.
        "facades128": Preset(
            model={**_SMALL, "image_shape": (3, 128, 128)},
            recipe={**_RECIPE64, "jitter": 15},
            settings={**_RUN64, "examples": 80_000},
        ),
        "facades64": Preset(model=_SMALL64, recipe=_RECIPE64, settings=_RUN64),
        **{
            f"facades64-{n}": Preset(model={**_SMALL64, **m}, recipe={**_RECIPE64, **r}, settings=_RUN64)
            for n, (m, r) in ABLATION.items()
        },
        **{
            f"facades64-patch{p}": Preset(model={**_SMALL64, "patch": p}, recipe=_RECIPE64, settings=_RUN64)
            for p in (1, 16, 34, 142)
        },
        "emoji_edges64": Preset(
            model={**_SMALL64, "condition_channels": 1, "condition_classes": 2, "norm": "instance", "patch": 34},
            recipe=_RECIPE64,
            settings={"data": "emoji_edges64", "examples": 160_000, "batch_size": 4, "ema_images": 1_000},
        ),
        # Single frames of clips, from their label maps.
        "lpc_sprites32": Preset(model=_SPRITES32, settings=_RUN32),
        **{
            f"lpc_sprites32-{n}": Preset(model={**_SPRITES32, **m}, recipe=r, settings=_RUN32)
            for n, (m, r) in ABLATION.items()
        },
    },
    sample_options=(CONDITION,),
    weights={
        "lpc_sprites": Weights(
            repo="pixelzoo/pix2pix-lpc-sprites",
            revision=None,
            sha256="9af698b694582e8abdf83822ac07066ebe2ea9b087569377d4f1f247ddb2d9ba",
            size=3625494,
            summary="LPC sprites at 32x32 from their label maps, 20,000 frames on a CPU",
        ),
        "emoji": Weights(
            repo="pixelzoo/pix2pix-emoji",
            revision=None,
            sha256="18b7d6cff75385871c1a6f78d62e3507724dd4dd89a58cb1cde2264870142951",
            size=5192806,
            summary="Noto emoji at 64x64 from their edges, 160,000 pictures on a CPU",
        ),
    },
    figures=tuple(
        Figure(preset="cityscapes", metric=f"FCN {score}, {name}", data="Cityscapes labels to photo", paper=value)
        for name, values in (
            ("L1", (0.42, 0.15, 0.11)),
            ("GAN", (0.22, 0.05, 0.01)),
            ("cGAN", (0.57, 0.22, 0.16)),
            ("L1+GAN", (0.64, 0.20, 0.15)),
            ("L1+cGAN", (0.66, 0.23, 0.17)),
        )
        for score, value in zip(("per-pixel accuracy", "per-class accuracy", "class IoU"), values, strict=True)
    ),
)
