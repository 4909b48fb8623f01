"""Everybody Dance Now (Chan, Ginosar, Zhou, Efros, ICCV 2019, arXiv 1808.07371): clips of a person from stick figures.

Against pix2pixHD (Wang et al., arXiv 1711.11585), whose generator it has, each frame is drawn from its stick figure and
from the frame drawn before it, nothing before the first (section 4.2, temporal smoothing). The discriminator judges two
frames in succession together with their figures. A second generator adds a residual to a crop around the head, the
detail that is too small for the first (section 4.3, the face GAN).

The crop lies around the head joint where keypoints are given, and in the upper middle of the picture otherwise.

What differs: the detail network learns beside the first network, not after it. Ours are two ways to say whom to draw,
where the data show several people and not one: a number (`people`), which chooses among scales and shifts of the
normalisations, and a picture of the person (`reference`).
A clip can go on from any frame: option `previous` is the one before its first. It goes on from that frame in bytes, not
from the numbers that were rounded to them, so levels may differ; `sequence.Editor` keeps the numbers.

Left out: pix2pixHD's local enhancer for 1024 pixels. Pose estimation is outside; `pose.py` makes figures of keypoints.

Shapes: B batch, T frames, C channels of a frame, K channels of a condition as the networks see it, H, W height and
width, J joints, S side of the crop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from zoo.controls import Controls
from zoo.errors import DataError, OptionError
from zoo.nn.adversarial import AdversarialModel
from zoo.request import SampleRequest
from zoo.spec import Option
from zoo_translation.dance_request import check_heads, person_of, picture_of
from zoo_translation.examples import dancer, moving
from zoo_translation.networks import (
    MultiScale,
    PatchGAN,
    ResNetGenerator,
    check_halvings,
    check_shapes,
    encode,
    patch_scores,
)
from zoo_translation.pose import FIGURE, draw
from zoo_translation.sequence import Editor, Given


@dataclass(frozen=True)
class State:
    """What the next frame is drawn from, besides its figure.

    Attributes:
        previous: the frame before, (B, C, H, W), -1 to 1; zeros before the first.
        label: (B,), of models with `people`.
        reference: (B, C, H, W), -1 to 1, of models with `reference`.
    """

    previous: torch.Tensor
    label: torch.Tensor | None
    reference: torch.Tensor | None


class EverybodyDanceNow(AdversarialModel):
    """A generator of frames from figures and past frames, one of details, and their discriminators.

    Args:
        image_shape: (C, H, W) of a frame; the figures have the same height and width.
        condition_channels: of a figure; 1 for label maps.
        condition_classes: how many classes a label map has, which the networks see one by one; 0 for pictures.
        window: frames of a training clip; 2 in the paper.
        people: how many people there are to draw, told by the label; 0 for one without labels.
        reference: draw whoever is in a given picture; in training the first frame of a window is given and not drawn.
        width: channels of the generator's first layer, which double with every halving.
        width_max: the most channels of any of its layers.
        downs: halvings.
        blocks: residual blocks.
        norm: "instance" or "batch".
        biases: give convolutions biases that a normalisation follows; it cancels them.
        scales: discriminators, each of which sees half the size of the one before.
        patch: receptive field of their scores: 1, 16, 34, 70, 142 or 286.
        discriminator_width: channels of their first layer; the most is 8 times as many.
        detail: side of the crop that the detail network improves, in pixels; 0 for none.
        detail_blocks: residual blocks of the detail network.
        joints: keypoints that come with each frame in training; 0 for none.
        head: which of them is the head.
        discriminator: whether there are discriminators; released weights come without.
    """

    training_only = ("discriminator", "detail_discriminator")
    has_noise = False
    channels_last = False  # no faster with it
    sample_batch_size = 8
    not_needed = ("joints",)  # without them the detail network looks at the upper middle

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] = (3, 256, 512),
        condition_channels: int = 3,
        condition_classes: int = 0,
        window: int = 2,
        people: int = 0,
        reference: bool = False,
        width: int = 64,
        width_max: int = 1024,
        downs: int = 4,
        blocks: int = 9,
        norm: Literal["batch", "instance"] = "instance",
        biases: bool = False,
        scales: int = 2,
        patch: Literal[1, 16, 34, 70, 142, 286] = 70,
        discriminator_width: int = 64,
        detail: int = 0,
        detail_blocks: int = 5,
        joints: int = 0,
        head: int = 0,
        discriminator: bool = True,
    ) -> None:
        super().__init__()
        check_shapes(image_shape, condition_channels, condition_classes, width, width_max, discriminator_width)
        channels, height, wide = image_shape
        if window < 2 + reference:
            raise ValueError(f"window must be at least {2 + reference}, two frames to judge, not {window}")
        if min(downs, blocks, scales, detail_blocks) < 1:
            raise ValueError("downs, blocks, scales and detail_blocks must be at least 1")
        check_halvings(height, wide, downs)
        if detail and not (detail % 4 == 0 and 8 <= detail <= min(height, wide)):
            raise ValueError(f"detail must be a multiple of 4 from 8 to the size of a frame, not {detail}")
        if min(people, joints) < 0:
            raise ValueError(f"people and joints must not be negative, but are {people} and {joints}")
        if joints and not 0 <= head < joints:
            raise ValueError(f"head must be one of the {joints} joints, not {head}")
        self.image_shape, self.condition_channels, self.classes = image_shape, condition_channels, condition_classes
        self.window, self.people, self.reference = window, people, reference
        self.detail_size, self.joints, self.head = detail, joints, head
        self.shown = ("reference",) if reference else ()
        inputs = (condition_classes or condition_channels) + channels * reference
        self.figure_channels = inputs
        sizes: dict[str, Any] = {"width": width, "width_max": width_max, "norm": norm, "biases": biases}
        self.generator = ResNetGenerator(
            inputs + channels, channels, downs=downs, blocks=blocks, people=people, **sizes
        )
        self.detail: ResNetGenerator | None = None
        if detail:
            self.detail = ResNetGenerator(
                inputs + channels, channels, downs=2, blocks=detail_blocks, people=people, **sizes
            )
        self.discriminator: MultiScale | None = None
        self.detail_discriminator: PatchGAN | None = None
        if discriminator:
            if patch_scores(min(height, wide) >> (scales - 1), patch) < 1:
                raise ValueError(f"patch {patch} at {scales} scales is too large for {height}x{wide} pixels")
            narrow: dict[str, Any] = {"width": discriminator_width, "width_max": 8 * discriminator_width}
            narrow |= {"norm": norm, "biases": biases}
            parts = [PatchGAN(2 * (inputs + people + channels), patch=patch, **narrow) for _ in range(scales)]
            self.discriminator = MultiScale(parts)
            if detail:
                field = max(field for field in (16, 34, 70) if field == 16 or patch_scores(detail, field) > 1)
                self.detail_discriminator = PatchGAN(inputs + people + channels, patch=field, **narrow)

    @property
    def label_classes(self) -> int | None:
        return self.people or None

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a figure."""
        return (self.condition_channels, *self.image_shape[1:])

    @property
    def frame_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"condition": self.condition_shape}
        return {**shapes, "joints": (self.joints, 2)} if self.joints and self.detail_size else shapes

    @property
    def input_classes(self) -> dict[str, int]:  # type: ignore[override]
        return {"condition": self.classes} if self.classes else {}

    @property
    def batch_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {
            "video": (self.window, *self.image_shape),
            "condition": (self.window, *self.condition_shape),
        }
        if self.people:
            shapes["label"] = ()
        if self.joints:
            shapes["joints"] = (self.window, self.joints, 2)
        return shapes

    def input_shape(self, option: Option) -> tuple[int | None, ...]:
        return (None, *self.condition_shape) if option.name == "condition" else super().input_shape(option)

    def editor(self, *, seed: int = 0, **options: Any) -> Editor:
        """A clip that is drawn anew from the frame on whose inputs are edited."""
        return Editor(self, seed=seed, **options)

    @property
    def controls(self) -> Controls | None:
        """The joints of a stick figure, of weights that draw from such."""
        count = len(FIGURE.joints)
        if self.condition_channels != 3 or self.joints not in (0, count):
            return None
        size = self.image_shape[1:]

        def drawn(numbers: torch.Tensor) -> dict[str, torch.Tensor]:
            joints = numbers.view(-1, count, 2)
            return {"condition": draw(joints, size), **({"joints": joints} if "joints" in self.frame_shapes else {})}

        def begin(frames: int, seed: int) -> torch.Tensor:
            return dancer(frames, *size, seed, 0).flatten(1)

        return Controls(FIGURE.joints, (0.0,) * 2 * count, (size[1], size[0]) * count, True, begin, drawn)

    def examples(self, n: int, seed: int = 0) -> dict[str, Any]:
        """Clips of eight frames: a stick figure that swings its limbs, or shapes that move."""
        count, size = self.classes or self.condition_channels, self.image_shape[1:]
        options: dict[str, Any] = {"condition": torch.zeros(n, 8, *self.condition_shape, dtype=torch.uint8)}
        if self.condition_channels == 3:
            joints = torch.stack([dancer(8, *size, seed, i) for i in range(n)]) if n else torch.zeros(0, 8, 18, 2)
            for i, clip in enumerate(joints):
                options["condition"][i] = draw(clip, size)
            if self.frame_shapes.get("joints") == joints.shape[2:]:
                options["joints"] = joints
        else:
            for i in range(n):
                options["condition"][i] = moving(count, bool(self.classes), 8, *size, seed, i)
        if self.people:
            options["label"] = [i % self.people for i in range(n)]
        if self.reference:
            options["reference"] = torch.zeros(n, *self.image_shape, dtype=torch.uint8)
            for i in range(n):
                options["reference"][i] = moving(self.image_shape[0], False, 1, *size, seed + 1, i)[0]
        return options

    def show(self, batch: dict[str, Any]) -> dict[str, Any]:
        if not self.reference:
            return batch
        rest = {name: x if name == "label" else x[:, 1:] for name, x in batch.items()}
        return {**rest, "reference": batch["video"][:, 0]}

    def encode(
        self, condition: torch.Tensor, label: torch.Tensor | None = None, reference: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Figures with whom to draw, as the networks see them.

        Args:
            condition: uint8 (B, T, C, H, W).
            label: (B,), of models with `people`.
            reference: (B, C, H, W), -1 to 1, of models with `reference`.

        Returns:
            (B, T, K, H, W), float32: the figure, the reference, and for the discriminators a map for each person.

        Raises:
            DataError: a label map with a number that is no class, or a label that is nobody's.
        """
        batch, frames, _, height, width = condition.shape
        parts = [encode(condition.flatten(0, 1), self.classes).view(batch, frames, -1, height, width)]
        if self.reference:
            assert reference is not None
            parts.append(reference[:, None].expand(-1, frames, -1, -1, -1))
        if self.people:
            assert label is not None
            if not 0 <= int(label.min()) <= int(label.max()) < self.people:
                raise DataError(f"labels must be 0 to {self.people - 1}, not {int(label.min())} to {int(label.max())}")
            maps = nn.functional.one_hot(label, self.people).float()  # B people
            parts.append(maps[:, None, :, None, None].expand(-1, frames, -1, height, width))
        return torch.cat(parts, 2)

    def corners(self, joints: torch.Tensor | None, count: int) -> list[tuple[int, int]]:
        """Where crops begin: row and column of the upper left pixel, for `count` frames.

        Args:
            joints: (count, J, 2), x and y in pixels, NaN where one is missing; None without keypoints.
            count: frames.
        """
        _, height, width = self.image_shape
        middle = torch.tensor([width / 2, height / 4]).expand(count, 2)
        heads = middle if joints is None else joints[:, self.head].float().cpu()
        heads = torch.where(heads.isfinite().all(1, keepdim=True), heads, middle)
        size = self.detail_size
        places = (heads - size / 2).round().long()
        lefts, tops = places[:, 0].clamp(0, width - size).tolist(), places[:, 1].clamp(0, height - size).tolist()
        return list(zip(tops, lefts, strict=True))

    def crops(self, x: torch.Tensor, corners: list[tuple[int, int]]) -> torch.Tensor:
        """(B, C, H, W) to (B, C, S, S)."""
        size = self.detail_size
        places = enumerate(corners)
        return torch.stack([x[i, :, top : top + size, left : left + size] for i, (top, left) in places])

    def draw(self, condition: torch.Tensor, previous: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        """One frame without detail.

        Args:
            condition: (B, K, H, W), of `encode`.
            previous: the frame before it, (B, C, H, W); zeros before the first.
            label: (B,), of models with `people`.
        """
        return self.generator(torch.cat([condition[:, : self.figure_channels], previous], 1), label=label)  # type: ignore[no-any-return]

    def refine(
        self,
        condition: torch.Tensor,
        frame: torch.Tensor,
        corners: list[tuple[int, int]],
        label: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """A frame (B, C, H, W) with the residual of the detail network in its crop; as it is if there is none."""
        if self.detail is None:
            return frame
        crops = self.crops(torch.cat([condition[:, : self.figure_channels], frame], 1), corners)
        residual = self.detail(crops, label=label)
        refined, size = frame.clone(), self.detail_size
        for i, (top, left) in enumerate(corners):
            refined[i, :, top : top + size, left : left + size] += residual[i]
        return refined

    def begin(self, request: SampleRequest) -> State:
        """The state before the first frame of a request.

        Raises:
            OptionError: a person or a picture of one that is missing, not needed or does not fit, or keypoints without
                any head.
        """
        joints, size = request.options["joints"], self.image_shape
        if isinstance(joints, torch.Tensor) and self.joints:
            check_heads(joints, self.head)
        previous = picture_of(request, "previous", size)
        if previous is None:
            previous = torch.zeros(request.n, *size, device=request.device)
        if request.options["reference"] is not None and not self.reference:
            raise OptionError(f"these weights of {self.spec.name} know whom to draw and take no reference")
        reference = picture_of(request, "reference", size)
        if reference is None and self.reference:
            raise OptionError("these weights draw whoever a picture shows; they need reference=PICTURE")
        return State(previous, person_of(request, self.people, self.spec.name), reference)

    def advance(self, state: State, given: Given) -> tuple[torch.Tensor, State]:
        """The next frame (B, C, H, W), -1 to 1, and the state after it."""
        condition = self.encode(given["condition"].unsqueeze(1), state.label, state.reference)[:, 0]  # B K H W
        frame = self.draw(condition, state.previous, state.label)
        refined = self.refine(condition, frame, self.corners(given.get("joints"), len(frame)), state.label)
        return refined, replace(state, previous=refined)
