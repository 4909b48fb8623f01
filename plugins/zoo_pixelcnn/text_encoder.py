"""Captions as vectors for Conditional PixelCNN. The encoder is ours: the paper (arXiv 1606.05328, section 2.3) leaves h
open, and has classes and portrait embeddings.

A bidirectional GRU reads the characters; h is a linear function of the mean of its states, and is trained together with
the pictures.

Shapes: B batch, T characters of the longest caption, E features of a character, R of each direction, F of h.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from zoo.errors import OptionError

ALPHABET = " abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"()&+-/#"
LIMIT = 100  # characters of a caption
PADDING, UNKNOWN = 0, 1
CODES = {character: code for code, character in enumerate(ALPHABET, UNKNOWN + 1)}


def encode(texts: Sequence[str]) -> torch.Tensor:
    """Captions as codes (B, T), int64: of a lower-cased character its place in the alphabet, or UNKNOWN; then PADDING.

    Raises:
        OptionError: an empty caption, or one of more than LIMIT characters.
    """
    rows = [[CODES.get(character, UNKNOWN) for character in check_text(text)] for text in texts]
    codes = torch.full((len(rows), max(map(len, rows), default=0)), PADDING, device="cpu")
    for i, row in enumerate(rows):
        codes[i, : len(row)] = torch.tensor(row, device="cpu")
    return codes


def check_text(text: str) -> str:
    """A caption as it is read, character by character; raises OptionError as `encode` does."""
    read = text.strip().lower()
    if not read:
        raise OptionError("text must not be empty")
    if len(read) > LIMIT:
        raise OptionError(f"text '{text[:20]}...' has {len(read)} characters; at most {LIMIT} are read")
    return read


class TextEncoder(nn.Module):
    """h of captions; that of each depends on nothing but itself.

    Args:
        features: F.
        embedding: E.
        width: R.
    """

    def __init__(self, features: int, *, embedding: int = 32, width: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(UNKNOWN + 1 + len(ALPHABET), embedding, padding_idx=PADDING)
        self.gru = nn.GRU(embedding, width, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * width, features)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes (B, T), as `encode` gives them, to h (B, F).

        Order and lengths are found on the CPU, and copied without waiting for the device.
        """
        codes, device = codes.cpu(), self.embedding.weight.device
        lengths, order = (codes != PADDING).sum(1).sort(descending=True)
        codes, back = codes[order].to(device, non_blocking=True), order.argsort().to(device, non_blocking=True)
        states, _ = pad_packed_sequence(
            self.gru(pack_padded_sequence(self.embedding(codes), lengths, batch_first=True))[0], batch_first=True
        )  # B T 2R, zero beyond the end
        means = states.sum(1) / lengths.to(device, states.dtype, non_blocking=True)[:, None]
        return self.output(means).index_select(0, back)
