"""What the zoo sees of the PixelRNNs. Free of torch."""

from __future__ import annotations

from zoo import hookimpl
from zoo.nn.options import AUTOREGRESSIVE_OPTIONS
from zoo.spec import Figure, ModelSpec, Preset, Weights

PAPER = "van den Oord, Kalchbrenner, Kavukcuoglu: Pixel Recurrent Neural Networks, ICML 2016, arXiv 1601.06759"

TINY = {"image_shape": (1, 8, 8), "levels": 4, "n_layers": 2, "width": 6, "head_width": 8}
# Table 1 of the paper: 12 layers of h = 128 for CIFAR-10; 126 is the nearest below that three channels divide.
CIFAR10 = {"image_shape": (3, 32, 32), "levels": 256, "n_layers": 12, "width": 126, "head_width": 1024}

ROW_LSTM = ModelSpec(
    name="row_lstm",
    summary="Convolutional LSTMs row by row; each pixel sees a triangle above it",
    paper=PAPER,
    kind="autoregressive",
    task="image-generation",
    data_shape=("C", "H", "W"),
    presets={
        "tiny": Preset(model=TINY),
        "mnist": Preset(
            model={"image_shape": (1, 28, 28), "levels": 256, "n_layers": 7, "width": 32, "head_width": 64},
            settings={"data": "mnist"},
        ),
        "binarized_mnist": Preset(
            model={"image_shape": (1, 28, 28), "levels": 2, "n_layers": 7, "width": 16, "head_width": 32},
            recipe={"learning_rate": 0.003, "optimizer": "soap", "weight_decay": 0.1},  # docs/training.md
            settings={"data": "binarized_mnist", "batch_size": 16},
        ),
        "cifar10": Preset(model=CIFAR10, settings={"data": "cifar10"}),
    },
    sample_options=AUTOREGRESSIVE_OPTIONS,
    weights={
        "binarized_mnist": Weights(
            repo="pixelzoo/row-lstm-binarized-mnist",
            revision=None,
            sha256="9af8b1fd767b75667f26bac1ceb6d5df9441a05790a080bd854b61ffd04dc04b",
            size=288872,
            summary="fixed binarised MNIST, 300,000 examples on a CPU",
        )
    },
    figures=(
        Figure(preset="binarized_mnist", metric="nats", data="fixed binarised MNIST, test", paper=80.54),
        Figure(preset="cifar10", metric="bits per dimension", data="CIFAR-10, test", paper=3.07),
    ),
)

DIAGONAL_BILSTM = ModelSpec(
    name="diagonal_bilstm",
    summary="Convolutional LSTMs along the diagonals, from both sides; each pixel sees all before it",
    paper=PAPER,
    kind="autoregressive",
    task="image-generation",
    data_shape=("C", "H", "W"),
    presets={
        "tiny": Preset(model=TINY),
        "mnist": Preset(
            model={"image_shape": (1, 28, 28), "levels": 256, "n_layers": 7, "width": 32, "head_width": 64},
            settings={"data": "mnist"},
        ),
        # The paper's two models of binarized MNIST.
        "binarized_mnist": Preset(
            model={"image_shape": (1, 28, 28), "levels": 2, "n_layers": 7, "width": 16, "head_width": 32},
            recipe={"learning_rate": 0.003, "optimizer": "soap", "weight_decay": 0.1},  # docs/training.md
            settings={"data": "binarized_mnist", "batch_size": 16},
        ),
        "binarized_mnist_1_layer": Preset(
            model={
                "image_shape": (1, 28, 28),
                "levels": 2,
                "n_layers": 1,
                "width": 32,
                "head_width": 32,
            },
            settings={"data": "binarized_mnist"},
        ),
        "cifar10": Preset(model=CIFAR10, settings={"data": "cifar10"}),
    },
    sample_options=AUTOREGRESSIVE_OPTIONS,
    weights={
        "binarized_mnist": Weights(
            repo="pixelzoo/diagonal-bilstm-binarized-mnist",
            revision=None,
            sha256="3640ac875a03c5e8463e063a81381bf5cb0f4c3e79642a959ac800797df69a81",
            size=264592,
            summary="fixed binarised MNIST, 250,000 examples on a CPU",
        )
    },
    figures=(
        Figure(preset="binarized_mnist", metric="nats", data="fixed binarised MNIST, test", paper=79.2),
        Figure(preset="cifar10", metric="bits per dimension", data="CIFAR-10, test", paper=3.0),
    ),
)


@hookimpl
def zoo_models():
    return [ROW_LSTM, DIAGONAL_BILSTM]


@hookimpl
def zoo_build(spec, config):
    if spec.name == ROW_LSTM.name:
        from zoo_pixelrnn.row_lstm import RowLSTM

        return RowLSTM(**config)
    from zoo_pixelrnn.diagonal_bilstm import DiagonalBiLSTM

    return DiagonalBiLSTM(**config)


@hookimpl
def zoo_train(spec):
    from zoo.nn.likelihood import LikelihoodTrainer

    return LikelihoodTrainer


@hookimpl
def zoo_sample(spec, model, request):
    from zoo.nn.draw import draw

    return draw(model, request)
