"""Sampling options that several models share. Free of torch, so that a `plugin.py` may import it."""

from zoo.spec import Option

LATENT = Option(name="z", type="tensor", per_sample=True, help="latents in place of noise, as by model.draw_z")
AUTOREGRESSIVE_OPTIONS = (
    Option(
        name="temperature",
        type="float",
        default=1.0,
        minimum=0.0,
        maximum=10.0,
        help="divides the logits; below 1 plainer pictures, 0 always takes the likeliest level",
    ),
    Option(
        name="method",
        type="str",
        default="cached",
        choices=("cached", "naive"),
        help="cached computes what each pixel adds; naive runs the whole network for every sub-pixel",
    ),
    Option(
        name="given",
        type="image",
        per_sample=True,
        rows="given_rows",
        help="pictures to complete, values 0 to levels - 1",
    ),
    Option(name="given_rows", type="int", default=0, minimum=0, help="how many top rows of `given` to keep"),
)
