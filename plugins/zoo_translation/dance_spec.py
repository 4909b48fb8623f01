"""What the zoo sees of Everybody Dance Now. Free of torch."""

from __future__ import annotations

from zoo.spec import ModelSpec, Option, Preset, Weights

OPTIONS = (
    # The channels and size of figures are the model's, which `Model.input_shape` says.
    Option(
        name="condition",
        type="video",
        shape=(None, None, None, None),
        per_sample=True,
        help="the figures to draw from, frame by frame: a clip, or from Python an iterator of frames",
    ),
    Option(name="label", type="label", minimum=0, per_sample=True, help="whom to draw, of weights of several people"),
    Option(
        name="reference",
        type="image",
        per_sample=True,
        help="whom to draw, of weights that draw whoever a picture shows",
    ),
    Option(
        name="previous",
        type="image",
        per_sample=True,
        help="the frame before the first, with which a clip goes on; without it a clip begins",
    ),
    Option(
        name="joints",
        type="tensor",
        per_sample=True,
        help="keypoints (N, T, J, 2) in pixels, by which the detail network finds the head; else the upper middle",
    ),
)

_TINY = {
    "image_shape": (3, 16, 16),
    "window": 2,
    "people": 2,
    "width": 8,
    "width_max": 16,
    "downs": 1,
    "blocks": 1,
    "scales": 1,
    "patch": 16,
    "discriminator_width": 8,
    "detail": 8,
    "detail_blocks": 1,
    "joints": 3,
}
# Ours, for a CPU: networks of a few MB.
_SMALL = {
    "image_shape": (3, 64, 64),
    "width": 24,
    "width_max": 96,
    "downs": 3,
    "blocks": 4,
    "discriminator_width": 24,
    "detail_blocks": 2,
}

DANCE = ModelSpec(
    name="everybody_dance_now",
    summary="Clips of a person from stick figures, frame by frame: pairs of frames judged together, detail at the head",
    paper="Chan, Ginosar, Zhou, Efros: Everybody Dance Now, ICCV 2019, arXiv 1808.07371",
    kind="translation",
    task="video-translation",
    data_shape=("T", "C", "H", "W"),
    presets={
        "tiny": Preset(model=_TINY),
        # The paper's first stage at 512x256 with the face GAN's crop; its 200 epochs of about 12,000 frames.
        "paper": Preset(model={"detail": 128}, settings={"examples": 2_400_000, "batch_size": 1, "ema_images": 0}),
        # Ours.
        "mocap_figure64": Preset(
            model={**_SMALL, "window": 3, "people": 4, "detail": 16, "joints": 18, "head": 0},
            recipe={"l1_weight": 10.0},
            settings={
                "data": "mocap_figure64",
                "columns": {"label": "actor"},
                "examples": 60_000,
                "batch_size": 4,
                "ema_images": 1_000,
            },
        ),
        "lpc_sprites": Preset(
            model={
                **_SMALL,
                "condition_channels": 1,
                "condition_classes": 7,
                "window": 4,
                "reference": True,
                "detail": 24,
            },
            recipe={"l1_weight": 10.0},
            settings={
                "data": "lpc_sprites",
                "columns": {"condition": "pose"},
                "examples": 100_000,
                "batch_size": 4,
                "ema_images": 1_000,
            },
        ),
    },
    weights={
        "mocap_figure64": Weights(
            repo="pixelzoo/dance-mocap",
            revision=None,
            sha256="b1f40b41772eff99880cfedd3e8ca7f57565d14aecf261b1a6ea2f4a3e8852a6",
            size=2816124,
            summary="four drawn actors that move as recorded people did, 64x64, 30,000 windows on a CPU",
        )
    },
    sample_options=OPTIONS,
)
