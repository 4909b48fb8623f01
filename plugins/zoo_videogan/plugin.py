"""What the zoo sees of VGAN, TGAN, MoCoGAN and DVD-GAN. Free of torch."""

from __future__ import annotations

from zoo import hookimpl
from zoo.nn.options import LATENT
from zoo.spec import Figure, ModelSpec, Option, Preset, Weights
from zoo_videogan.dvd_spec import DVDGAN

CLIP = ("T", "C", "H", "W")
GAN = {"kind": "gan", "task": "video-generation", "data_shape": CLIP}
UCF = {"metric": "inception score", "data": "UCF-101"}
_PAPER_64 = {"data": "ucf101", "batch_size": 64, "examples": 6_400_000}
_CPU = {"batch_size": 16, "ema_images": 2_000, "eval_every": 0}
_SPRITES = {"data": "lpc_sprites", "examples": 200_000, **_CPU}
_DIGITS = {**_SPRITES, "data": "moving_mnist"}
_GREY32 = {"resolution": 32, "channels": 1}

VGAN = ModelSpec(
    name="vgan",
    summary="One latent for a clip: a moving foreground and a still background, joined by a mask",
    paper="Vondrick, Pirsiavash, Torralba: Generating Videos with Scene Dynamics, NIPS 2016, arXiv 1609.02612",
    presets={
        "tiny": Preset(model={"resolution": 8, "frames": 4, "latent_size": 8, "width": 8}),
        "ucf101": Preset(settings=_PAPER_64),
        "lpc_sprites": Preset(model={"frames": 16, "width": 32}, settings=_SPRITES),
        "lpc_sprites32": Preset(model={"resolution": 32, "frames": 16, "width": 32}, settings=_SPRITES),
        "moving_mnist": Preset(model={"frames": 16, "channels": 1, "width": 32}, settings=_DIGITS),
        "moving_mnist32": Preset(model={**_GREY32, "frames": 16, "width": 32}, settings=_DIGITS),
    },
    sample_options=(
        Option(
            name="part",
            type="str",
            choices=("foreground", "background", "mask"),
            help="one part of the clips in place of the whole",
        ),
        LATENT,
    ),
    weights={
        "lpc_sprites": Weights(
            repo="pixelzoo/vgan-lpc-sprites",
            revision=None,
            sha256="5ffd6f2fdc6c71c4e0dfc54da215a4e4aacb3c0bc34b9b38ae40e34fdac20e0a",
            size=2894574,
            summary="LPC sprites at 32x32, 60,000 clips on a CPU",
        )
    },
    figures=(Figure(preset="ucf101", paper=8.31, **UCF),),
    **GAN,
)

TGAN = ModelSpec(
    name="tgan",
    summary="One latent for a clip makes one for each frame; a Wasserstein critic with clipped singular values",
    paper="Saito, Matsumoto, Saito: Temporal Generative Adversarial Nets with Singular Value Clipping, ICCV 2017, "
    "arXiv 1611.06624",
    presets={
        "tiny": Preset(model={"resolution": 8, "frames": 4, "latent_size": 8, "width": 8, "temporal_width": 8}),
        "ucf101": Preset(settings={**_PAPER_64, "batch_size": 32, "examples": 3_200_000}),
        "lpc_sprites": Preset(settings=_SPRITES),
        "lpc_sprites32": Preset(model={"resolution": 32}, recipe={"learning_rate": 2e-4}, settings=_SPRITES),
        "moving_mnist": Preset(model={"channels": 1}, settings=_DIGITS),
        "moving_mnist32": Preset(model=_GREY32, recipe={"learning_rate": 2e-4}, settings=_DIGITS),
    },
    sample_options=(LATENT,),
    weights={
        "lpc_sprites": Weights(
            repo="pixelzoo/tgan-lpc-sprites",
            revision=None,
            sha256="cc68e47aead576abc6aba2da749267e20cb8deb5a686d47a5063a8dc1af72171",
            size=3892166,
            summary="LPC sprites at 32x32, 90,000 clips on a CPU",
        )
    },
    figures=(Figure(preset="ucf101", paper=11.85, **UCF),),
    **GAN,
)

MOCOGAN = ModelSpec(
    name="mocogan",
    summary="A latent for each frame: content drawn once a clip, motion by a recurrent network; any length",
    paper="Tulyakov, Liu, Yang, Kautz: MoCoGAN: Decomposing Motion and Content for Video Generation, CVPR 2018, "
    "arXiv 1707.04993",
    presets={
        "tiny": Preset(model={"resolution": 8, "frames": 8, "content_size": 6, "motion_size": 4, "width": 8}),
        "ucf101": Preset(settings=_PAPER_64),
        "shapes": Preset(
            model={"categories": 2}, settings={**_PAPER_64, "data": "shapes", "batch_size": 32, "examples": 3_200_000}
        ),
        "weizmann64": Preset(
            model={"categories": 4, "labelled": True},
            recipe={"mirror": True},
            settings={"data": "weizmann64", "batch_size": 32, "examples": 3_200_000},
        ),
        "lpc_sprites": Preset(model={"categories": 9, "labelled": True, "width": 48}, settings=_SPRITES),
        "lpc_sprites32": Preset(
            model={"resolution": 32, "categories": 9, "labelled": True, "width": 32}, settings=_SPRITES
        ),
        "moving_mnist": Preset(model={"channels": 1, "width": 48}, settings=_DIGITS),
        "moving_mnist32": Preset(model={**_GREY32, "width": 32}, settings=_DIGITS),
        "noto_animated64": Preset(
            model={"width": 48}, settings={**_SPRITES, "data": "noto_animated64", "examples": 400_000}
        ),
    },
    sample_options=(
        Option(
            name="label",
            type="label",
            minimum=0,
            per_sample=True,
            help="category of motion; without it each sample draws one",
        ),
        Option(
            name="motions",
            type="int",
            minimum=1,
            table=True,
            help="a table: each row has one content, each of so many and one more columns one motion",
        ),
        LATENT,
    ),
    weights={
        "lpc_sprites": Weights(
            repo="pixelzoo/mocogan-lpc-sprites",
            revision=None,
            sha256="c7b03fe0e2a48fd4a7a1e0fddb4a314fb547061e5e8dca44e00fd9254949b2cf",
            size=1235176,
            summary="LPC sprites at 32x32, nine actions, 90,000 clips on a CPU",
        )
    },
    figures=(
        Figure(preset="ucf101", paper=12.42, **UCF),
        Figure(preset="shapes", metric="ACD", data="shapes", paper=1.79),
        Figure(preset="shapes", metric="ACD", data="faces", paper=0.201),
    ),
    **GAN,
)


@hookimpl
def zoo_models():
    return [VGAN, TGAN, MOCOGAN, DVDGAN]


@hookimpl
def zoo_build(spec, config):
    if spec.name == VGAN.name:
        from zoo_videogan import vgan

        return vgan.VGAN(**config)
    if spec.name == TGAN.name:
        from zoo_videogan import tgan

        return tgan.TGAN(**config)
    if spec.name == DVDGAN.name:
        from zoo_videogan import dvdgan

        return dvdgan.DVDGAN(**config)
    from zoo_videogan import mocogan

    return mocogan.MoCoGAN(**config)


@hookimpl
def zoo_train(spec):
    from zoo_videogan import dvd_train, train

    trainers = {VGAN.name: train.VGANTrainer, TGAN.name: train.TGANTrainer, DVDGAN.name: dvd_train.DVDGANTrainer}
    return trainers.get(spec.name, train.MoCoGANTrainer)


@hookimpl
def zoo_sample(spec, model, request):
    return model.draw(request)
