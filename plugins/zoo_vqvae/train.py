"""The objectives of VQ-VAE-2, in stages: first the autoencoder, then the priors of its codes.

Sources: van den Oord et al. (arXiv 1711.00937, eq. 3, appendix A.1), Razavi et al. (arXiv 1906.00446, eq. 2, sections
3.1 and 3.2).

When the priors learn alone, the autoencoder stands still: each picture, and its mirror image, is encoded when
it is met first, and its codes are kept in the run folder (`store.py`). A batch that is accumulated in parts moves the
codebooks once a part.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from zoo.errors import OptionError
from zoo.nn.adversarial import Player, from_pixels
from zoo.precision import float32
from zoo.settings import Settings
from zoo.trainer import warm_cosine
from zoo_vqvae.quantise import Quantiser, perplexity
from zoo_vqvae.store import CodeStore
from zoo_vqvae.vqvae2 import VQVAE2

if TYPE_CHECKING:
    from accelerate import Accelerator


class VQVAE2Trainer:
    """The autoencoder's squared error and commitment, and the priors' likelihood of codes.

    Args:
        learning_rate: of Adam, for the autoencoder: the peak of a warm-up and a cosine decay.
        prior_learning_rate: of Adam, for the priors, as above.
        betas: of Adam, for both.
        commitment: weight of the mean of (z - e)^2, the paper's beta.
        decay: of the codebooks' moving averages, the paper's gamma, for each step.
        restart_below: codes used less than this share of the average begin anew at vectors of the batch, as all
            do in the beginning; 0 for never, as in the paper.
        stage: "all" trains the autoencoder for a share of the examples and then the priors; "autoencoder" or "priors"
            one of them alone; "joint" both in every step.
        autoencoder_share: share of the examples for the autoencoder, in stage "all".
        mirror: show the pictures flipped at random.
    """

    def __init__(
        self,
        model: VQVAE2,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = 3e-4,
        prior_learning_rate: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        commitment: float = 0.25,
        decay: float = 0.99,
        restart_below: float = 0.0,
        stage: Literal["all", "autoencoder", "priors", "joint"] = "all",
        autoencoder_share: float = 0.4,
        mirror: bool = False,
    ) -> None:
        if not 0 < learning_rate < math.inf or not 0 < prior_learning_rate < math.inf:
            raise ValueError(f"learning rates must be positive, not {learning_rate} and {prior_learning_rate}")
        if not 0 <= decay < 1 or not 0 <= restart_below < 1 or not 0 < autoencoder_share < 1 or commitment < 0:
            raise ValueError("decay and restart_below must be 0 or more and below 1, autoencoder_share between 0 and 1")
        updates = model.autoencoder.quantisers[0].updates
        if stage == "priors" and not updates.is_meta and int(updates) == 0:
            raise OptionError("stage 'priors' needs a trained autoencoder; begin with weights of one (--from)")
        self.model, self.settings, self.accelerator = model.to(accelerator.device), settings, accelerator
        self.commitment, self.mirror = commitment, mirror
        self.rate, self.prior_rate = learning_rate, prior_learning_rate
        self.stage, self.autoencoder_share = stage, autoencoder_share
        self.store: CodeStore | None = None  # from when the priors learn alone
        self.track = partial(self._track, decay=decay, restart_below=restart_below, is_main=accelerator.is_main_process)
        adam = partial(torch.optim.Adam, betas=betas)
        parts = {"autoencoder": model.autoencoder, **dict(zip(model.level_names, model.priors, strict=True))}
        self.players = {
            name: Player(
                adam(part.parameters(), lr=learning_rate if name == "autoencoder" else prior_learning_rate), accelerator
            )
            for name, part in parts.items()
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {name: player.optimizer for name, player in self.players.items()}

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        pixels = self._pixels(batch)
        stage, done, length = self._stage(seen)
        rate = warm_cosine(int(done), max(1, int(length)))
        metrics: dict[str, torch.Tensor] = {}
        with self.accelerator.autocast():
            if stage in ("autoencoder", "joint"):
                codes, metrics = self._step_autoencoder(from_pixels(pixels), rate)
                if stage == "autoencoder":  # which changes what codes mean: what priors have learned of them is void
                    for prior in self.model.priors:
                        prior.updates.zero_()
            else:
                codes = self._kept_codes(pixels)
            if stage in ("priors", "joint"):
                metrics |= self._step_priors(codes, batch, rate)
        return metrics

    def settle(self, average: VQVAE2) -> None:
        """When the priors learn alone, the average has the autoencoder whose codes they learn, not an average of it."""
        if self.store is not None:
            average.autoencoder.load_state_dict(self.model.autoencoder.state_dict())

    def _stage(self, seen: int) -> tuple[str, float, float]:
        """The stage, how many of its examples have been seen, and how many it has."""
        examples, first = self.settings.schedule, self.autoencoder_share * self.settings.schedule
        if self.stage != "all":
            return self.stage, seen, examples
        return ("autoencoder", seen, first) if seen < first else ("priors", seen - first, examples - first)

    def _pixels(self, batch: dict[str, Any]) -> torch.Tensor:
        """The pictures of a batch, (B, C, H, W), uint8, some of them flipped."""
        pixels: torch.Tensor = batch["image"]
        if self.mirror:
            flip = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < 0.5
            pixels = torch.where(flip, pixels.flip(3), pixels)
        return pixels

    def _kept_codes(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The codes of pictures, (B, h, w) of each level, which the run folder keeps."""
        if self.store is None:
            process = self.accelerator.process_index
            self.store = CodeStore(Path(self.settings.out) / "codes", self.model.autoencoder, process)
        return self.store.codes(pixels)

    def _step_autoencoder(
        self, images: torch.Tensor, rate: float
    ) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        """Eq. 2 of VQ-VAE-2, with moving averages in place of the codebook's term; the codes and what is logged.

        Perplexity is of the codes of a batch, and of those in the window of the codebooks' moving average, whose dead
        codes are counted too.
        """
        coded = self.model.autoencoder(images)
        mse = F.mse_loss(coded.images.float(), images)
        self.players["autoencoder"].rate(self.rate * rate)
        self.players["autoencoder"].update(mse + self.commitment * coded.commitment)
        metrics = {"mse": mse.detach(), "commitment": coded.commitment.detach()}
        levels = zip(self.model.level_names, self.model.autoencoder.quantisers, strict=True)
        for (name, quantiser), z, codes in zip(levels, coded.vectors, coded.codes, strict=True):
            metrics[f"{name}_restarted"] = self.track(quantiser, z, codes)
            metrics[f"{name}_perplexity"] = perplexity(codes, self.model.codes)
            metrics[f"{name}_window_perplexity"] = quantiser.perplexity()
            metrics[f"{name}_dead"] = quantiser.dead()
        return coded.codes, metrics

    def _track(self, quantiser: Quantiser, z: torch.Tensor, codes: torch.Tensor, **how: Any) -> torch.Tensor:
        """Move a codebook with the vectors of all processes; how many codes began anew."""
        if self.accelerator.num_processes > 1:
            how["total"] = partial(self.accelerator.reduce, reduction="sum")
        return quantiser.update(z, codes, **how)

    def _step_priors(self, codes: list[torch.Tensor], batch: dict[str, Any], rate: float) -> dict[str, torch.Tensor]:
        """Every prior minimises the negative log-likelihood of its codes; nats for each code are logged."""
        metrics = {}
        for prior, (name, loss) in zip(self.model.priors, self._nats(codes, batch).items(), strict=True):
            self.players[name].rate(self.prior_rate * rate)
            self.players[name].update(loss)
            prior.updates.add_(1)
            metrics[f"{name}_nats"] = loss.detach()
        return metrics

    def _nats(self, codes: list[torch.Tensor], batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Nats for each code, by the names of levels."""
        source = {**batch, **{f"upper_{i}": level for i, level in enumerate(codes)}}
        found = {}
        for name, prior, level in zip(self.model.level_names, self.model.priors, codes, strict=True):
            logits = prior(level[:, None], **prior.conditions(source, len(level)))
            found[name] = prior.nats(level[:, None], logits).mean() / level[0].numel()
        return found

    @torch.no_grad()
    def evaluate(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Of held-out pictures: squared error of -1 to 1, perplexity of each level's codes, nats for each code."""
        images = from_pixels(batch["image"])
        with float32(images.device):  # as codes are kept and weights are used
            coded = self.model.autoencoder(images)
        with self.accelerator.autocast():
            nats = self._nats(coded.codes, batch)
        levels = zip(self.model.level_names, coded.codes, strict=True)
        return {
            "mse": F.mse_loss(coded.images.float(), images),
            **{f"{name}_perplexity": perplexity(codes, self.model.codes) for name, codes in levels},
            **{f"{name}_nats": value for name, value in nats.items()},
        }
