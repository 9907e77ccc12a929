"""RoFormerV2 in numpy, float64: forward and backward, one row at a time without padding, written from the formulas alone.

Norm(x) = x / sqrt(mean(x²) + ε); q and k are turned as complex numbers, x[2i] + i·x[2i+1] by the angle m · 10000^(-2i/N);
x = Norm(x + Attn(x)); x = Norm(x + W₂ relu(W₁ x)); logits = x · Eᵀ. No biases anywhere.

Legend: L tokens of the row, D hidden size, H heads, N features of a head, M masked tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


class NumpyRoFormerV2:
    """weights: by our names of `pretrain.heads.PretrainingModel`."""

    def __init__(self, weights: Arrays, *, heads: int, eps: float) -> None:
        self.w = {name.removeprefix("roformerv2."): value.astype(np.float64) for name, value in weights.items()}
        self.blocks = 1 + max(int(name.split(".")[2]) for name in self.w if name.startswith("encoder.layers."))
        self.heads, self.eps = heads, eps

    def forward(self, ids_L: np.ndarray, types_L: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """Return hidden states [L, D], and what the backward pass needs."""
        w, kept = self.w, []
        summed = w["embeddings.word_embeddings.weight"][ids_L] + w["embeddings.token_type_embeddings.weight"][types_L]
        x = self._norm(summed)
        kept.append((ids_L, types_L, summed))
        for n in range(self.blocks):
            b = f"encoder.layers.{n}"
            q, k, v = (self._split(x @ w[f"{b}.self_attn.{p}_proj.weight"]) for p in "qkv")
            turn = self._turns(len(ids_L), q.shape[-1])
            q, k = self._turned(q, turn), self._turned(k, turn)
            scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            joined = self._join(shares @ v)
            first = x + joined @ w[f"{b}.self_attn.out_proj.weight"]
            middle = self._norm(first)
            inner = middle @ w[f"{b}.linear1.weight"]
            second = middle + np.maximum(inner, 0) @ w[f"{b}.linear2.weight"]
            kept.append((x, q, k, v, turn, shares, joined, first, middle, inner, second))
            x = self._norm(second)
        return x, kept

    def logits(self, hidden_MD: np.ndarray) -> np.ndarray:
        """Return MLM logits [M, V]."""
        return hidden_MD @ self.w["embeddings.word_embeddings.weight"].T

    def backward(self, kept: list[Any], d_hidden: np.ndarray) -> Arrays:
        """Return gradients by name, from the gradient of the hidden states; of the tied decoder nothing is in them."""
        w, d, gradients = self.w, d_hidden, {}
        for n in reversed(range(self.blocks)):
            b = f"encoder.layers.{n}"
            x, q, k, v, turn, shares, joined, first, middle, inner, second = kept[n + 1]
            d = self._d_norm(second, d)
            gradients[f"{b}.linear2.weight"] = np.maximum(inner, 0).T @ d
            d_inner = (d @ w[f"{b}.linear2.weight"].T) * (inner > 0)
            gradients[f"{b}.linear1.weight"] = middle.T @ d_inner
            d = self._d_norm(first, d + d_inner @ w[f"{b}.linear1.weight"].T)
            gradients[f"{b}.self_attn.out_proj.weight"] = joined.T @ d
            d_mixed = self._split(d @ w[f"{b}.self_attn.out_proj.weight"].T)
            d_shares = d_mixed @ v.transpose(0, 2, 1)
            d_scores = shares * (d_shares - (d_shares * shares).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
            d_parts = {
                "q": self._turned(d_scores @ k, turn.conj()),
                "k": self._turned(d_scores.transpose(0, 2, 1) @ q, turn.conj()),
                "v": shares.transpose(0, 2, 1) @ d_mixed,
            }
            for part, d_part in d_parts.items():
                gradients[f"{b}.self_attn.{part}_proj.weight"] = x.T @ self._join(d_part)
                d = d + self._join(d_part) @ w[f"{b}.self_attn.{part}_proj.weight"].T
        ids_L, types_L, summed = kept[0]
        d = self._d_norm(summed, d)
        for name, index in (("word", ids_L), ("token_type", types_L)):
            gradients[f"embeddings.{name}_embeddings.weight"] = np.zeros_like(w[f"embeddings.{name}_embeddings.weight"])
            np.add.at(gradients[f"embeddings.{name}_embeddings.weight"], index, d)
        return gradients

    def _norm(self, x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + self.eps)

    def _d_norm(self, x: np.ndarray, d: np.ndarray) -> np.ndarray:
        size = np.sqrt((x**2).mean(-1, keepdims=True) + self.eps)
        return d / size - x * (d * x).mean(-1, keepdims=True) / size**3

    def _split(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), self.heads, -1).transpose(1, 0, 2)

    def _join(self, x: np.ndarray) -> np.ndarray:
        return x.transpose(1, 0, 2).reshape(x.shape[1], -1)

    @staticmethod
    def _turns(length: int, size: int) -> np.ndarray:
        return np.exp(1j * np.outer(np.arange(length), 10000.0 ** (-np.arange(0, size, 2) / size)))

    @staticmethod
    def _turned(x: np.ndarray, turns: np.ndarray) -> np.ndarray:
        pairs = (x[..., 0::2] + 1j * x[..., 1::2]) * turns
        return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)
