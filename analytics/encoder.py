"""Autoencoder of the gene columns: non-linear components beside the principal ones.

This module imports torch, so it is imported only when such a part is built. It is fitted on the
CPU, where the same seed gives the same bits.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from torch import nn

from analytics.features import PrincipalScores
from analytics.networks import AdamW, set_deterministic

Floats = NDArray[np.float64]
SCORES = 32  # principal scores that are encoded: what the others hold is mostly noise
HIDDEN, EPOCHS, RATE = 16, 80, 0.05


class Autoencoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Components by which a small network writes the columns down and reads them again (Hinton &
    Salakhutdinov 2006, Science 313:504), scaled to unit variance to weigh as much as z-scores.

    It begins as principal component analysis, to which both directions add one hidden layer that is
    zero at first, and is fitted for a fixed number of epochs: so it reconstructs its training
    people at least about as well. It sees the first SCORES principal scores, so its cost does not
    grow with the number of columns. There are fewer components than `count` if there are fewer
    training people or columns; one without variance is 0.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed

    def fit(self, x: Floats, y: NDArray[np.int64] | None = None) -> Self:
        self.scores_ = PrincipalScores(SCORES, self.seed).fit(x)
        scores = self.scores_.transform(x)
        count = min(self.count, scores.shape[1])
        set_deterministic(torch.device("cpu"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _Network(scores.shape[1], count)
        seen = torch.from_numpy(scores.astype(np.float32))
        optimizer = AdamW(list(network.parameters()), RATE)
        for _ in range(EPOCHS):
            loss = nn.functional.mse_loss(network(seen), seen)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.weights_ = [
            weights.detach().numpy().astype(np.float64).T for weights in network.encode.parameters()
        ]
        coded = self._encode(scores, count)
        self.centre_, spread = coded.mean(axis=0), coded.std(axis=0)
        varies = spread > 1e-6
        self.factor_ = np.where(varies, 1 / np.where(varies, spread, 1.0), 0.0)
        return self

    def transform(self, x: Floats) -> Floats:
        coded = self._encode(self.scores_.transform(x), len(self.factor_))
        scaled: Floats = (coded - self.centre_) * self.factor_
        return scaled

    def _encode(self, scores: Floats, count: int) -> Floats:
        inward, bias, outward = self.weights_
        coded: Floats = scores[:, :count] + np.tanh(scores @ inward + bias) @ outward
        return coded


class _Network(nn.Module):
    """(n, scores) -> (n, scores): by `count` numbers a person, which are the first scores and what
    a hidden layer adds to them, and back likewise.
    """

    def __init__(self, scores: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.encode = _hidden(scores, count)
        self.decode = _hidden(count, scores)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        coded = x[:, : self.count] + self.encode(x)
        rest = x.shape[1] - self.count
        read: torch.Tensor = nn.functional.pad(coded, (0, rest)) + self.decode(coded)
        return read


def _hidden(columns: int, count: int) -> nn.Sequential:
    last = nn.Linear(HIDDEN, count, bias=False)
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.Linear(columns, HIDDEN), nn.Tanh(), last)
