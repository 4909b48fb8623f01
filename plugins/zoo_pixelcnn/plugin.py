"""What the zoo sees of the PixelCNNs. Free of torch."""

from __future__ import annotations

import dataclasses

from zoo import hookimpl
from zoo.nn.options import AUTOREGRESSIVE_OPTIONS
from zoo.spec import Figure, ModelSpec, Option, Preset, Weights

PIXELCNN = ModelSpec(
    name="pixelcnn",
    summary="A stack of masked convolutions; every sub-pixel is a softmax over the ones before it",
    paper="van den Oord, Kalchbrenner, Kavukcuoglu: Pixel Recurrent Neural Networks, ICML 2016, arXiv 1601.06759",
    kind="autoregressive",
    task="image-generation",
    data_shape=("C", "H", "W"),
    presets={
        "tiny": Preset(model={"image_shape": (1, 8, 8), "levels": 4, "n_layers": 2, "width": 8, "head_width": 8}),
        # Table 1 of the paper gives 15 layers and h = 128 for CIFAR-10; the others are ours, sized for a CPU.
        "mnist": Preset(
            model={"image_shape": (1, 28, 28), "levels": 256, "n_layers": 15, "width": 32, "head_width": 64},
            recipe={"learning_rate": 0.003, "optimizer": "soap", "weight_decay": 0.05},  # docs/training.md
            settings={"data": "mnist", "batch_size": 16},
        ),
        "binarized_mnist": Preset(
            model={"image_shape": (1, 28, 28), "levels": 2, "n_layers": 15, "width": 32, "head_width": 32},
            recipe={"learning_rate": 0.002, "optimizer": "soap", "weight_decay": 0.1},  # docs/training.md
            settings={"data": "binarized_mnist", "batch_size": 16},
        ),
        "cifar10": Preset(
            model={"image_shape": (3, 32, 32), "levels": 256, "n_layers": 15, "width": 128, "head_width": 1024},
            settings={"data": "cifar10"},
        ),
    },
    sample_options=AUTOREGRESSIVE_OPTIONS,
    weights={
        "mnist": Weights(
            repo="pixelzoo/pixelcnn-mnist",
            revision=None,
            sha256="7a07167d8b03fc6b983c015de682e1ecd3686ae34b741d0caf841897dfad70d1",
            size=721072,
            summary="MNIST in 256 levels, 400,000 examples on a CPU",
        ),
        "binarized_mnist": Weights(
            repo="pixelzoo/pixelcnn-binarized-mnist",
            revision=None,
            sha256="1d5b24e6bcb33cb8d4d9d8665f4bf73c5aac792a83675b37883b8b414818a825",
            size=646448,
            summary="fixed binarised MNIST, 400,000 examples on a CPU",
        ),
    },
    figures=(
        Figure(preset="binarized_mnist", metric="nats", data="fixed binarised MNIST, test", paper=81.30),
        Figure(preset="cifar10", metric="bits per dimension", data="CIFAR-10, test", paper=3.14),
    ),
)

GATED_PIXELCNN = ModelSpec(
    name="gated_pixelcnn",
    summary="Two stacks of gated convolutions, one for the rows above and one for the own row, without a blind spot",
    paper="van den Oord et al.: Conditional Image Generation with PixelCNN Decoders, NeurIPS 2016, arXiv 1606.05328",
    kind="autoregressive",
    task="image-generation",
    data_shape=("C", "H", "W"),
    presets={
        "tiny": Preset(model={"image_shape": (1, 8, 8), "levels": 4, "n_layers": 3, "width": 6, "head_width": 8}),
        "mnist": Preset(
            model={
                "image_shape": (1, 28, 28),
                "levels": 256,
                "n_layers": 24,
                "width": 32,
                "head_width": 128,
                "skip_connections": True,
            },
            recipe={"learning_rate": 0.003, "optimizer": "soap", "weight_decay": 0.05},  # docs/training.md
            settings={"data": "mnist", "batch_size": 16},
        ),
        "binarized_mnist": Preset(
            model={"image_shape": (1, 28, 28), "levels": 2, "n_layers": 15, "width": 32, "head_width": 64},
            recipe={"learning_rate": 0.003, "optimizer": "soap", "weight_decay": 0.1},  # docs/training.md
            settings={"data": "binarized_mnist", "batch_size": 16},
        ),
        "cifar10": Preset(
            model={"image_shape": (3, 32, 32), "levels": 256, "n_layers": 15, "width": 126, "head_width": 510},
            settings={"data": "cifar10"},
        ),
    },
    sample_options=AUTOREGRESSIVE_OPTIONS,
    weights={
        "mnist": Weights(
            repo="pixelzoo/gated-pixelcnn-mnist",
            revision=None,
            sha256="d4e70dd14192fc51a68ddec9f3a622f28bbdb614316a452e9c259b239f07795d",
            size=1252488,
            summary="MNIST in 256 levels, 620,000 examples on a CPU",
        ),
        "binarized_mnist": Weights(
            repo="pixelzoo/gated-pixelcnn-binarized-mnist",
            revision=None,
            sha256="eb908cff33fea573466dcfdfc6ac679902788ff89c819a4ac2e042dd3a10969e",
            size=1380024,
            summary="fixed binarised MNIST, 300,000 examples on a CPU",
        ),
    },
    figures=(Figure(preset="cifar10", metric="bits per dimension", data="CIFAR-10, test", paper=3.03),),
)

