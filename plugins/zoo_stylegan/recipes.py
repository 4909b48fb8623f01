"""The recipes of the three papers: `train.GANTrainer` with the objective, the rates and the regularisation of each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from zoo.settings import Settings
from zoo_stylegan.gan import GAN
from zoo_stylegan.train import GANTrainer, Loss

if TYPE_CHECKING:
    from accelerate import Accelerator

# Factors of the learning rate while networks grow, each from a resolution on (StyleGAN, appendix C), and what the
# authors' code limits them to with WGAN-GP.
GROWN_RATES = {128: 1.5, 256: 2.0, 512: 3.0}
WGAN_LIMIT = 2.0


class ProGANTrainer(GANTrainer):
    """WGAN-GP with drift (Progressive GAN, appendix A).

    Args:
        learning_rate: of Adam, at all resolutions.
        betas: of Adam.
        mirror: show the pictures flipped at random.
    """

    def __init__(
        self,
        model: GAN,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        mirror: bool = False,
    ) -> None:
        super().__init__(
            model, settings, accelerator, learning_rate=learning_rate, betas=betas, loss="wgan-gp", mirror=mirror
        )


class StyleGANTrainer(GANTrainer):
    """The non-saturating logistic loss with R1 at every step, or for row A WGAN-GP (StyleGAN, appendix C).

    Args:
        learning_rate: of Adam, below 128 pixels.
        betas: of Adam.
        loss: "logistic" (non-saturating, with R1) or "wgan-gp" (A).
        r1_gamma: weight of R1; None takes 10, or with WGAN-GP, whose penalty takes its place, 0.
        style_mixing_prob: how often a picture has the styles of two latents; 0.9 in F.
        mirror: show the pictures flipped at random.
    """

    def __init__(
        self,
        model: GAN,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.0, 0.99),
        loss: Loss = "logistic",
        r1_gamma: float | None = None,
        style_mixing_prob: float = 0.9,
        mirror: bool = True,
    ) -> None:
        limit = WGAN_LIMIT if loss == "wgan-gp" else math.inf
        super().__init__(
            model,
            settings,
            accelerator,
            learning_rate=learning_rate,
            grown_rates={resolution: min(factor, limit) for resolution, factor in GROWN_RATES.items()},
            betas=betas,
            loss=loss,
            r1_gamma=(0.0 if loss == "wgan-gp" else 10.0) if r1_gamma is None else r1_gamma,
            style_mixing_prob=style_mixing_prob,
            mirror=mirror,
        )


class StyleGAN2Trainer(GANTrainer):
    """Lazy R1 and path length regularisation (StyleGAN2, section 3 and appendix B); adaptive augmentation.

    Args:
        learning_rate: of Adam; None takes the paper's, 0.002, or for networks that grow (A to D) 0.001 below 128
            pixels.
        betas: of Adam.
        r1_gamma: weight of R1.
        r1_every: batches between two steps of R1, which count that often; 16 from C.
        path_length_weight: of path length regularisation; 2 from D.
        path_length_every: batches between two of its steps, which count that often.
        style_mixing_prob: how often a picture has the styles of two latents.
        augment: "ada" shows the discriminator augmented pictures, the more the more it overfits (arXiv 2006.06676).
        augment_target: the share by which more than half of the real pictures are told to be real.
        mirror: show the pictures flipped at random.
    """

    def __init__(
        self,
        model: GAN,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float | None = None,
        betas: tuple[float, float] = (0.0, 0.99),
        r1_gamma: float = 10.0,
        r1_every: int = 16,
        path_length_weight: float = 2.0,
        path_length_every: int = 4,
        style_mixing_prob: float = 0.9,
        augment: Literal["none", "ada"] = "none",
        augment_target: float = 0.6,
        mirror: bool = True,
    ) -> None:
        super().__init__(
            model,
            settings,
            accelerator,
            learning_rate=learning_rate,
            grown_rates=GROWN_RATES,
            betas=betas,
            r1_gamma=r1_gamma,
            r1_every=r1_every,
            path_length_weight=path_length_weight,
            path_length_every=path_length_every,
            style_mixing_prob=style_mixing_prob,
            augment=augment,
            augment_target=augment_target,
            mirror=mirror,
        )
