"""What the zoo sees of NADE. Free of torch: the heavy parts are imported inside the hooks."""

from __future__ import annotations

from zoo import ModelSpec, Preset, hookimpl
from zoo.nn.options import AUTOREGRESSIVE_OPTIONS

SPEC = ModelSpec(
    name="nade",
    summary="One hidden layer, shared by all sub-pixels: each adds its column of weights for those after it",
    paper="Larochelle, Murray: The Neural Autoregressive Distribution Estimator, AISTATS 2011, JMLR W&CP 15:29-37",
    kind="autoregressive",
    task="image-generation",
    data_shape=("C", "H", "W"),
    presets={
        "tiny": Preset(model={"image_shape": (1, 6, 6), "levels": 2, "width": 16}),
        "mnist": Preset(model={"image_shape": (1, 28, 28), "levels": 2, "width": 500}, settings={"data": "mnist"}),
        "binarized_mnist": Preset(
            model={"image_shape": (1, 28, 28), "levels": 2, "width": 500}, settings={"data": "binarized_mnist"}
        ),
    },
    sample_options=AUTOREGRESSIVE_OPTIONS,
)


@hookimpl
def zoo_models():
    return [SPEC]


@hookimpl
def zoo_build(spec, config):
    from zoo_nade.model import NADE

    return NADE(**config)


@hookimpl
def zoo_train(spec):
    from zoo_nade.train import LikelihoodTrainer

    return LikelihoodTrainer


@hookimpl
def zoo_sample(spec, model, request):
    from zoo.nn.draw import draw

    return draw(model, request)
