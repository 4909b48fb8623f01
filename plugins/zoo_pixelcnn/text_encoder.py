"""Captions as vectors for Conditional PixelCNN. The encoder is ours: the paper (arXiv 1606.05328, section 2.3) leaves h
open, and has classes and portrait embeddings.

A bidirectional GRU reads the characters; h is a linear function of the mean of its states, and is trained together with
the pictures. It takes many pictures until the GRU tells a blue heart from a brown one, so a table may add a vector for
each word, which is told apart from the first step on. Words share its rows by chance, by their checksums: there is no
list of words, and a new word has a row, too.

Shapes: B batch, T characters of the longest caption, E features of a character, R of each direction, V rows of the
table, F of h.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import accumulate, chain, groupby

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
        words: V; 0 for no table.
        embedding: E.
        width: R.
    """

    def __init__(self, features: int, words: int = 0, *, embedding: int = 32, width: int = 128) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(words, features, mode="mean") if words else None
        self.embedding = nn.Embedding(UNKNOWN + 1 + len(ALPHABET), embedding, padding_idx=PADDING)
        self.gru = nn.GRU(embedding, width, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * width, features)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes (B, T), as `encode` gives them, to h (B, F).

        Order and lengths are found on the CPU, and copied without waiting for the device.
        """
        codes, device = codes.cpu(), self.embedding.weight.device
        lengths, order = (codes != PADDING).sum(1).sort(descending=True)
        read, back = codes[order].to(device, non_blocking=True), order.argsort().to(device, non_blocking=True)
        states, _ = pad_packed_sequence(
            self.gru(pack_padded_sequence(self.embedding(read), lengths, batch_first=True))[0], batch_first=True
        )  # B T 2R, zero beyond the end
        means = states.sum(1) / lengths.to(device, states.dtype, non_blocking=True)[:, None]
        h: torch.Tensor = self.output(means).index_select(0, back)
        return h if self.words is None else h + self._mean_of_words(codes)

    def _mean_of_words(self, codes: torch.Tensor) -> torch.Tensor:
        """The mean of the vectors of each caption's words, (B, F); zeros for a caption that has none."""
        assert self.words is not None
        found = [
            [zlib.crc32(bytes(word)) % self.words.num_embeddings for is_word, word in groupby(row, _in_word) if is_word]
            for row in codes.tolist()
        ]
        begins = [0, *accumulate(map(len, found))][:-1]
        flat = [torch.tensor(part, dtype=torch.int64, device="cpu") for part in (list(chain(*found)), begins)]
        mean: torch.Tensor = self.words(*(part.to(self.embedding.weight.device, non_blocking=True) for part in flat))
        return mean


def _in_word(code: int) -> bool:
    """Whether a character is a letter or digit, or none of the alphabet's."""
    return code == UNKNOWN or (code > UNKNOWN and ALPHABET[code - UNKNOWN - 1].isalnum())
