"""Deep Video Portraits: Kim, Garrido, Tewari, Xu, Thies, Nießner, Pérez, Richardt, Zollhöfer, Theobalt: Deep Video
Portraits, SIGGRAPH 2018, arXiv 1805.11714.

Frames of a person from renderings of a face model, whose parameters can be those of somebody else. Against pix2pix: the
network sees a window of conditions, the present frame and ten before it, as one stack of channels, and each doubling of
its decoder is followed by two convolutions that refine it (section 5). What conditions are is for the data to say: in
the paper a colour rendering, the correspondence to the face model, and the gaze.

Left out: fitting the face model to a film (sections 3 and 4); `zoo_translation.head` has parameters and renderings of a
drawn head in its place. Before the first frame the window holds that frame's condition.

Ours: the condition may be a map of labels, one channel of which is made for each class.

Shapes: B batch, T frames, N frames of a window, C channels of a frame, K channels of all conditions of a frame, H, W
height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from zoo.controls import Controls
from zoo.nn.adversarial import AdversarialModel
from zoo.request import SampleRequest
from zoo.spec import Option
from zoo_translation import head
from zoo_translation.examples import moving
from zoo_translation.networks import SLOPE, Norm, PatchGAN, check_shapes, drop, encode, initialise, patch_scores
from zoo_translation.sequence import Editor, Given

DROPPING = 3  # stages of the decoder with dropout, the innermost


class Stage(nn.Module):
    """A stage of the decoder: twice the size, then two convolutions that refine."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, bias=False)
        self.refine = nn.ModuleList(nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(Norm(c_out) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F, H, W) to (B, F', 2H, 2W)."""
        for layer, norm in zip((self.enlarge, *self.refine), self.norms, strict=True):
            x = F.relu(norm(layer(x)))
        return x


class Generator(nn.Module):
    """Conditions of a window to the frame at its end."""

    def __init__(self, inputs: int, outputs: int, widths: list[int]) -> None:
        super().__init__()
        pairs = list(pairwise([inputs, *widths]))
        last = len(widths) - 1
        self.encoder = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1, bias=i in (0, last)) for i, (a, b) in enumerate(pairs))
        self.norms = nn.ModuleList(nn.Identity() if i in (0, last) else Norm(b) for i, (_, b) in enumerate(pairs))
        up = [*widths[-2::-1], widths[0]]
        self.decoder = nn.ModuleList(Stage(widths[last - i] * (2 if i else 1), b) for i, b in enumerate(up))
        self.last = nn.Conv2d(up[-1], outputs, 3, 1, 1)
        self.channels = up
        initialise(self)

    def mask_shapes(self, height: int, width: int) -> dict[str, tuple[int, int, int]]:
        """The shape of each dropout mask, by the name of its stage, for frames of this size."""
        depth = len(self.encoder)
        stages = range(min(DROPPING, depth - 1))
        return {f"decoder {i}": (self.channels[i], height >> (depth - 1 - i), width >> (depth - 1 - i)) for i in stages}

    def forward(self, x: torch.Tensor, masks: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """(B, N K, H, W) to (B, C, H, W), -1 to 1; dropout by `masks`, or at random."""
        skips: list[torch.Tensor] = []
        for i, (layer, norm) in enumerate(zip(self.encoder, self.norms, strict=True)):
            x = norm(layer(F.leaky_relu(x, SLOPE) if i else x))
            skips.append(x)
        skips.pop()
        for i, stage in enumerate(self.decoder):
            x = stage(F.relu(torch.cat([skips.pop(), x], 1) if i else x))
            if i < min(DROPPING, len(self.encoder) - 1):
                x = drop(x, masks[f"decoder {i}"] if masks is not None else None)
        return self.last(x).tanh()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class State:
    """What the next frame is drawn from, besides its own conditions.

    Attributes:
        masks: of dropout, by the name of their stage.
        window: conditions of the last N frames, (B, K, H, W) each; none before the first frame.
    """

    masks: dict[str, torch.Tensor]
    window: tuple[torch.Tensor, ...]


class DeepVideoPortraits(AdversarialModel):
    """Deep Video Portraits.

    Args:
        image_shape: (C, H, W) of a frame, H and W multiples of 2 to the power of `depth`.
        window: N, frames whose conditions a frame is drawn from.
        conditions: keys of the batch that hold conditions, each a clip of three channels.
        condition_classes: K of label maps in "condition", whose one channel holds numbers of classes; 0 for pictures.
        depth: halvings; 8 in the paper, at 256 pixels.
        width, width_max: features of the first layer, which double up to the most.
        patch: receptive field of the discriminator.
        discriminator_width: features of its first layer.
        discriminator: whether there is one; released weights come without.
    """

    sample_batch_size: ClassVar[int] = 8
    channels_last: ClassVar[bool] = False
    not_needed: ClassVar[tuple[str, ...]] = ()
    discriminator: PatchGAN | None

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] = (3, 256, 256),
        window: int = 11,
        conditions: tuple[str, ...] = ("condition", "correspondence", "gaze"),
        condition_classes: int = 0,
        depth: int = 8,
        width: int = 64,
        width_max: int = 512,
        patch: Literal[1, 16, 34, 70, 142, 286] = 70,
        discriminator_width: int = 64,
        discriminator: bool = True,
    ) -> None:
        super().__init__()
        check_shapes(
            image_shape, 1 if condition_classes else 3, condition_classes, width, width_max, discriminator_width
        )
        channels, height, wide = image_shape
        if window < 1 or depth < 2 or height % (1 << depth) or wide % (1 << depth):
            raise ValueError(f"window must be at least 1, depth at least 2, and {height}x{wide} divide by 2^depth")
        if not conditions or set(conditions) - set(head.CONDITIONS) or len(set(conditions)) < len(conditions):
            raise ValueError(f"conditions are some of {', '.join(head.CONDITIONS)}, not {conditions}")
        if condition_classes and "condition" not in conditions:
            raise ValueError(f"condition_classes needs condition among the conditions, which are {conditions}")
        self.image_shape, self.frames, self.conditions = image_shape, window, tuple(conditions)
        self.least_frames = window
        self.classes = {"condition": condition_classes}  # of label maps, by key
        seen = window * sum(self.classes.get(name) or 3 for name in conditions)
        self.generator = Generator(seen, channels, [min(width << i, width_max) for i in range(depth)])
        self.discriminator = None
        if discriminator:
            if patch_scores(min(height, wide), patch) < 1:
                raise ValueError(f"patch {patch} is too large for {height}x{wide} pixels")
            narrow: dict[str, Any] = {"width": discriminator_width, "width_max": 8 * discriminator_width}
            self.discriminator = PatchGAN(seen + channels, patch=patch, norm="batch", biases=False, **narrow)

    @property
    def batch_shapes(self) -> dict[str, tuple[int, ...]]:
        clip = (self.frames, *self.image_shape)
        return {"video": clip, **{name: (self.frames, *self.shape_of(name)) for name in self.conditions}}

    def shape_of(self, name: str) -> tuple[int, int, int]:
        """(C, H, W) of a condition's frame."""
        return (1 if self.classes.get(name) else 3, *self.image_shape[1:])

    def input_shape(self, option: Option) -> tuple[int | None, ...]:
        return (None, *self.shape_of(option.name)) if option.name in head.CONDITIONS else super().input_shape(option)

    def editor(self, *, seed: int = 0, **options: Any) -> Editor:
        """A clip that is drawn anew from the frame on whose inputs are edited."""
        return Editor(self, seed=seed, **options)

    @property
    def controls(self) -> Controls | None:
        """The parameters of a drawn head, of weights that draw from its renderings."""
        if self.input_classes:
            return None
        height, wide = self.image_shape[1:]

        def drawn(numbers: torch.Tensor) -> dict[str, torch.Tensor]:
            shown = head.render(numbers, max(height, wide))
            return {name: shown[name][..., :height, :wide] for name in self.conditions}

        return Controls(head.NAMES, head.LOW, head.HIGH, False, head.motion, drawn)

    def examples(self, n: int, seed: int = 0) -> dict[str, Any]:
        """Renderings of a drawn head that looks around, or moving shapes of label maps; at least a window of frames."""
        (height, wide), frames = self.image_shape[1:], max(8, self.frames)
        clips = []
        for i in range(n):
            shown = head.render(head.motion(frames, seed, i), max(height, wide))
            clip = {name: shown[name][..., :height, :wide] for name in self.conditions}
            if classes := self.classes["condition"]:
                clip["condition"] = moving(classes, True, frames, height, wide, seed, i)
            clips.append(clip)
        none = {name: torch.zeros(0, frames, *self.shape_of(name), dtype=torch.uint8) for name in self.conditions}
        return {name: torch.stack([clip[name] for clip in clips]) if n else none[name] for name in self.conditions}

    def encode(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The conditions of clips side by side, (B, T, K, H, W), -1 to 1, or 0 and 1 of label maps.

        Raises:
            DataError: a label map with a number that is no class.
        """
        clips = [encode(batch[name].flatten(0, 1), self.classes.get(name, 0)) for name in self.conditions]
        return torch.cat(clips, 1).view(*batch[self.conditions[0]].shape[:2], -1, *self.image_shape[1:])

    @property
    def frame_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: self.shape_of(name) for name in self.conditions}

    @property
    def input_classes(self) -> dict[str, int]:  # type: ignore[override]
        return {name: count for name, count in self.classes.items() if count}

    def begin(self, request: SampleRequest) -> State:
        """The state before the first frame of a request: masks of dropout, which are a clip's own."""
        masks = {
            name: (request.child(f"dropout {name}").uniform(*shape) >= 0.5).float()
            for name, shape in self.generator.mask_shapes(*self.image_shape[1:]).items()
        }
        return State(masks, ())

    def advance(self, state: State, given: Given) -> tuple[torch.Tensor, State]:
        """The next frame (B, C, H, W), -1 to 1, and the state after it."""
        present = self.encode({name: x.unsqueeze(1) for name, x in given.items()})[:, 0]  # B K H W
        window = (*state.window, present)[-self.frames :] if state.window else (present,) * self.frames
        return self.generator(torch.cat(window, 1), state.masks), State(state.masks, window)
