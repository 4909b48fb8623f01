"""What the zoo sees of vid2vid. Free of torch."""

from __future__ import annotations

from typing import Any

from zoo.spec import Figure, ModelSpec, Option, Preset, Weights

_TINY = {
    "image_shape": (3, 16, 16),
    "frames": 4,
    "width": 4,
    "downs": 1,
    "blocks": 2,
    "patch": 16,
    "discriminator_scales": 1,
    "discriminator_width": 8,
    "strides": 1,
}
# Ours, for a CPU: networks of a few MB.
_SMALL = {
    "frames": 8,
    "condition_channels": 1,
    "width": 16,
    "downs": 2,
    "blocks": 4,
    "norm": "instance",
    "patch": 34,
    "discriminator_scales": 1,
    "discriminator_width": 16,
}
_RUN = {"batch_size": 4, "examples": 40_000, "ema_images": 1_000}
_RECIPE = {"l1_weight": 10.0}
_SPRITES32 = {**_SMALL, "image_shape": (3, 32, 32), "condition_classes": 9}
_RUN_SPRITES = {**_RUN, "data": "lpc_sprites", "columns": {"condition": "segmentation"}}
# Table 2 of the paper. Its background prior, a network of its own for the foreground, is off in ours.
ABLATION: dict[str, dict[str, Any]] = {
    "no-flow": {"flow": False},
    "no-clips": {"strides": 0},  # without D_V
    "foreground": {"foreground": tuple(range(1, 9))},  # all but the ground
}

VID2VID = ModelSpec(
    name="vid2vid",
    summary="Clips from label maps: each frame moves the one before along a flow and hallucinates the rest",
    paper="Wang, Liu, Zhu, Liu, Tao, Kautz, Catanzaro: Video-to-Video Synthesis, NeurIPS 2018, arXiv 1808.06601",
    kind="translation",
    task="video-translation",
    data_shape=("T", "C", "H", "W"),
    presets={
        "tiny": Preset(model=_TINY, recipe={"grow": 0.0}),
        # The coarse network of the paper's Cityscapes experiment: 35 classes and their edges; people and vehicles are
        # the foreground.
        "cityscapes": Preset(
            model={
                "condition_channels": 1,
                "condition_classes": 36,
                "foreground": (24, 25, 26, 27, 28, 29, 30, 31, 32, 33),
                "frames": 19,
                "strides": 3,
                "discriminator_scales": 2,
            },
            settings={"data": "cityscapes", "examples": 119_000, "batch_size": 8, "ema_images": 0},
        ),
        # Ours.
        "lpc_sprites": Preset(
            model={**_SMALL, "image_shape": (3, 64, 64), "condition_classes": 9},
            recipe=_RECIPE,
            settings=_RUN_SPRITES,
        ),
        "lpc_sprites32": Preset(model=_SPRITES32, recipe=_RECIPE, settings=_RUN_SPRITES),
        **{
            f"lpc_sprites32-{name}": Preset(model={**_SPRITES32, **change}, recipe=_RECIPE, settings=_RUN_SPRITES)
            for name, change in ABLATION.items()
        },
        "noto_animated64": Preset(
            model={**_SMALL, "image_shape": (3, 64, 64), "condition_classes": 6},
            recipe=_RECIPE,
            settings={**_RUN, "data": "noto_animated64", "columns": {"condition": "parts"}},
        ),
    },
    sample_options=(
        Option(
            name="condition",
            type="video",
            shape=(None, None, None, None),
            per_sample=True,
            help="the clip to draw from, of label maps or pictures; a file, a folder of frames, or an iterator of them",
        ),
    ),
    weights={
        "lpc_sprites": Weights(
            repo="pixelzoo/vid2vid-lpc-sprites",
            revision=None,
            sha256="d2e08a3bc13b1bbeec3c2332bb60b91051ba5563821557ba3f941712b7105612",
            size=2877552,
            summary="LPC sprites at 32x32 from their label maps, 25,400 clips on a CPU",
        )
    },
    figures=(
        Figure(preset="cityscapes", metric="FID by I3D", data="Cityscapes", paper=4.66),
        Figure(preset="cityscapes", metric="preferred to pix2pixHD, short clips", data="Cityscapes", paper=0.87),
    ),
)
