"""vid2vid: Wang, Liu, Zhu, Liu, Tao, Kautz, Catanzaro: Video-to-Video Synthesis, NeurIPS 2018, arXiv 1808.06601.

A clip from a clip of label maps, frame by frame. Against pix2pix: each frame is drawn from the L frames before it, most
of it by moving the last one along a flow, the rest hallucinated; a foreground network draws what moves by itself.
Coarse generators come first, finer ones add to their features. Besides single frames, runs of frames are judged with
their flow.

Left out: VGG features in the loss, of which there are no weights here; instance maps; the mixture of several futures.
Before the first frame the past is grey and its labels are those of the first; the first frame is hallucinated alone.

Shapes: B batch, T frames, L past frames, K channels of a condition as the networks see it, C channels, H, W height and
width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from zoo.nn.adversarial import AdversarialModel
from zoo.request import SampleRequest
from zoo.spec import Option
from zoo_translation.examples import moving
from zoo_translation.networks import MultiScale, PatchGAN, check_halvings, check_shapes, encode, patch_scores
from zoo_translation.sequence import Editor, Given
from zoo_translation.vid2vid_networks import FLOW_SCALE, Drawn, Generator


@dataclass(frozen=True)
class State:
    """What the next frame is drawn from.

    Attributes:
        frames: the last L frames, (B, L, C, H, W), -1 to 1.
        labels: the last L conditions as the networks see them, (B, L, K, H, W); None before the first frame.
    """

    frames: torch.Tensor
    labels: torch.Tensor | None


class Vid2Vid(AdversarialModel):
    """vid2vid.

    Args:
        image_shape: (C, H, W) of a frame.
        frames: T of the clips that it learns from, at least 2.
        condition_channels: of a condition, 1 or 3.
        condition_classes: K of label maps, whose one channel holds numbers of classes; 0 for pictures.
        foreground: classes that the foreground network draws; none for no such network.
        past: L, frames that the next one is drawn from.
        flow: whether frames are moved; without, all is hallucinated.
        width: features of the coarse generator's first layer.
        downs, blocks: halvings and residual blocks of the coarse generator.
        scales: generators; each beyond the first doubles the size.
        fine_blocks: residual blocks of a finer generator.
        norm: "batch" or "instance".
        patch, discriminator_scales, discriminator_width: receptive field, number of scales and features of D_I and D_V.
        run: frames of a run that D_V judges, 3 in the paper.
        strides: how many of the strides 1, 3, 9 between these frames there are; 0 leaves D_V out.
        discriminator: whether there are any; released weights come without.
    """

    training_only: ClassVar[tuple[str, ...]] = ("frame_discriminator", "clip_discriminators")
    has_noise: ClassVar[bool] = False
    channels_last: ClassVar[bool] = False  # 43 clips a second without, 29 with it, at 32 pixels in bf16
    sample_batch_size: ClassVar[int] = 8
    not_needed: ClassVar[tuple[str, ...]] = ()
    frame_discriminator: MultiScale | None
    clip_discriminators: nn.ModuleList | None

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] = (3, 256, 512),
        frames: int = 8,
        condition_channels: int = 3,
        condition_classes: int = 0,
        foreground: tuple[int, ...] = (),
        past: int = 2,
        flow: bool = True,
        width: int = 128,
        downs: int = 3,
        blocks: int = 9,
        scales: int = 1,
        fine_blocks: int = 3,
        norm: Literal["batch", "instance"] = "batch",
        patch: Literal[1, 16, 34, 70, 142, 286] = 70,
        discriminator_scales: int = 2,
        discriminator_width: int = 64,
        run: int = 3,
        strides: int = 2,
        discriminator: bool = True,
    ) -> None:
        super().__init__()
        check_shapes(image_shape, condition_channels, condition_classes, width, 8 * width, discriminator_width)
        channels, height, wide = image_shape
        if min(downs, past, scales, fine_blocks, run, discriminator_scales) < 1 or min(blocks, strides) < 0:
            raise ValueError("downs, past, scales, fine_blocks, run and discriminator_scales must be at least 1")
        check_halvings(height, wide, downs + scales - 1)
        if frames < (least := max(2, (run - 1) * 3 ** (strides - 1) + 1 if strides else 2)):
            raise ValueError(f"runs of {run} frames at {strides} strides need {least} frames, not {frames}")
        if foreground and not all(0 <= number < condition_classes for number in foreground):
            raise ValueError(f"foreground takes classes 0 to {condition_classes - 1}, not {foreground}")
        self.image_shape, self.frames, self.past = image_shape, frames, past
        self.condition_channels, self.classes, self.foreground = condition_channels, condition_classes, foreground
        self.run, self.strides = run, tuple(3**i for i in range(strides))
        inputs = condition_classes or condition_channels
        shared: dict[str, Any] = {"flow": flow, "norm": norm}
        sizes = ((past + 1) * inputs, past * channels, channels)
        share = 2 if downs > 2 else 1  # of the width that the foreground network has, in the authors' code
        if width % (unit := (share if foreground else 1) << (scales - 1)):
            raise ValueError(f"width must divide by {unit}, not {width}, for {scales} scales and such a foreground")
        coarse = Generator(
            *sizes,
            width=width,
            downs=downs,
            encoder_blocks=blocks - blocks // 2,
            branch_blocks=blocks // 2,
            foreground_blocks=blocks if foreground else None,
            foreground_width=width // share,
            flow_scale=FLOW_SCALE,
            **shared,
        )
        finer = [
            Generator(
                *sizes,
                width=width >> i,
                downs=1,
                encoder_blocks=0,
                branch_blocks=fine_blocks,
                foreground_blocks=fine_blocks if foreground else None,
                foreground_width=width // share >> i,
                flow_scale=FLOW_SCALE * 2**i,
                **shared,
            )
            for i in range(1, scales)
        ]
        self.generators = nn.ModuleList([coarse, *finer])
        self.frame_discriminator = self.clip_discriminators = None
        if discriminator:
            if patch_scores(min(height, wide) >> (discriminator_scales - 1), patch) < 1:
                raise ValueError(f"patch {patch} at {discriminator_scales} scales is too large for {height}x{wide}")

            def judge(c_in: int) -> MultiScale:
                narrow: dict[str, Any] = {"width": discriminator_width, "width_max": 8 * discriminator_width}
                parts = [
                    PatchGAN(c_in, patch=patch, norm=norm, biases=True, **narrow) for _ in range(discriminator_scales)
                ]
                return MultiScale(parts)

            self.frame_discriminator = judge(inputs + channels)
            runs = run * channels + (run - 1) * 2
            self.clip_discriminators = nn.ModuleList(judge(runs) for _ in self.strides)

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a condition's frame."""
        return (self.condition_channels, *self.image_shape[1:])

    @property
    def input_classes(self) -> dict[str, int]:  # type: ignore[override]
        return {"condition": self.classes} if self.classes else {}

    @property
    def frame_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"condition": self.condition_shape}

    @property
    def batch_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"video": (self.frames, *self.image_shape), "condition": (self.frames, *self.condition_shape)}

    @property
    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"flow": (self.frames, 2, *self.image_shape[1:])}

    def input_shape(self, option: Option) -> tuple[int | None, ...]:
        return (None, *self.condition_shape) if option.name == "condition" else super().input_shape(option)

    def editor(self, *, seed: int = 0, **options: Any) -> Editor:
        """A clip that is drawn anew from the frame on whose inputs are edited."""
        return Editor(self, seed=seed, **options)

    def examples(self, n: int, seed: int = 0) -> dict[str, Any]:
        """Clips of moving shapes, of the frames that it learns from."""
        count, size = self.classes or self.condition_channels, self.image_shape[1:]
        clips = [moving(count, bool(self.classes), self.frames, *size, seed, i) for i in range(n)]
        none = torch.zeros(0, self.frames, *self.condition_shape, dtype=torch.uint8)
        return {"condition": torch.stack(clips) if n else none}

    def encode(self, condition: torch.Tensor) -> torch.Tensor:
        """Frames of conditions, uint8 (B, C, H, W), as the networks see them, (B, K, H, W)."""
        return encode(condition, self.classes)

    # Frame by frame

    def start(self, n: int, device: torch.device) -> State:
        """The state before the first frame of n clips."""
        return State(torch.zeros(n, self.past, *self.image_shape, device=device), None)

    def begin(self, request: SampleRequest) -> State:
        """The state before the first frame of a request."""
        return self.start(request.n, request.device)

    def advance(self, state: State, given: Given) -> tuple[torch.Tensor, State]:
        """The next frame (B, C, H, W), -1 to 1, and the state after it."""
        labels = self.encode(given["condition"])
        drawn = self.next(state, labels)
        return drawn.frame, self.after(state, drawn.frame, labels)

    def next(self, state: State, labels: torch.Tensor) -> Drawn:
        """The next frame from its labels (B, K, H, W)."""
        first = state.labels is None
        earlier = labels.unsqueeze(1).expand(-1, self.past, -1, -1, -1) if state.labels is None else state.labels
        seen = torch.cat([earlier.flatten(1, 2), labels], 1)
        past, mask = state.frames.flatten(1, 2), self._mask(labels)
        drawn, features = None, (None, None, None)
        for i, generator in enumerate(self.generators, 1 - len(self.generators)):
            # Everything is averaged down to the size of its scale, which is a whole fraction.
            sized = [x if x is None or not i else F.avg_pool2d(x, 2**-i) for x in (seen, past, mask)]
            drawn = generator(*sized, features, raw=first)
            features = drawn.features
        assert drawn is not None
        return drawn

    def after(self, state: State, frame: torch.Tensor, labels: torch.Tensor) -> State:
        """The state after a frame."""
        earlier = labels.unsqueeze(1).expand(-1, self.past, -1, -1, -1) if state.labels is None else state.labels
        frames = torch.cat([state.frames[:, 1:], frame.unsqueeze(1).float()], 1)
        return State(frames, torch.cat([earlier[:, 1:], labels.unsqueeze(1)], 1))

    def _mask(self, labels: torch.Tensor) -> torch.Tensor | None:
        """(B, 1, H, W), 1 where the foreground network draws."""
        return labels[:, list(self.foreground)].sum(1, keepdim=True) if self.foreground else None
