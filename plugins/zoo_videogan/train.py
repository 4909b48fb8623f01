"""The objectives of VGAN, TGAN and MoCoGAN.

Sources: Vondrick et al. (arXiv 1609.02612, sections 3 and 4), Saito et al. (arXiv 1611.06624, sections 3 and 4),
Tulyakov et al. (arXiv 1707.04993, section 3 and appendix A).

What differs from the papers: a batch of clips is generated once a step and shown to the discriminators and, after they
have learned, to them again for the generator. MoCoGAN's frame discriminator sees one frame of each of these clips.

Shapes: B batch, C colour channels, T frames, H, W height and width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from zoo.errors import OptionError
from zoo.nn.adversarial import Player, discriminator_loss, from_pixels, frozen, generator_loss, measuring, share
from zoo.settings import Settings
from zoo_videogan.mocogan import MoCoGAN
from zoo_videogan.tgan import TGAN, clip_singular_values
from zoo_videogan.vgan import VGAN, compose

if TYPE_CHECKING:
    from accelerate import Accelerator


SETTLING, BATCH = 256, 16  # clips whose statistics normalise those of averaged weights, and how many at once


class ClipTrainer(ABC):
    """What the trainers share: real clips, and the two kinds of players."""

    def __init__(self, model: Any, settings: Settings, accelerator: Accelerator, learning_rate: float) -> None:
        if not 0 < learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, not {learning_rate}")
        if any(getattr(model, name) is None for name in model.training_only):
            raise OptionError(f"this {model.spec.name} was built without a discriminator; set discriminator=true")
        self.model, self.settings, self.accelerator = model.to(accelerator.device), settings, accelerator
        self.players: dict[str, Player] = {}

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {name: player.optimizer for name, player in self.players.items()}

    def real(self, batch: dict[str, Any], mirror: bool) -> torch.Tensor:
        """The clips of a batch, (B, C, T, H, W), of -1 to 1; each flipped left to right half of the time."""
        clips = from_pixels(batch["video"]).transpose(1, 2)
        if mirror:
            flip = torch.rand(len(clips), 1, 1, 1, 1, device=clips.device) < 0.5
            clips = torch.where(flip, clips.flip(4), clips)
        return clips

    def settle(self, average: Any) -> None:
        """Statistics of batch normalisation of the averaged generator."""
        with measuring(average):
            for _ in range(SETTLING // BATCH):
                self.generate(average, BATCH)

    @abstractmethod
    def generate(self, model: Any, n: int) -> Any:
        """n clips of the model's own latents, in the form in which it makes them."""

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal noise."""
        return torch.randn(shape, device=self.accelerator.device)


class VGANTrainer(ClipTrainer):
    """The original GAN's loss, and a penalty on the mask.

    Args:
        learning_rate: of Adam.
        betas: of Adam.
        mask_weight: of the mean of the mask, which is its L1 norm by the number of its pixels.
        mirror: show the clips flipped at random.
    """

    def __init__(
        self,
        model: VGAN,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        mask_weight: float = 0.1,
        mirror: bool = False,
    ) -> None:
        super().__init__(model, settings, accelerator, learning_rate)
        self.mask_weight, self.mirror = mask_weight, mirror
        assert model.discriminator is not None
        for name, network in (("generator", model.generator), ("discriminator", model.discriminator)):
            optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas)
            self.players[name] = Player(optimizer, accelerator)

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        judge = self.model.discriminator
        real = self.real(batch, self.mirror)
        with self.accelerator.autocast():
            video, mask, background = self.generate(self.model, len(real))
            fake = compose(video, mask, background)
            loss_d = discriminator_loss("logistic", judge(real).float(), judge(fake.detach()).float())
            self.players["discriminator"].update(loss_d)
            with frozen(judge):
                loss_g = generator_loss("logistic", judge(fake).float())
                self.players["generator"].update(loss_g + self.mask_weight * mask.float().mean())
        return {"generator": loss_g.detach(), "discriminator": loss_d.detach(), "mask": mask.detach().float().mean()}

    def generate(self, model: VGAN, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Foreground, mask and background of n clips, as of `vgan.Generator`."""
        parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = model.generator(self.normal(n, model.latent_size))
        return parts