CONDITIONAL_PIXELCNN = ModelSpec(
    name="conditional_pixelcnn",
    summary="Gated PixelCNN with a class, a vector, a map or a text in every gate",
    paper="van den Oord et al.: Conditional Image Generation with PixelCNN Decoders, NeurIPS 2016, arXiv 1606.05328",
    kind="autoregressive",
    task="image-generation",
    data_shape=("C", "H", "W"),
    presets={
        **{
            name: dataclasses.replace(preset, model={**preset.model, "condition_size": 10})
            for name, preset in GATED_PIXELCNN.presets.items()
            if name in ("tiny", "cifar10")
        },
        "mnist": Preset(
            model={
                "image_shape": (1, 28, 28),
                "levels": 256,
                "n_layers": 10,
                "width": 64,
                "head_width": 128,
                "condition_size": 10,
            },
            recipe={"learning_rate": 0.003, "optimizer": "soap"},
            settings={"data": "mnist", "batch_size": 16},
        ),
        "noto_emoji64": Preset(
            model={
                "image_shape": (3, 32, 32),
                "levels": 16,
                "n_layers": 4,  # what is far away the maps of the caption tell
                "width": 48,
                "head_width": 96,
                "condition": "text",
                "condition_size": 96,
                "location_maps": 40,
                "caption_words": 4096,
                "sample_texts": (
                    "red apple",
                    "cat face",
                    "sunflower",
                    "clock face three oclock",
                    "fish",
                    "yellow heart",
                ),
            },
            recipe={"learning_rate": 0.003, "optimizer": "soap", "weight_decay": 0.05, "corruption": 0.7},
            settings={"data": "noto_emoji64", "batch_size": 16, "examples": 150_000},
        ),
    },
    sample_options=(
        *AUTOREGRESSIVE_OPTIONS,
        Option(name="label", type="label", minimum=0, per_sample=True, help="class; without it each sample draws one"),
        Option(name="vector", type="tensor", per_sample=True, help="h of a model conditioned on vectors, (N, F)"),
        Option(name="map", type="tensor", per_sample=True, help="h of a model conditioned on maps, (N, F, H, W)"),
        Option(name="text", type="str", per_sample=True, help="caption of up to 100 characters, for a model of texts"),
    ),
    weights={
        "mnist": Weights(
            repo="pixelzoo/conditional-pixelcnn-mnist",
            revision=None,
            sha256="008523ce08a6c148939d1a838b033bba4bd457d61e71a3d43cdaccc7da043c7b",
            size=2085472,
            summary="MNIST in 16 levels with its classes, 110,000 examples on a CPU",
        ),
        "emoji": Weights(
            repo="pixelzoo/conditional-pixelcnn-emoji",
            revision=None,
            sha256="b346f2472a2c3ea008baa3529fa082aa9ae76780d2eb3a05890c717845ed5a8a",
            size=2581456,
            summary="Noto emoji in 32x32 and 16 levels with their captions, 150,000 examples on a CPU",
        ),
    },
)


@hookimpl
def zoo_models():
    return [PIXELCNN, GATED_PIXELCNN, CONDITIONAL_PIXELCNN]


@hookimpl
def zoo_build(spec, config):
    if spec.name == CONDITIONAL_PIXELCNN.name:
        from zoo_pixelcnn.conditional_pixelcnn import ConditionalPixelCNN

        return ConditionalPixelCNN(**config)
    if spec.name == GATED_PIXELCNN.name:
        from zoo_pixelcnn.gated_pixelcnn import GatedPixelCNN

        return GatedPixelCNN(**config)
    from zoo_pixelcnn.pixelcnn import PixelCNN

    return PixelCNN(**config)


@hookimpl
def zoo_train(spec):
    from zoo.nn.likelihood import LikelihoodTrainer

    return LikelihoodTrainer


@hookimpl
def zoo_sample(spec, model, request):
    from zoo.nn.draw import draw

    if spec.name == CONDITIONAL_PIXELCNN.name:
        from zoo_pixelcnn.conditional_pixelcnn import complete

        complete(model, request)
    return draw(model, request)
