"""What the zoo sees of Progressive GAN, StyleGAN and StyleGAN2. Free of torch."""

from __future__ import annotations

from zoo import hookimpl
from zoo.nn.options import LATENT
from zoo.spec import Figure, ModelSpec, Option, Preset, Weights

LABEL = Option(name="label", type="label", minimum=0, per_sample=True, help="class; without it each sample draws one")
STYLE_OPTIONS = (
    Option(
        name="truncation",
        type="float",
        default=1.0,
        minimum=0.0,
        maximum=1.0,
        help="psi: how far from the mean w; less gives likelier pictures, more alike; 0.7 is usual",
    ),
    Option(name="truncation_layers", type="int", minimum=1, help="only the first of the layers are truncated"),
    LABEL,
    Option(name="noise", type="str", default="random", choices=("random", "constant"), help="per sample, or stored"),
    Option(
        name="mixing",
        type="int",
        minimum=1,
        table=True,
        help="a table of style mixing with so many columns, sources around it",
    ),
    Option(name="mixing_layers", type="int", minimum=1, help="layers whose styles come from the left; default half"),
    Option(
        name="walk",
        type="str",
        choices=("w", "z"),
        frames=("keys", "steps"),
        help="frames of a round trip between latents, in w or in z",
    ),
    Option(name="keys", type="int", default=4, minimum=2, help="latents that a walk passes"),
    Option(name="steps", type="int", default=24, minimum=1, help="frames of a walk from one latent to the next"),
    LATENT,
    Option(name="w", type="tensor", per_sample=True, help="w in place of z, one for all layers or one for each"),
)

TINY = {"resolution": 8, "latent_size": 8, "width_base": 64, "width_max": 8}
TINY_STYLE = {**TINY, "w_size": 8, "mapping_layers": 2}
# At the second step of a batch of 4 both resolutions are trained.
TINY_GROWTH = {"start_resolution": 4, "stable_images": 2, "fade_images": 4}

# Widths that make files of a MB, and growth for runs of minutes.
NARROW = {"resolution": 32, "latent_size": 64, "width_base": 512, "width_max": 64}
NARROW_STYLE = {**NARROW, "w_size": 64, "mapping_layers": 2}
SHORT_GROWTH = {"stable_images": 5_000, "fade_images": 5_000}
SPRITES = {"data": "lpc_sprites", "examples": 240_000, "batch_size": 16}

PROGAN = ModelSpec(
    name="progan",
    summary="A GAN whose two networks grow from 4x4 pixels on, each new resolution faded in",
    paper="Karras, Aila, Laine, Lehtinen: Progressive Growing of GANs for Improved Quality, Stability, and Variation, "
    "ICLR 2018, arXiv 1710.10196",
    kind="gan",
    task="image-generation",
    data_shape=("C", "H", "W"),
    presets={
        "tiny": Preset(model={**TINY, **TINY_GROWTH}),
        "celebahq": Preset(
            model={"resolution": 1024, "stable_images": 800_000, "fade_images": 800_000, "group": 16},
            recipe={"mirror": True},
            settings={"examples": 19_000_000, "batch_size": 16},
        ),
        "cifar10": Preset(model={"resolution": 32}, settings={"data": "cifar10", "examples": 10_000_000}),
        "lpc_sprites32": Preset(
            model={**NARROW, **SHORT_GROWTH}, recipe={"learning_rate": 0.003, "mirror": True}, settings=SPRITES
        ),
    },
    sample_options=(LABEL, LATENT),
    weights={
        "lpc_sprites": Weights(
            repo="pixelzoo/progan-lpc-sprites",
            revision=None,
            sha256="74b8eb248842b9b135a8bbc646ca9a2289f4d595147470d3859a3ef198383a8f",
            size=1116852,
            summary="LPC sprites at 32x32, 194,000 examples on a CPU",
        )
    },
)

# Table 1 of the paper, each row on top of the one before it.
_A = {"mapping_layers": 0, "blur": False, "style": False, "constant": False, "noise": False, "start_resolution": 4}
_B = {**_A, "blur": True, "start_resolution": 8}
_C = {**_B, "mapping_layers": 8, "style": True}
_D = {**_C, "constant": True}
_E = {**_D, "noise": True}
_WGAN = {"loss": "wgan-gp", "r1_gamma": 0.0, "style_mixing_prob": 0.0}
_LOGISTIC = {"style_mixing_prob": 0.0}  # with R1, whose weight is 10 by default
_PAPER = {"examples": 25_000_000}

