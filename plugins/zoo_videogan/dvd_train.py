"""The objective of DVD-GAN: hinge losses of two discriminators (arXiv 1907.06571v2, section 3 and appendix).

Shapes: B batch, T frames, C colour channels, H, W height and width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from zoo.errors import OptionError
from zoo.nn.adversarial import Player, discriminator_loss, from_pixels, frozen, generator_loss, measuring
from zoo.settings import Settings
from zoo_videogan.dvdgan import BATCH, DVDGAN
from zoo_videogan.spectral import SpectralNorm

if TYPE_CHECKING:
    from accelerate import Accelerator


SETTLING = 256  # clips whose statistics normalise those of averaged weights
ITERATIONS = 20  # for the singular vectors of these


class DVDGANTrainer:
    """Several steps of the discriminators for one of the generator; a batch is shared out among them.

    Args:
        learning_rate, discriminator_rate: of Adam, for the generator and for the discriminators.
        betas: of Adam.
        discriminator_steps: for each step of the generator, each with clips of its own.
        spatial_frames: k, frames of a clip that D_S sees.
        mirror: show the clips flipped at random.
    """

    def __init__(
        self,
        model: DVDGAN,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = 1e-4,
        discriminator_rate: float = 5e-4,
        betas: tuple[float, float] = (0.0, 0.999),
        discriminator_steps: int = 2,
        spatial_frames: int = 8,
        mirror: bool = False,
    ) -> None:
        if min(learning_rate, discriminator_rate) <= 0 or min(discriminator_steps, spatial_frames) < 1:
            raise ValueError("rates must be positive, discriminator_steps and spatial_frames at least 1")
        if model.discriminators is None:
            raise OptionError(f"this {model.spec.name} was built without a discriminator; set discriminator=true")
        if settings.accumulate > 1:
            raise OptionError("each step of the discriminators has clips of its own, so a batch can't be accumulated")
        share = settings.batch_size // accelerator.num_processes
        if share % discriminator_steps:
            raise OptionError(f"a batch of {share} clips can't be shared out among {discriminator_steps} steps")
        self.model, self.settings, self.accelerator = model.to(accelerator.device), settings, accelerator
        self.steps, self.frames, self.mirror = discriminator_steps, min(spatial_frames, model.frames), mirror
        made = [*model.generator.parameters(), *(model.encoder.parameters() if model.encoder is not None else ())]
        judging = list(model.discriminators.parameters())
        self.given: torch.Tensor | None = None  # frames that clips of the newest batch begin with
        self.players = {
            name: Player(torch.optim.Adam(parameters, lr=rate, betas=betas), accelerator)
            for name, parameters, rate in (
                ("generator", made, learning_rate),
                ("discriminators", judging, discriminator_rate),
            )
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {name: player.optimizer for name, player in self.players.items()}

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        real = self._real(batch["video"])
        labels = batch["label"].chunk(self.steps) if self.model.classes else [None] * self.steps
        with self.accelerator.autocast():
            for clips, label in zip(real.chunk(self.steps), labels, strict=True):
                losses = self._discriminator_step(clips, label)
            given = clips[:, : self.model.given_frames]
            self.given = given if self.model.given_frames else None
            with frozen(self.model.discriminators):
                fake = self.generate(self.model, len(clips), label, given)
                spatial, temporal = self.judge(fake, label)
                loss = generator_loss("hinge", spatial) + generator_loss("hinge", temporal)
                self.players["generator"].update(loss)
        return {"generator": loss.detach(), **losses}

    def settle(self, average: DVDGAN) -> None:
        """Singular vectors of averaged weights, and statistics of batch normalisation of what these draw.

        Clips that go on with given frames do so with those of the newest batch.
        """
        for layer in (module for module in average.modules() if isinstance(module, SpectralNorm)):
            layer.iterate(ITERATIONS)
        if average.given_frames and self.given is None:  # before the first step
            return
        n = BATCH if self.given is None else len(self.given)
        with measuring(average.generator):
            for _ in range(max(1, SETTLING // n)):
                label = (
                    torch.randint(average.classes, (n,), device=self.accelerator.device) if average.classes else None
                )
                self.generate(average, n, label, self.given)

    def _real(self, video: torch.Tensor) -> torch.Tensor:
        """(B, T, C, H, W), uint8, as -1 to 1; each clip flipped left to right half of the time."""
        clips = from_pixels(video)
        if self.mirror:
            flip = torch.rand(len(clips), 1, 1, 1, 1, device=clips.device) < 0.5
            clips = torch.where(flip, clips.flip(4), clips)
        return clips

    def generate(self, model: DVDGAN, n: int, label: torch.Tensor | None, given: torch.Tensor | None) -> torch.Tensor:
        """n clips (n, T, C, H, W) of the classes, which begin with the given frames (n, T', C, H, W)."""
        z = torch.randn(n, model.latent_size, device=self.accelerator.device)
        if model.encoder is None or given is None:
            return model.generator(model.generator.condition(z, label), model.frames)[0]  # type: ignore[no-any-return]
        states = list(model.encoder(given))
        made, _ = model.generator(model.generator.condition(z, label), model.frames - model.given_frames, states)
        return torch.cat([given, made.float()], 1)

    def judge(self, clips: torch.Tensor, label: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The scores (B,) of D_S, for k frames of each clip, and of D_T."""
        judges = self.model.discriminators
        assert judges is not None
        return judges.spatial(pick_frames(clips, self.frames), label), judges.temporal(clips, label)

    def _discriminator_step(self, real: torch.Tensor, label: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Real and generated clips in one pass: no layer of the discriminators compares within a batch."""
        with torch.no_grad():
            fake = self.generate(self.model, len(real), label, real[:, : self.model.given_frames])
        both = torch.cat([real, fake.float()])
        scores = self.judge(both, None if label is None else torch.cat([label, label]))
        losses = [discriminator_loss("hinge", *score.chunk(2)) for score in scores]
        self.players["discriminators"].update(losses[0] + losses[1])
        return {"spatial": losses[0].detach(), "temporal": losses[1].detach()}


def pick_frames(clips: torch.Tensor, k: int) -> torch.Tensor:
    """k different frames of each clip in playing order, each equally often: (B, T, C, H, W) to (B, k, C, H, W)."""
    b, t = clips.shape[:2]
    chosen = torch.rand(b, t, device=clips.device).argsort(1)[:, :k].sort(1).values  # B k
    return clips[torch.arange(b, device=clips.device).unsqueeze(1), chosen]
