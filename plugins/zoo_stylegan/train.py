"""The objectives of the GANs: two players, what keeps them in check, and how often.

Sources: WGAN-GP with drift (Progressive GAN, arXiv 1710.10196, appendix A); the non-saturating logistic loss with R1
(StyleGAN, arXiv 1812.04948, appendix C; Mescheder et al., arXiv 1801.04406); lazy and path length regularisation
(StyleGAN2, arXiv 1912.04958, section 3); adaptive augmentation (StyleGAN2-ADA, arXiv 2006.06676, section 3).

While networks grow, slopes with respect to pictures are taken as if these were enlarged to full size: each of their
pixels stands for 4^floor(lod), by which |grad_x D(x)|^2 is divided. So the weight of a penalty fits every resolution,
and the penalty does not jump where a resolution comes in. The authors' code has enlarged pictures.

What differs from the papers: one batch size for all resolutions. From the authors' code: no gradient flows through the
mean of path lengths (a hundredth of it does there), and Adam of a generator without path length regularisation is not
slowed (by 4/5 there).

Shapes: B batch, C colour channels, H, W height and width, S style slots, D size of w.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from zoo.errors import OptionError
from zoo.nn.adversarial import (
    discriminator_loss,
    from_pixels,
    generator_loss,
    gradients,
    noise_like,
    r1_penalty,
    share,
)
from zoo.settings import Settings
from zoo_stylegan.augment import SMALLEST, Augment, AugmentController
from zoo_stylegan.gan import GAN
from zoo_stylegan.layers import doubled, halved
from zoo_stylegan.styles import StyleBased

if TYPE_CHECKING:
    from accelerate import Accelerator

Loss = Literal["logistic", "wgan-gp"]
GP_WEIGHT, DRIFT_WEIGHT = 10.0, 0.001
PATH_DECAY = 0.01


class State(nn.Module):
    """What training remembers from step to step besides weights; buffers, so that checkpoints hold it."""

    def __init__(self, augment: AugmentController | None) -> None:
        super().__init__()
        self.controller = augment
        for name in ("path_mean", "path_length", "r1"):
            self.register_buffer(name, torch.zeros(()))


class GANTrainer:
    """Alternates steps of the generator and of the discriminator; `zoo_stylegan.recipes` has those of the papers."""

    def __init__(
        self,
        model: GAN,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float | None,
        grown_rates: Mapping[int, float] = MappingProxyType({}),
        betas: tuple[float, float] = (0.0, 0.99),
        loss: Loss = "logistic",
        r1_gamma: float = 0.0,
        r1_every: int = 1,
        path_length_weight: float = 0.0,
        path_length_every: int = 1,
        style_mixing_prob: float = 0.0,
        augment: Literal["none", "ada"] = "none",
        augment_target: float = 0.6,
        mirror: bool = False,
    ) -> None:
        if learning_rate is not None and not 0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, not {learning_rate}")
        if min(r1_every, path_length_every) < 1:
            raise ValueError("r1_every and path_length_every must be at least 1")
        if min(r1_gamma, path_length_weight) < 0:
            raise ValueError("r1_gamma and path_length_weight must not be negative")
        if not 0 <= style_mixing_prob <= 1:
            raise ValueError(f"style_mixing_prob must be from 0 to 1, not {style_mixing_prob}")
        first = 2 ** (model.growth.start if model.growth else model.level)  # pixels that training begins with
        if augment == "ada" and first < SMALLEST:
            raise ValueError(
                f"augment=ada takes pictures of at least {SMALLEST} pixels, and training begins with {first}"
            )
        _check_batch(model, settings, accelerator)
        if settings.init is not None and first < 2**model.level:
            warnings.warn(
                f"these weights begin to grow at {first} pixels again; --set start_resolution={2**model.level} goes on "
                "at full size",
                stacklevel=2,
            )
        self.model, self.settings, self.accelerator = model.to(accelerator.device), settings, accelerator
        self.wgan = loss == "wgan-gp"
        self.r1_gamma, self.r1_every = r1_gamma, r1_every
        self.path_weight, self.path_every = path_length_weight, path_length_every
        self.mixing, self.mirror = style_mixing_prob, mirror
        self.state = State(AugmentController(Augment(), target=augment_target) if augment == "ada" else None)
        self.state.to(accelerator.device)
        self.grown_rates = grown_rates  # factors of the learning rate, each from a resolution on
        self.base_rate, self.betas = learning_rate or (2e-3 if model.growth is None else 1e-3), betas
        self.generator_optimizer = self._optimizer(model.generator, self.path_every if self.path_weight else 1)
        self.discriminator_optimizer = self._optimizer(model.discriminator, self.r1_every)

    def _optimizer(self, module: nn.Module, every: int) -> Any:
        """Adam; where regularisation is lazy, slowed down for its additional steps (StyleGAN2, appendix B)."""
        c = every / (every + 1) if every > 1 else 1.0
        first, second = (beta**c for beta in self.betas)
        optimizer = torch.optim.Adam(module.parameters(), lr=self.base_rate * c, betas=(first, second), eps=1e-8)
        optimizer.param_groups[0]["slow"] = c
        return self.accelerator.prepare(optimizer)

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "state": self.state}

    def optimizers(self) -> dict[str, Any]:
        return {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        lod = self._grow(seen)
        real = self._at_resolution(from_pixels(batch["image"]), lod)
        label = batch["label"] if self.model.classes else None
        number = seen // self.settings.batch_size
        with self.accelerator.autocast():
            metrics = {"generator": self._generator_step(len(real), label, lod)}
            if self.path_weight and number % self.path_every == 0:
                self._path_length_step(max(len(real) // 2, 1), label, lod)
            metrics |= self._discriminator_step(real, label, lod)
            if self.r1_gamma and self.r1_every > 1 and number % self.r1_every == 0:
                self._r1_step(real, label, lod)
        metrics |= {"r1": self.state.r1} if self.r1_gamma else {}
        metrics |= {"path_length": self.state.path_length} if self.path_weight else {}
        return metrics

    # Growing and pictures

    def _grow(self, seen: int) -> float:
        """Set what `seen` decides: level of detail, learning rate, and a fresh optimizer where layers come in."""
        if self.model.growth is None:
            return 0.0
        lod = self.model.growth.lod(seen)
        before = self.model.growth.lod(max(seen - self.settings.batch_size, 0))
        self.model.lod.fill_(lod)
        resolution = self.model.image_shape[1] >> math.floor(lod)
        factor = max((f for r, f in self.grown_rates.items() if r <= resolution), default=1.0)
        for optimizer in self.optimizers().values():
            if math.floor(lod) != math.floor(before) or math.ceil(lod) != math.ceil(before):
                optimizer.optimizer.state.clear()
            for group in optimizer.param_groups:
                group["lr"] = self.base_rate * factor * group["slow"]
        return lod

    def _at_resolution(self, real: torch.Tensor, lod: float) -> torch.Tensor:
        """Real pictures mirrored at random, at the present resolution, faded like the generated ones."""
        if self.mirror:
            flip = torch.rand(len(real), 1, 1, 1, device=real.device) < 0.5
            real = torch.where(flip, real.flip(3), real)
        real = halved(real, math.floor(lod))
        alpha = lod - math.floor(lod)
        return real.lerp(doubled(halved(real)), alpha) if alpha else real

    def _fake(self, n: int, label: torch.Tensor | None, lod: float) -> torch.Tensor:
        z = torch.randn(n, self.model.latent_size, device=self.accelerator.device)
        if not isinstance(self.model, StyleBased):
            return self.model.draw(z, label, lod)
        w = self.model.mixed_styles(z, label, self.mixing, lod)
        return self.model.generator.synthesis(w, self.model.fresh_noise(n), lod)

    def _judge(self, images: torch.Tensor, label: torch.Tensor | None, lod: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (B,), and the loss of the auxiliary classifier (AC-GAN), 0 without one."""
        if self.state.controller is not None:
            images = self.state.controller.augment(images)
        scores, logits = self.model.judge(images, label, lod)
        return scores.float(), scores.new_zeros(()) if logits is None else F.cross_entropy(logits.float(), label)

    # The steps

    def _generator_step(self, n: int, label: torch.Tensor | None, lod: float) -> torch.Tensor:
        self._only(self.model.generator)
        scores, class_loss = self._judge(self._fake(n, label, lod), label, lod)
        loss = generator_loss("wasserstein" if self.wgan else "logistic", scores) + class_loss
        self._update(self.generator_optimizer, loss)
        return loss.detach()

    def _discriminator_step(
        self, real: torch.Tensor, label: torch.Tensor | None, lod: float
    ) -> dict[str, torch.Tensor]:
        self._only(self.model.discriminator)
        with torch.no_grad():
            fake = self._fake(len(real), label, lod)
        every_step = self.r1_gamma > 0 and self.r1_every == 1
        real = real.requires_grad_(every_step)
        fake_scores, fake_class_loss = self._judge(fake, label, lod)
        real_scores, real_class_loss = self._judge(real, label, lod)
        if self.wgan:
            loss = (fake_scores - real_scores + DRIFT_WEIGHT * real_scores.square()).mean()
            loss = loss + GP_WEIGHT * self._gradient_penalty(real, fake, label, lod)
        else:
            loss = discriminator_loss("logistic", real_scores, fake_scores)
        total = loss + fake_class_loss + real_class_loss
        if every_step:
            total = total + self.r1_gamma / 2 * self._r1(real, real_scores, lod)
        self._update(self.discriminator_optimizer, total)
        metrics = {"discriminator": loss.detach(), "real_score": real_scores.detach().mean()}
        if self.state.controller is not None:
            metrics |= self.state.controller.update(self.accelerator.gather(real_scores.detach()))
        return metrics

    def _r1_step(self, real: torch.Tensor, label: torch.Tensor | None, lod: float) -> None:
        """Lazy R1: a step of its own, that counts for `r1_every`."""
        real = real.detach().requires_grad_(True)
        scores, _ = self._judge(real, label, lod)
        self._update(self.discriminator_optimizer, self.r1_gamma / 2 * self._r1(real, scores, lod) * self.r1_every)

    def _r1(self, real: torch.Tensor, scores: torch.Tensor, lod: float) -> torch.Tensor:
        """E |grad_x D(x)|^2 over real pictures, as of pictures at full size."""
        penalty = r1_penalty(real, scores) / 4 ** math.floor(lod)
        self.state.r1.copy_(self.accelerator.reduce(penalty.detach(), "mean"))
        return penalty

    def _gradient_penalty(
        self, real: torch.Tensor, fake: torch.Tensor, label: torch.Tensor | None, lod: float
    ) -> torch.Tensor:
        """E (|grad_x D(x)| - 1)^2 between real and generated pictures, as of pictures at full size (Gulrajani et al.,
        arXiv 1704.00028)."""
        between = torch.lerp(real, fake.float(), torch.rand(len(real), 1, 1, 1, device=real.device)).requires_grad_(
            True
        )
        scores, _ = self._judge(between, label, lod)
        (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        norm = slope.square().sum((1, 2, 3)).sqrt() / 2 ** math.floor(lod)
        return (norm - 1).square().mean()

    def _path_length_step(self, n: int, label: torch.Tensor | None, lod: float) -> None:
        """Lazy path length regularisation, eq. 4 of StyleGAN2, on `n` new pictures."""
        assert isinstance(self.model, StyleBased)
        self._only(self.model.generator)
        z = torch.randn(n, self.model.latent_size, device=self.accelerator.device)
        w = self.model.mixed_styles(z, None if label is None else label[:n], self.mixing, lod)
        w = w if w.requires_grad else w.requires_grad_()  # without a mapping network w is z
        images = self.model.generator.synthesis(w, self.model.fresh_noise(n), lod)
        noise = noise_like(images) / math.sqrt(images.shape[2] * images.shape[3])
        (slope,) = torch.autograd.grad((images * noise).sum(), w, create_graph=True)  # B S D
        lengths = slope.square().sum(2).mean(1).sqrt()
        self.state.path_length.copy_(self.accelerator.reduce(lengths.detach().mean(), "mean"))
        self.state.path_mean.lerp_(self.state.path_length, PATH_DECAY)
        penalty = (lengths - self.state.path_mean).square().mean()
        # Zero times the pictures lets every parameter have a gradient, the last bias too.
        loss = self.path_weight * self.path_every * penalty + 0 * images[0, 0, 0, 0]
        self._update(self.generator_optimizer, loss)

    def _only(self, module: nn.Module | None) -> None:
        """Gradients for one of the two players."""
        for player in (self.model.generator, self.model.discriminator):
            player.requires_grad_(player is module)  # type: ignore[union-attr]

    def _update(self, optimizer: Any, loss: torch.Tensor) -> None:
        self.accelerator.backward(loss)
        if self.accelerator.num_processes > 1:
            means = [self.model.generator.mapping.mean_w] if isinstance(self.model, StyleBased) else []
            share([*gradients(optimizer), *means], self.accelerator)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.clear_autocast_cache()  # a block of autocast keeps casts of the weights as they were before this step


def _check_batch(model: GAN, settings: Settings, accelerator: Accelerator) -> None:
    """Raise OptionError unless each process gets batches that the discriminator can compare within."""
    share = settings.batch_size // accelerator.num_processes
    group = min(model.config["group"], share)
    if settings.accumulate > 1:
        raise OptionError("a GAN compares pictures within a batch, so a batch can't be split by --accumulate")
    if share % group:
        raise OptionError(
            f"each process gets {share} of the {settings.batch_size} pictures of a batch, which is no multiple of "
            f"{group}, the group of the minibatch standard deviation; change --batch-size or --set group"
        )
    if model.discriminator is None:
        raise OptionError(f"this {model.spec.name} was built without a discriminator; set discriminator=true")