class TGANTrainer(ClipTrainer):
    """The Wasserstein loss of a critic whose layers are clipped to be 1-Lipschitz (section 3.2).

    Args:
        learning_rate: of RMSProp.
        clip_every: updates between two clippings of the singular values.
        mirror: show the clips flipped at random.
    """

    def __init__(
        self,
        model: TGAN,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = 5e-5,
        clip_every: int = 5,
        mirror: bool = False,
    ) -> None:
        super().__init__(model, settings, accelerator, learning_rate)
        if clip_every < 1:
            raise ValueError(f"clip_every must be at least 1, not {clip_every}")
        if settings.batch_size // (accelerator.num_processes * settings.accumulate) < 2:
            raise OptionError(
                "tgan normalises a feature of one number a clip over a batch, which needs two clips at least"
            )
        self.clip_every, self.mirror = clip_every, mirror
        assert model.discriminator is not None
        generator = [*model.temporal.parameters(), *model.image.parameters()]
        for name, parameters in (("generator", generator), ("discriminator", list(model.discriminator.parameters()))):
            self.players[name] = Player(torch.optim.RMSprop(parameters, lr=learning_rate), accelerator)

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        critic = self.model.discriminator
        real = self.real(batch, self.mirror)
        with self.accelerator.autocast():
            fake = self.generate(self.model, len(real))
            loss_d = discriminator_loss("wasserstein", critic(real).float(), critic(fake.detach()).float())
            self.players["discriminator"].update(loss_d)
            with frozen(critic):
                self.players["generator"].update(generator_loss("wasserstein", critic(fake).float()))
        if seen // self.settings.batch_size % self.clip_every == 0 and self.accelerator.sync_gradients:
            if self.accelerator.num_processes > 1:  # gains are clipped by deviations, which must be the same everywhere
                share([norm.running_var for norm in critic.modules() if hasattr(norm, "running_var")], self.accelerator)
            clip_singular_values(critic)
        return {"distance": -loss_d.detach()}

    def generate(self, model: TGAN, n: int) -> torch.Tensor:
        """n clips (n, C, T, H, W)."""
        return model.clips(2 * torch.rand(n, model.latent_size, device=self.accelerator.device) - 1)


class MoCoGANTrainer(ClipTrainer):
    """The original GAN's loss of frames and of clips, and the categories' cross-entropy (eq. 6 and 7).

    Args:
        learning_rate: of Adam.
        betas: of Adam.
        weight_decay: of Adam.
        category_weight: of the categories' cross-entropy, the paper's lambda.
        mirror: show the clips flipped at random.
    """

    def __init__(
        self,
        model: MoCoGAN,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        weight_decay: float = 1e-5,
        category_weight: float = 1.0,
        mirror: bool = False,
    ) -> None:
        super().__init__(model, settings, accelerator, learning_rate)
        self.category_weight, self.mirror = category_weight, mirror
        assert model.frame_discriminator is not None
        assert model.clip_discriminator is not None
        players = {
            "generator": [*model.generator.parameters(), *model.recurrence.parameters()],
            "frames": list(model.frame_discriminator.parameters()),
            "clips": list(model.clip_discriminator.parameters()),
        }
        for name, parameters in players.items():
            optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=betas, weight_decay=weight_decay)
            self.players[name] = Player(optimizer, accelerator)

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        model = self.model
        real = self.real(batch, self.mirror)
        label = batch["label"] if model.labelled else None
        judges = (model.frame_discriminator, model.clip_discriminator)
        with self.accelerator.autocast():
            fake, category = self.generate(model, len(real), label)
            real_frames, fake_frames = pick_frames(real), pick_frames(fake)
            metrics = {"frames": self._judge_frames(real_frames, fake_frames.detach())}
            metrics |= self._judge_clips(real, fake.detach(), label, category)
            with frozen(*judges):
                scores, logits = judges[1](fake)
                loss = generator_loss("logistic", judges[0](fake_frames).float())
                loss = loss + generator_loss("logistic", scores.float())
                if category is not None:
                    loss = loss + self.category_weight * F.cross_entropy(logits.float(), category)
                self.players["generator"].update(loss)
        return {"generator": loss.detach(), **metrics}

    def generate(
        self, model: MoCoGAN, n: int, label: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """n clips (n, C, T, H, W), and their categories (n,), which are those of the labels where they are taught."""
        content = self.normal(n, model.content_size)
        category = label
        if category is None and model.categories:
            category = torch.randint(model.categories, (n,), device=content.device)
        motion = model.motion(self.normal(n, model.motion_size), self.normal(n, model.frames, model.motion_size))
        frames = model.generator(model.latents(content, category, motion).flatten(0, 1))
        return frames.unflatten(0, (n, model.frames)).transpose(1, 2), category

    def _judge_frames(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        judge = self.model.frame_discriminator
        loss = discriminator_loss("logistic", judge(real).float(), judge(fake).float())
        self.players["frames"].update(loss)
        return loss.detach()

    def _judge_clips(
        self, real: torch.Tensor, fake: torch.Tensor, label: torch.Tensor | None, category: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """The loss of D_V; categories are learned from the labels of real clips, or found in generated ones."""
        judge = self.model.clip_discriminator
        (real_scores, real_logits), (fake_scores, fake_logits) = judge(real), judge(fake)
        loss = discriminator_loss("logistic", real_scores.float(), fake_scores.float())
        metrics = {"clips": loss.detach()}
        if category is not None:
            logits, target = (fake_logits, category) if label is None else (real_logits, label)
            of_category = F.cross_entropy(logits.float(), target)
            loss = loss + self.category_weight * of_category
            metrics["category"] = of_category.detach()
        self.players["clips"].update(loss)
        return metrics


def pick_frames(clips: torch.Tensor) -> torch.Tensor:
    """One frame of each clip, each equally often: (B, C, T, H, W) to (B, C, H, W)."""
    chosen = torch.randint(clips.shape[2], (len(clips),), device=clips.device)
    return clips[torch.arange(len(clips), device=clips.device), :, chosen]