STYLEGAN = ModelSpec(
    name="stylegan",
    summary="Progressive GAN with a mapping network, styles and noise: rows A to F of the paper's table",
    paper="Karras, Laine, Aila: A Style-Based Generator Architecture for Generative Adversarial Networks, CVPR 2019, "
    "arXiv 1812.04948",
    kind="gan",
    task="image-generation",
    data_shape=("C", "H", "W"),
    presets={
        "tiny": Preset(model={**TINY_STYLE, **TINY_GROWTH}),
        "A": Preset(model=_A, recipe=_WGAN, settings=_PAPER),
        "B": Preset(model=_B, recipe=_LOGISTIC, settings=_PAPER),
        "C": Preset(model=_C, recipe=_LOGISTIC, settings=_PAPER),
        "D": Preset(model=_D, recipe=_LOGISTIC, settings=_PAPER),
        "E": Preset(model=_E, recipe=_LOGISTIC, settings=_PAPER),
        "F": Preset(model=_E, recipe={"style_mixing_prob": 0.9}, settings=_PAPER),
        # Ours: row F in widths that make files of a MB, with what the short runs of docs/ladder.md have shown.
        "lpc_sprites32": Preset(
            model={**NARROW_STYLE, **SHORT_GROWTH},
            recipe={"loss": "wgan-gp", "learning_rate": 0.003, "style_mixing_prob": 0.9},
            settings=SPRITES,
        ),
    },
    sample_options=STYLE_OPTIONS,
    weights={
        "lpc_sprites": Weights(
            repo="pixelzoo/stylegan-lpc-sprites",
            revision=None,
            sha256="620a21e958688ace0d2486936ca4bce81108b5323cb06737be941698ef1dfcaa",
            size=1142324,
            summary="LPC sprites at 32x32, 190,000 examples on a CPU",
        )
    },
    figures=tuple(
        Figure(preset=row, metric="FID", data=data, paper=fid)
        for data, fids in (
            ("CelebA-HQ 1024", (7.79, 6.11, 5.34, 5.07, 5.06, 5.17)),
            ("FFHQ 1024", (8.04, 5.25, 4.85, 4.88, 4.42, 4.40)),
        )
        for row, fid in zip("ABCDEF", fids, strict=True)
    ),
)

# Table 1 of StyleGAN2.
_A2 = {"width_base": 8192, "demodulation": False, "growing": True}
_B2 = {**_A2, "demodulation": True}
_E2 = {**_B2, "growing": False}
_EVERY_STEP = {"r1_every": 1, "path_length_weight": 0.0}
_LAZY = {"path_length_weight": 0.0}
_SMALL = {**_LAZY, "style_mixing_prob": 0.0, "augment": "ada"}

STYLEGAN2 = ModelSpec(
    name="stylegan2",
    summary="Demodulated styles and lazy regularisation, at last without growing: rows A to F; adaptive augmentation",
    paper="Karras et al.: Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, arXiv 1912.04958",
    kind="gan",
    task="image-generation",
    data_shape=("C", "H", "W"),
    presets={
        "tiny": Preset(model=TINY_STYLE),
        "A": Preset(model=_A2, recipe=_EVERY_STEP, settings=_PAPER),
        "B": Preset(model=_B2, recipe=_EVERY_STEP, settings=_PAPER),
        "C": Preset(model=_B2, recipe=_LAZY, settings=_PAPER),
        "D": Preset(model=_B2, settings=_PAPER),
        "E": Preset(model=_E2, recipe={"r1_gamma": 100.0}, settings=_PAPER),
        "F": Preset(model={**_E2, "width_base": 16384}, settings=_PAPER),
        # Ours: widths that make files of a few MB; R1 and mixing as StyleGAN2-ADA has them for CIFAR-10 (appendix C).
        "cifar10": Preset(
            model={"resolution": 32, "latent_size": 256, "w_size": 256, "mapping_layers": 2, "width_max": 128},
            recipe={**_SMALL, "r1_gamma": 0.01},
            settings={"data": "cifar10", "examples": 5_000_000},
        ),
        "noto_emoji64": Preset(
            model=NARROW_STYLE,
            recipe={**_SMALL, "r1_gamma": 0.5, "learning_rate": 0.003},  # docs/training.md
            settings={"data": "noto_emoji64", "examples": 500_000, "batch_size": 16, "ema_images": 20_000},
        ),
    },
    sample_options=STYLE_OPTIONS,
    weights={
        "emoji": Weights(
            repo="pixelzoo/stylegan2-emoji",
            revision=None,
            sha256="9b319aa83b5d08b0987da0d05b0cc215ed433399ae2904f7c123a4412ba25c61",
            size=1073800,
            summary="Noto emoji at 32x32, 342,000 examples on a CPU",
        )
    },
    figures=tuple(
        Figure(preset=row, metric=metric, data="FFHQ 1024", paper=value)
        for metric, values in (
            ("FID", (4.40, 4.39, 4.38, 4.34, 3.31, 2.84)),
            ("path length", (212.1, 175.4, 158.0, 122.5, 124.5, 145.0)),
            ("precision", (0.721, 0.702, 0.719, 0.715, 0.705, 0.689)),
            ("recall", (0.399, 0.425, 0.427, 0.418, 0.449, 0.492)),
        )
        for row, value in zip("ABCDEF", values, strict=True)
    ),
)


@hookimpl
def zoo_models():
    return [PROGAN, STYLEGAN, STYLEGAN2]


@hookimpl
def zoo_build(spec, config):
    if spec.name == PROGAN.name:
        from zoo_stylegan.progan import ProGAN

        return ProGAN(**config)
    if spec.name == STYLEGAN.name:
        from zoo_stylegan.stylegan import StyleGAN

        return StyleGAN(**config)
    from zoo_stylegan.stylegan2 import StyleGAN2

    return StyleGAN2(**config)


@hookimpl
def zoo_train(spec):
    from zoo_stylegan import recipes

    trainers = {PROGAN.name: recipes.ProGANTrainer, STYLEGAN.name: recipes.StyleGANTrainer}
    return trainers.get(spec.name, recipes.StyleGAN2Trainer)


@hookimpl
def zoo_sample(spec, model, request):
    from zoo_stylegan.sample import sample

    return sample(model, request)


@hookimpl
def zoo_import_weights(spec, source):
    from zoo.errors import OptionError
    from zoo_stylegan import official

    if spec.name != STYLEGAN2.name:
        raise OptionError(f"{spec.name} can't import weights of other programs; stylegan2 can")
    return official.read(source)
