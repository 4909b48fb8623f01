"""What the zoo sees of DVD-GAN. Free of torch."""

from __future__ import annotations

from zoo.nn.options import LATENT
from zoo.spec import Figure, ModelSpec, Option, Preset, Weights

# Table 1 of the paper: frames, pixels, FID and inception score by I3D on Kinetics-600, the latter truncated too.
KINETICS = {
    (12, 64): (0.91, 61.10),
    (48, 64): (12.92, 97.62),
    (12, 128): (2.16, 55.09),
    (48, 128): (31.50, 111.19),
    (12, 256): (3.35, 59.74),
}
# The moving average keeps 0.9999 of itself a step; the paper's begins at step 20,000, ours at once.
_PAPER = {"data": "kinetics600", "batch_size": 512, "examples": 150_000_000, "frame_stride": 2, "ema_images": 3_550_000}
_OURS = {"batch_size": 16, "ema_images": 2_000, "eval_every": 0, "examples": 200_000}
_SMALL = {"latent_size": 32, "class_size": 32, "frames": 16, "normalised": True}
_SPRITES = {**_SMALL, "classes": 9}
_RATES = {"learning_rate": 1e-3, "discriminator_rate": 8e-4, "discriminator_steps": 1, "spatial_frames": 4}

DVDGAN = ModelSpec(
    name="dvdgan",
    summary="BigGAN for clips: recurrent networks at every scale, one discriminator of frames and one of motion",
    paper="Clark, Donahue, Simonyan: Adversarial Video Generation on Complex Datasets, 2019, arXiv 1907.06571v2",
    kind="gan",
    task="video-generation",
    data_shape=("T", "C", "H", "W"),
    presets={
        "tiny": Preset(model={"resolution": 8, "frames": 4, "latent_size": 4, "class_size": 4, "width": 4}),
        **{
            f"kinetics{pixels}-{frames}": Preset(
                model={"resolution": pixels, "frames": frames, "classes": 600}, settings=_PAPER
            )
            for frames, pixels in KINETICS
        },
        "kinetics64-prediction": Preset(model={"frames": 16, "given_frames": 5}, settings=_PAPER),
        "ucf101": Preset(
            model={"resolution": 128, "frames": 16, "classes": 101},
            settings={**_PAPER, "data": "ucf101", "frame_stride": 1},
        ),
        "lpc_sprites": Preset(
            model={**_SPRITES, "width": 16}, recipe=_RATES, settings={**_OURS, "data": "lpc_sprites"}
        ),
        "lpc_sprites32": Preset(
            model={**_SPRITES, "resolution": 32, "width": 16}, recipe=_RATES, settings={**_OURS, "data": "lpc_sprites"}
        ),
        "lpc_sprites32-prediction": Preset(
            model={**_SPRITES, "resolution": 32, "width": 16, "given_frames": 5},
            recipe=_RATES,
            settings={**_OURS, "data": "lpc_sprites"},
        ),
        "moving_mnist": Preset(
            model={**_SMALL, "channels": 1, "width": 16}, recipe=_RATES, settings={**_OURS, "data": "moving_mnist"}
        ),
        "moving_mnist32": Preset(
            model={**_SMALL, "resolution": 32, "channels": 1, "width": 16},
            recipe=_RATES,
            settings={**_OURS, "data": "moving_mnist"},
        ),
        "bbb64": Preset(model={**_SMALL, "width": 16}, recipe=_RATES, settings={**_OURS, "data": "bbb64"}),
        "noto_animated64": Preset(
            model={**_SMALL, "width": 16}, recipe=_RATES, settings={**_OURS, "data": "noto_animated64"}
        ),
    },
    sample_options=(
        Option(name="label", type="label", minimum=0, per_sample=True, help="class; without it each sample draws one"),
        Option(
            name="truncation",
            type="float",
            minimum=0.02,
            maximum=5.0,
            help="latents no further from 0 than this, with statistics of their own: likelier clips, more alike",
        ),
        Option(
            name="given", type="video", per_sample=True, help="the first frames, for weights that go on with given ones"
        ),
        LATENT,
    ),
    weights={
        "lpc_sprites": Weights(
            repo="pixelzoo/dvdgan-lpc-sprites",
            revision=None,
            sha256="9c138d98416abd2febafcd8c60d18d5d64c9085961a1ef3938bbb464dc9468e0",
            size=3999188,
            summary="LPC sprites at 32x32, given the action, 48,640 clips on a CPU",
        )
    },
    figures=(
        *(
            Figure(preset=f"kinetics{pixels}-{frames}", metric=metric, data="Kinetics-600", paper=value)
            for (frames, pixels), values in KINETICS.items()
            for metric, value in zip(("FID by I3D", "inception score by I3D"), values, strict=True)
        ),
        Figure(preset="kinetics64-prediction", metric="FVD", data="Kinetics-600, 11 frames after 5", paper=69.15),
        Figure(preset="ucf101", metric="inception score", data="UCF-101", paper=32.97),
    ),
)
