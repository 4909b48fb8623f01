"""pix2pix (Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017, arXiv
1611.07004): a picture from a condition, be it a label map, edges, or another picture.

Against a GAN (Goodfellow et al., arXiv 1406.2661) there is no latent: the generator sees the condition, and dropout is
its only noise, in training and at test time alike. The discriminator scores patches, together with the condition.

As in the paper: both networks (section 6.1), their first weights, and normalisation by the statistics of the test
picture.
Left out: the tasks whose output is no picture (colourisation in Lab), and the paper's evaluation by an FCN.

Shapes: B batch, C channels of the picture, K channels of the condition as the networks see it, H, W height and width.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from zoo.errors import OptionError
from zoo.nn.adversarial import AdversarialModel, to_pixels
from zoo.request import SampleRequest
from zoo.spec import Option
from zoo_translation.examples import label_map, picture
from zoo_translation.networks import (
    DROPPED,
    PATCHES,
    PatchGAN,
    ResNetGenerator,
    UNet,
    check_halvings,
    check_shapes,
    encode,
    patch_scores,
)

DEEPEST = 8  # halvings of the paper's U-Net, which reach one pixel at 256


class Pix2Pix(AdversarialModel):
    """A generator of pictures from conditions, and a discriminator of patches.

    Args:
        image_shape: (C, H, W) of the picture; the condition has the same height and width.
        condition_channels: of the condition; 1 for label maps.
        condition_classes: how many classes a label map has, which the networks see one by one; 0 for pictures.
        generator: "unet", as deep as the size allows up to 8 halvings, or "resnet" (two halvings and `blocks`).
        blocks: residual blocks of a ResNet.
        width: channels of the generator's first layer, which double with every halving.
        width_max: the most channels of any of its layers.
        norm: "batch" or "instance"; without difference where the batch size is 1.
        biases: give convolutions biases that a normalisation follows, as the Torch code has them; it cancels them.
        dropout_layers: which decoder layers of a U-Net, counted from the innermost 0, or which blocks of a ResNet.
        patch: receptive field of the discriminator's scores: 1, 16, 34, 70, 142 or 286.
        discriminator_width: channels of its first layer; the most is 8 times as many.
        conditional: whether the discriminator sees the condition: cGAN against GAN.
        discriminator: whether there is one; released weights come without.
    """

    sample_batch_size = 16
    channels_last = False  # 29 pictures a second without, 18 with it, at 64 pixels and a batch of 1

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] = (3, 256, 256),
        condition_channels: int = 3,
        condition_classes: int = 0,
        generator: Literal["unet", "resnet"] = "unet",
        blocks: int = 9,
        width: int = 64,
        width_max: int = 512,
        norm: Literal["batch", "instance"] = "batch",
        biases: bool = False,
        dropout_layers: tuple[int, ...] = (0, 1, 2),
        patch: Literal[1, 16, 34, 70, 142, 286] = 70,
        discriminator_width: int = 64,
        conditional: bool = True,
        discriminator: bool = True,
    ) -> None:
        super().__init__()
        check_shapes(image_shape, condition_channels, condition_classes, width, width_max, discriminator_width)
        channels, height, wide = image_shape
        if min(dropout_layers, default=0) < 0:
            raise ValueError(f"dropout_layers are counted from 0, and {min(dropout_layers)} is none")
        self.image_shape, self.condition_channels, self.classes = image_shape, condition_channels, condition_classes
        self.conditional = conditional
        inputs = condition_classes or condition_channels
        sizes: dict[str, Any] = {"width": width, "width_max": width_max, "norm": norm, "biases": biases}
        if generator == "unet":
            depth = halvings(height, wide)
            self.generator: UNet | ResNetGenerator = UNet(
                inputs, channels, depth=depth, dropout=dropout_layers, **sizes
            )
        else:
            if blocks < 1:
                raise ValueError(f"a ResNet needs at least one block, not {blocks}")
            check_halvings(height, wide, 2)
            self.generator = ResNetGenerator(inputs, channels, downs=2, blocks=blocks, dropout=dropout_layers, **sizes)
        self.discriminator: PatchGAN | None = None
        if discriminator:
            if patch_scores(min(height, wide), patch) < 1:
                fits = [str(field) for field in PATCHES if patch_scores(min(height, wide), field) >= 1]
                raise ValueError(f"patch {patch} is too large for {height}x{wide} pixels; take {', '.join(fits)}")
            seen = channels + (inputs if conditional else 0)
            narrow: dict[str, Any] = {"width": discriminator_width, "width_max": 8 * discriminator_width}
            self.discriminator = PatchGAN(seen, patch=patch, norm=norm, biases=biases, **narrow)

    @property
    def condition_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a condition."""
        return (self.condition_channels, *self.image_shape[1:])

    @property
    def batch_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"image": self.image_shape, "condition": self.condition_shape}

    def input_shape(self, option: Option) -> tuple[int | None, ...]:
        return self.condition_shape if option.name == "condition" else super().input_shape(option)

    def examples(self, n: int, seed: int = 0) -> dict[str, Any]:
        """Conditions made up of rectangles, or of strokes where they have one channel or two classes."""
        size = self.image_shape[1:]
        if self.classes == 2:
            made = [(picture(1, *size, seed, i) > 0).byte() for i in range(n)]
        elif self.classes:
            made = [label_map(self.classes, *size, seed, i) for i in range(n)]
        else:
            made = [picture(self.condition_channels, *size, seed, i) for i in range(n)]
        return {"condition": torch.stack(made) if n else torch.zeros(0, *self.condition_shape, dtype=torch.uint8)}

    @property
    def input_classes(self) -> dict[str, int]:  # type: ignore[override]
        return {"condition": self.classes} if self.classes else {}

    def encode(self, condition: torch.Tensor) -> torch.Tensor:
        """A condition, uint8 (B, C, H, W), as the networks see it, (B, K, H, W); errors as of `networks.encode`."""
        return encode(condition, self.classes)

    def seen(self, condition: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """What the discriminator gets of (B, K, H, W) and (B, C, H, W): both, or the picture alone."""
        return torch.cat([condition, image], 1) if self.conditional else image

    def forward(self, condition: torch.Tensor, masks: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Pictures (B, C, H, W), -1 to 1, from conditions (B, K, H, W); dropout by `masks`, or at random."""
        return self.generator(condition, masks)  # type: ignore[no-any-return]


def sample(model: Pix2Pix, request: SampleRequest) -> torch.Tensor:
    """Pictures, uint8 (B, C, H, W), from option `condition`; the noise of each dropout layer is a child's."""
    condition = request.options["condition"]
    if condition is None:
        raise OptionError(f"{model.spec.name} draws from a picture; it needs condition=PICTURE")
    masks = {
        name: (request.child(f"dropout {name}").uniform(*shape) >= DROPPED).float()
        for name, shape in model.generator.mask_shapes(*model.image_shape[1:]).items()
    }
    return to_pixels(model(model.encode(condition.to(request.device)), masks))


def halvings(height: int, width: int) -> int:
    """How deep a U-Net is: as often as both sides can be halved, at most 8 times; ValueError below 3."""
    depth = next(d for d in range(DEEPEST, -1, -1) if height % 2**d == 0 and width % 2**d == 0)
    if depth < 3:
        raise ValueError(f"a U-Net halves both sides at least 3 times, which {height}x{width} does not allow")
    return depth
