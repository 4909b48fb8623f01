"""Codes on the disk: every picture that the priors learn from is encoded once, and looked up from then on.

Shapes: B batch, C colour channels, H, W height and width of pictures, h, w of a map of codes.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.errors import TrainingError
from zoo.nn.adversarial import from_pixels
from zoo.precision import float32
from zoo_vqvae.vqvae import Autoencoder

KEY = 16  # bytes of a picture's digest
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class CodeStore:
    """The codes of pictures, found by the pictures' own bytes.

    A record is a picture's digest and the codes of all levels. Records are only ever appended, so that a run may be
    killed at any instant. Each process writes a file of its own, and reads what others had written before it began.
    Codes belong to the weights of one autoencoder; those of other weights are removed.

    Args:
        folder: where the files are.
        network: the autoencoder, which is not trained any more.
        process: the number of this process.

    Attributes:
        encoded: pictures that this process has encoded.

    Raises:
        TrainingError: the folder can't be written to.
    """

    def __init__(self, folder: Path, network: Autoencoder, process: int = 0) -> None:
        self.network, self.encoded = network, 0
        self.sizes = [math.prod(shape) for shape in network.code_shapes]
        self.dtype = np.dtype(np.uint16 if len(network.quantisers[0].codebook) <= 2**16 else np.uint32)
        self.record = KEY + sum(self.sizes) * self.dtype.itemsize  # bytes
        self._own = folder / fingerprint(network) / f"{process:04d}.codes"
        self._files: dict[Path, Bytes] = {}  # (records, bytes of one)
        self._places: dict[bytes, tuple[Path, int]] = {}  # of a digest: file, record
        try:
            self._own.parent.mkdir(parents=True, exist_ok=True)
            if process == 0:
                for other in set(folder.iterdir()) - {self._own.parent}:
                    shutil.rmtree(other)
            self._own.touch()
            os.truncate(self._own, self._own.stat().st_size // self.record * self.record)  # a kill may leave a part
            for path in self._own.parent.glob("*.codes"):
                self._open(path, 0)
        except OSError as error:
            raise TrainingError(f"can't keep codes in '{folder}': {error.strerror or error}") from None

    def __len__(self) -> int:
        """How many pictures' codes are known."""
        return len(self._places)

    def codes(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """The codes of pictures (B, C, H, W), uint8: (B, h, w), int64, of each level from the top down.

        A batch with a new picture is encoded as a whole, so that a resumed run computes the very same products.
        """
        pictures = pixels.cpu().contiguous().numpy()
        keys = [hashlib.blake2b(picture.tobytes(), digest_size=KEY).digest() for picture in pictures]
        new = {key: i for i, key in enumerate(keys) if key not in self._places}
        if new:
            self._append(new, pixels)
        places = [self._places[key] for key in keys]
        found = np.stack([self._files[path][record, KEY:] for path, record in places]).view(self.dtype)
        levels = torch.from_numpy(found.astype(np.int64)).to(pixels.device).split(self.sizes, 1)
        return [level.view(-1, *shape) for level, shape in zip(levels, self.network.code_shapes, strict=True)]

    @torch.no_grad()
    def _append(self, new: dict[bytes, int], pixels: torch.Tensor) -> None:
        with float32(pixels.device):
            levels = self.network.encode(from_pixels(pixels))[1]
        rows = torch.cat([level.flatten(1) for level in levels], 1).cpu().numpy().astype(self.dtype)
        first = len(self._files.get(self._own, ()))
        try:
            with self._own.open("ab") as file:
                file.write(b"".join(key + rows[i].tobytes() for key, i in new.items()))
            self._open(self._own, first)
        except OSError as error:
            raise TrainingError(f"can't keep codes in '{self._own}': {error.strerror or error}") from None
        self.encoded += len(new)

    def _open(self, path: Path, first: int) -> None:
        """Make the records of a file known, from the number `first` on."""
        count = path.stat().st_size // self.record
        if count > first:
            records = self._files[path] = np.memmap(path, np.uint8, "r", shape=(count, self.record))
            for number in range(first, count):
                self._places[records[number, :KEY].tobytes()] = (path, number)


def fingerprint(network: Autoencoder) -> str:
    """16 hexadecimal digits by which these weights and sizes of maps are told from others."""
    found = hashlib.sha256(repr(network.code_shapes).encode())
    for name, value in sorted(network.state_dict().items()):
        if not name.endswith(("counts", "sums", "updates")):  # on which no code depends
            found.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
