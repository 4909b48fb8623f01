"""What the zoo sees of Deep Video Portraits. Free of torch."""

from __future__ import annotations

from zoo.spec import ModelSpec, Option, Preset, Weights

_HELP = {
    "condition": "the clip of renderings to draw from; a file or a folder of frames",
    "correspondence": "the clip of correspondences, for weights that know them",
    "gaze": "the clip of gazes, for weights that know them",
}
_SMALL = {"depth": 5, "width": 24, "width_max": 96, "discriminator_width": 24, "patch": 34}

PORTRAITS = ModelSpec(
    name="deep_video_portraits",
    summary="Frames of a person from a window of renderings of a face model, whose parameters can be another's",
    paper="Kim, Garrido, Tewari, Xu, Thies, Nießner, Pérez, Richardt, Zollhöfer, Theobalt: Deep Video Portraits, "
    "SIGGRAPH 2018, arXiv 1805.11714",
    kind="translation",
    task="video-translation",
    data_shape=("T", "C", "H", "W"),
    presets={
        "tiny": Preset(
            model={
                "image_shape": (3, 16, 16),
                "window": 3,
                "depth": 2,
                "width": 8,
                "width_max": 16,
                "patch": 16,
                "discriminator_width": 8,
            }
        ),
        "paper": Preset(settings={"batch_size": 16, "examples": 496_000, "ema_images": 0}),
        # Ours, for a CPU: clips of `python -m zoo_translation.head`, and the faces of the animated emoji.
        "head": Preset(
            model={**_SMALL, "image_shape": (3, 64, 64)},
            settings={"batch_size": 4, "examples": 40_000, "ema_images": 500},
        ),
        "noto_animated64": Preset(
            model={**_SMALL, "image_shape": (3, 64, 64), "conditions": ("condition",), "condition_classes": 6},
            settings={
                "data": "noto_animated64",
                "columns": {"condition": "parts"},
                "batch_size": 4,
                "examples": 40_000,
                "ema_images": 500,
            },
        ),
    },
    weights={
        "head": Weights(
            repo="pixelzoo/portraits-head",
            revision=None,
            sha256="90b7aca863db2bb9b40fa6f6c26cf090d06a31418d66f69a0c061f89748e37dd",
            size=2940278,
            summary="a drawn head of nobody, 64x64, 10,000 windows on a CPU",
        )
    },
    sample_options=tuple(
        Option(name=name, type="video", shape=(None, None, None, None), per_sample=True, help=text)
        for name, text in _HELP.items()
    ),
)
