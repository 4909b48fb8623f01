"""What the zoo sees of VQ-VAE-2. Free of torch."""

from __future__ import annotations

from zoo import hookimpl
from zoo.nn.options import AUTOREGRESSIVE_OPTIONS
from zoo.spec import Figure, ModelSpec, Option, Preset, Weights

TABLE_1 = {"preset": "imagenet256", "data": "imagenet 256, table 1"}
TABLE_2 = {"preset": "imagenet256", "data": "imagenet 256, table 2"}

# Sizes of ours, for one core of a CPU.
_SMALL = {
    "codes": 256,
    "code_size": 32,
    "width": 64,
    "residual_width": 32,
    "prior_width": (96, 64),
    "prior_hidden": (96, 64),
    "prior_layers": (8, 5),
    "prior_attention": (2, 0),
    "prior_heads": 4,
    "prior_kernel": 3,
    "prior_output": (2, 0),
    "prior_condition": (0, 3),
}
_RECIPE = {"learning_rate": 1e-3, "prior_learning_rate": 1e-3, "restart_below": 0.05}

VQVAE2 = ModelSpec(
    name="vqvae2",
    summary="An autoencoder with levels of discrete codes, and for each level a prior with gates and attention",
    paper="Razavi, van den Oord, Vinyals: Generating Diverse High-Fidelity Images with VQ-VAE-2, NeurIPS 2019, "
    "arXiv 1906.00446",
    kind="vae",
    task="image-generation",
    data_shape=("C", "H", "W"),
    stages=True,
    presets={
        "tiny": Preset(
            model={
                "image_shape": (1, 16, 16),
                "stride": 2,
                "width": 8,
                "residual_width": 4,
                "n_residual": 1,
                "codes": 8,
                "code_size": 4,
                "prior_width": (8, 8),
                "prior_hidden": (8, 8),
                "prior_layers": (2, 2),
                "prior_attention": (1, 0),
                "prior_heads": 2,
                "prior_kernel": 3,
                "prior_output": (1, 0),
                "prior_condition": (0, 1),
            },
            recipe={"stage": "joint"},
        ),
        # The paper's: batches of 128 for the autoencoder; its priors took 1,024 and 512 pictures a step.
        "imagenet256": Preset(
            model={"classes": 1000}, settings={"batch_size": 128, "examples": 500_000_000, "ema_images": 100_000}
        ),
        "ffhq1024": Preset(
            model={
                "image_shape": (3, 1024, 1024),
                "n_levels": 3,
                "stride": 8,
                "prior_width": (512, 512, 512),
                "prior_hidden": (2048, 1024, 1024),
                "prior_layers": (20, 20, 10),
                "prior_attention": (4, 1, 0),
                "prior_output": (20, 0, 0),
                "prior_condition": (0, 20, 20),
            },
            recipe={"mirror": True},
            settings={"batch_size": 128, "examples": 200_000_000, "ema_images": 100_000},
        ),
        "noto_emoji64": Preset(
            model={**_SMALL, "image_shape": (3, 64, 64)},
            recipe=_RECIPE,
            settings={"data": "noto_emoji64", "examples": 400_000, "batch_size": 16},
        ),
        # Single frames of clips, given the action.
        "lpc_sprites": Preset(
            model={**_SMALL, "image_shape": (3, 64, 64), "codes": 256, "classes": 9},
            recipe={**_RECIPE, "autoencoder_share": 0.3},
            settings={"data": "lpc_sprites", "examples": 400_000, "batch_size": 16},
        ),
        "cifar10": Preset(
            model={**_SMALL, "image_shape": (3, 32, 32), "stride": 2, "classes": 10},
            recipe={**_RECIPE, "mirror": True},
            settings={"data": "cifar10", "examples": 1_000_000, "batch_size": 32},
        ),
        "mnist": Preset(
            model={
                **_SMALL,
                "image_shape": (1, 28, 28),
                "n_levels": 1,
                "codes": 128,
                "classes": 10,
                "prior_width": (64,),
                "prior_hidden": (64,),
                "prior_layers": (6,),
                "prior_attention": (2,),
                "prior_output": (1,),
                "prior_condition": (0,),
            },
            recipe=_RECIPE,
            settings={"data": "mnist", "examples": 600_000, "batch_size": 32},
        ),
    },
    weights={
        "mnist": Weights(
            repo="pixelzoo/vqvae2-mnist",
            revision=None,
            sha256="f567af77537b91c783938d21c1e017cd6749aa8b9f14792f9d9305fd611454a8",
            size=3842876,
            summary="MNIST, one level of 7x7 codes, given the digit, 10 minutes on a CPU",
        ),
        "lpc_sprites": Weights(
            repo="pixelzoo/vqvae2-lpc-sprites",
            revision=None,
            sha256="b057e24324afb641dd063b065e6cf8af49b865d10ee1cdadfba84203efa1e209",
            size=6779302,
            summary="LPC sprites at 64x64, two levels of codes, given the action, 160,000 examples on a CPU",
        ),
    },
    sample_options=(
        Option(name="label", type="label", minimum=0, per_sample=True, help="class; without it each sample draws one"),
        *AUTOREGRESSIVE_OPTIONS,
        Option(
            name="detail_temperature",
            type="float",
            minimum=0.0,
            maximum=10.0,
            help="the temperature of all levels below the top; that of the top without it",
        ),
        Option(
            name="candidates",
            type="int",
            default=1,
            minimum=1,
            maximum=1000,
            help="draw that many for each sample, and keep the one that `classifier` is surest of",
        ),
        Option(
            name="classifier",
            type="str",
            help="a TorchScript file, whose code is run: pictures (N, 3, H, W), uint8, to logits (N, classes)",
        ),
    ),
    figures=(
        Figure(metric="NLL of codes, top, training", paper=3.40, **TABLE_1),
        Figure(metric="NLL of codes, top", paper=3.41, **TABLE_1),
        Figure(metric="NLL of codes, bottom, training", paper=3.45, **TABLE_1),
        Figure(metric="NLL of codes, bottom", paper=3.45, **TABLE_1),
        Figure(metric="MSE, training", paper=0.0047, **TABLE_1),
        Figure(metric="MSE", paper=0.0050, **TABLE_1),
        Figure(metric="CAS top-1, %", paper=54.83, **TABLE_2),
        Figure(metric="CAS top-5, %", paper=77.59, **TABLE_2),
    ),
)


@hookimpl
def zoo_models():
    return [VQVAE2]


@hookimpl
def zoo_build(spec, config):
    from zoo_vqvae.vqvae2 import VQVAE2 as Network  # noqa: N811

    return Network(**config)


@hookimpl
def zoo_train(spec):
    from zoo_vqvae.train import VQVAE2Trainer

    return VQVAE2Trainer


@hookimpl
def zoo_sample(spec, model, request):
    return model.draw(request)


@hookimpl
def zoo_import_weights(spec, source):
    from zoo_vqvae import official

    return official.read(source)
