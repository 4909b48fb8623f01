"""The objective of vid2vid (arXiv 1808.06601, section 3): frames judged with labels, runs of frames with flow.

    min_F ( max_DI L_I(F, D_I) + max_DV L_V(F, D_V) ) + lambda_W L_W(F)                                   (eq. 1)

with least-squares GANs, the matching of the discriminators' features, and the flow loss L_W (eq. 7). Its reference
comes with the data, or is found in the real frames by matching blocks or by a network, or is not used.

What differs from the paper: no VGG loss; a clip is drawn from its beginning, whose past is grey; the distance of flows
is in units of 20 pixels, as D_V sees them; all scales of generators are trained at once, on the finest frame alone.
Gradients go through one frame: what a frame is drawn from counts as given, as in the authors' code.

Shapes: B batch, T frames, K channels of labels, C channels of frames, H, W height and width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from zoo.errors import OptionError
from zoo.nn.adversarial import Player, discriminator_loss, from_pixels, generator_loss
from zoo.nn.flow import match_blocks, warp
from zoo.settings import Settings
from zoo_translation.dance_train import feature_loss, sum_of
from zoo_translation.flow_network import find_flow
from zoo_translation.training import BETAS, RATE, adam, check_share, falling
from zoo_translation.vid2vid import Vid2Vid
from zoo_translation.vid2vid_networks import FLOW_SCALE

if TYPE_CHECKING:
    from accelerate import Accelerator

FIRST = 2  # frames of the shortest clips


class Vid2VidTrainer:
    """GANs of frames and of runs of frames, feature matching, and flow.

    Args:
        learning_rate: of Adam.
        betas: of Adam.
        constant: share of the run after which the learning rate falls linearly to 0; 1 leaves it as it is.
        grow: share of the run after which clips have twice as many frames, from 2 up to those of the model; 0 begins
            with all of them.
        feature_weight: of the matching of features.
        flow_weight: lambda_W, of the flow loss.
        l1_weight: of the distance from the true frames, which the paper does not have.
        reference_flow: where the data have no column "flow": "match", by matching blocks of real frames; "network", by
            a small network that was trained on synthetic motion. "none": the flow loss without a reference.
        reach: pixels that a block may move from frame to frame; twice as many between frames that are further apart.
        block: side of the blocks.
        mirror: show half of the clips flipped.
    """

    def __init__(
        self,
        model: Vid2Vid,
        settings: Settings,
        accelerator: Accelerator,
        *,
        learning_rate: float = RATE,
        betas: tuple[float, float] = BETAS,
        constant: float = 0.5,
        grow: float = 0.1,
        feature_weight: float = 10.0,
        flow_weight: float = 10.0,
        l1_weight: float = 0.0,
        reference_flow: Literal["match", "network", "none"] = "match",
        reach: int = 4,
        block: int = 3,
        mirror: bool = False,
    ) -> None:
        check_share("constant", constant)
        check_share("grow", grow)
        if model.frame_discriminator is None or model.clip_discriminators is None:
            raise OptionError(f"this {model.spec.name} was built without a discriminator; set discriminator=true")
        self.model, self.settings, self.accelerator = model.to(accelerator.device), settings, accelerator
        self.rate, self.constant, self.grow, self.mirror = learning_rate, constant, grow, mirror
        self.feature_weight, self.flow_weight, self.l1_weight = feature_weight, flow_weight, l1_weight
        if reach < 1 or block < 1 or block % 2 == 0:
            raise ValueError(f"reach must be at least 1, and block an odd number, not {reach} and {block}")
        self.reference_flow, self.reach, self.block = reference_flow, reach, block
        networks = {"generator": model.generators, "frames": model.frame_discriminator}
        networks |= {"clips": model.clip_discriminators} if len(model.clip_discriminators) else {}
        self.players = {
            name: Player(adam(network.parameters(), learning_rate, betas), accelerator)
            for name, network in networks.items()
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    def optimizers(self) -> dict[str, Any]:
        return {name: player.optimizer for name, player in self.players.items()}

    def length(self, seen: int) -> int:
        """Frames of the clips that are drawn after `seen` examples: 2, 4, 8, ... up to the model's."""
        if not self.grow:
            return self.model.frames
        return min(self.model.frames, FIRST << int(seen / (self.grow * self.settings.schedule)))

    def step(self, batch: dict[str, Any], seen: int) -> dict[str, torch.Tensor]:
        for player in self.players.values():
            player.rate(self.rate * falling(seen, self.settings.schedule, self.constant))
        real, labels, given = self._clips(batch, self.length(seen))
        reference = self._reference(real, given)
        with self.accelerator.autocast():
            fake, flow_loss = self._draw(real, labels, reference)
            seen_real, seen_fake = (torch.cat([labels, clip], 2).flatten(0, 1) for clip in (real, fake))
            loss, judged, metrics = self._adversarial(self.model.frame_discriminator, seen_real, seen_fake)
            clips_loss, clips_judged = self._of_clips(real, fake, reference)
            l1 = (fake.float() - real).abs().mean()
            total = loss + clips_loss + self.flow_weight * flow_loss + self.l1_weight * l1
            self.players["generator"].update_alone(total)
            self.players["frames"].update_alone(judged)
            if isinstance(clips_judged, torch.Tensor):
                self.players["clips"].update_alone(clips_judged)
                metrics["clips"] = clips_judged
        metrics |= {"l1": l1, "flow": flow_loss, "frames": judged}
        return {name: value.detach() for name, value in metrics.items()}

    def _clips(self, batch: dict[str, Any], length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The first frames of clips: the real ones (B, T, C, H, W), -1 to 1; their labels (B, T, K, H, W); and, of data
        that have them, the flows from each to the one before (B, T - 1, 2, H, W), which know no other frame stride."""
        real, condition = from_pixels(batch["video"][:, :length]), batch["condition"][:, :length]
        flow = batch["flow"][:, 1:length] if "flow" in batch and self.settings.frame_stride == 1 else None
        if self.mirror:
            flip = (torch.rand(len(real)) < 0.5).to(real.device).view(-1, 1, 1, 1, 1)
            real, condition = (torch.where(flip, x.flip(4), x) for x in (real, condition))
            if flow is not None:
                other_way = torch.tensor([-1.0, 1.0], device=flow.device).view(2, 1, 1)
                flow = torch.where(flip, flow.flip(4) * other_way, flow)
        labels = self.model.encode(condition.flatten(0, 1)).unflatten(0, condition.shape[:2])
        return real, labels, flow

    def _draw(
        self, real: torch.Tensor, labels: torch.Tensor, reference: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips (B, T, C, H, W) and L_W: the flow moves the last real frame to the real one, and is the reference's."""
        state, frames, losses = self.model.start(len(real), real.device), [], []
        for t in range(real.shape[1]):
            drawn = self.model.next(state, labels[:, t])
            frames.append(drawn.frame)
            state = self.model.after(state, drawn.frame.detach(), labels[:, t])
            if drawn.flow is not None and t:
                losses.append((warp(real[:, t - 1], drawn.flow) - real[:, t]).abs().mean())
                if reference is not None:
                    losses.append((drawn.flow - reference[:, t - 1]).abs().mean() / FLOW_SCALE)
        flow_loss = torch.stack(losses).sum() / (real.shape[1] - 1) if losses else real.new_zeros(())
        return torch.stack(frames, 1), flow_loss

    def _reference(self, real: torch.Tensor, given: torch.Tensor | None) -> torch.Tensor | None:
        """Flows from each frame of real clips to the one before, (B, T - 1, 2, H, W)."""
        if real.shape[1] < 2:
            return None
        return self._found(real, 1) if given is None or self.reference_flow == "none" else given

    def _found(self, real: torch.Tensor, stride: int) -> torch.Tensor | None:
        """Flows from frames of real clips to those `stride` before, (B, T - stride, 2, H, W)."""
        pair = real[:, :-stride].flatten(0, 1), real[:, stride:].flatten(0, 1)
        if self.reference_flow == "none":
            return None
        if self.reference_flow == "network":
            flows = find_flow(*pair)
        else:
            flows = match_blocks(*pair, reach=self.reach * min(stride, 2), block=self.block)
        return flows.unflatten(0, (len(real), -1))

    def _of_clips(
        self, real: torch.Tensor, fake: torch.Tensor, reference: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the generator and D_V minimise: runs of frames 1, 3, ... apart, each with the flow of the real one."""
        judges = self.model.clip_discriminators
        assert judges is not None
        losses, judged = [real.new_zeros(())], []
        for stride, judge in zip(self.model.strides, judges, strict=True):
            if real.shape[1] > (self.model.run - 1) * stride:
                flow = self._run_flow(real, stride, reference)
                pair = (runs(clip, flow, self.model.run, stride) for clip in (real, fake))
                loss, one, _ = self._adversarial(judge, *pair)
                losses.append(loss)
                judged.append(one)
        return sum_of(losses), sum_of(judged) if judged else None

    def _run_flow(self, real: torch.Tensor, stride: int, reference: torch.Tensor | None) -> torch.Tensor:
        """Flows over `stride` frames, (B, T - stride, 2, H, W), by the flow scale; zeros without reference."""
        count = real.shape[1] - stride
        if stride > 1:
            reference = self._found(real, stride)
        return real.new_zeros(len(real), count, 2, *real.shape[3:]) if reference is None else reference / FLOW_SCALE

    def _adversarial(
        self, judge: Any, real: torch.Tensor, fake: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """What the generator minimises and what the discriminator does, from one pass."""
        true, false = judge.features(real), judge.features(fake)
        gan = sum_of(generator_loss("least-squares", scale[-1].float()) for scale in false)
        judged = [
            discriminator_loss("least-squares", a[-1].float(), b[-1].float()) for a, b in zip(true, false, strict=True)
        ]
        features = feature_loss(true, false)
        return gan + self.feature_weight * features, sum_of(judged) / 2, {"generator": gan, "features": features}

    @torch.no_grad()
    def evaluate(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """L1 of held-out clips that are drawn from their beginning, on the scale of -1 to 1, and how much they flicker.

        "flicker" is the mean change of what differs from the true frames from one frame to the next.
        """
        mirror, self.mirror = self.mirror, False
        real, labels, _ = self._clips(batch, self.model.frames)
        self.mirror = mirror
        error = self._draw(real, labels, None)[0].float() - real
        return {"l1": error.abs().mean(), "flicker": error.diff(dim=1).abs().mean()}


def runs(clip: torch.Tensor, flow: torch.Tensor, count: int, stride: int) -> torch.Tensor:
    """Runs of `count` frames with the flows between them.

    Args:
        clip: (B, T, C, H, W).
        flow: over `stride` frames, (B, T - stride, 2, H, W).

    Returns:
        (B R, count C + (count - 1) 2, H, W), R = T - (count - 1) stride.
    """
    number = clip.shape[1] - (count - 1) * stride
    frames = [clip[:, i * stride : i * stride + number] for i in range(count)]
    flows = [flow[:, i * stride : i * stride + number].to(clip.dtype) for i in range(count - 1)]
    return torch.cat([*frames, *flows], 2).flatten(0, 1)
