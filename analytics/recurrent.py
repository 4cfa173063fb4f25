"""Long short-term memory network over series with attention over time, as a scikit-learn
classifier.

Other columns go to the last layer directly. This module imports torch, so it is imported only when
such a model is built. On a CPU the same seed gives the same bits; on a GPU within tolerance.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn

from analytics.networks import AdamW, find_device, set_deterministic, train

Floats = NDArray[np.float64]
UNITS, EPOCHS, RATE = 16, 30, 0.02
UNSEEN = -1e9  # a score that leaves a step no attention


class RecurrentClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier of x (n, columns) without NaN: other columns, `series` columns of steps, and as
    many that say whether a step has a value (`analytics.series.Steps`); `steps` for each variable.

    One layer of LSTM (Hochreiter & Schmidhuber 1997), additive attention over its states (Bahdanau
    et al. 2015, https://arxiv.org/abs/1409.0473), and a linear layer. A step without any value gets
    no attention. A fixed number of epochs, without early stopping on held-out people; classes are
    not re-weighted. `series` may be 0: logistic regression on the rest.
    """

    def __init__(self, series: int, steps: int, seed: int, device: str = "cpu") -> None:
        self.series = series
        self.steps = steps
        self.seed = seed
        self.device = device

    def fit(self, x: Floats, y: NDArray[np.int64]) -> Self:
        """y: (n,) of 0 and 1, both present. Raises ParamsError for an unavailable device."""
        device = find_device(self.device)
        set_deterministic(device)
        self.classes_ = np.array([0, 1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            others = x.shape[1] - 2 * self.series
            network = _Network(others, self.series, self.steps, float(y.mean()))
        self.network_ = network.to(device)
        optimizer = AdamW(list(network.parameters()), RATE)

        def margin(columns: torch.Tensor) -> torch.Tensor:
            log_odds: torch.Tensor = self.network_(columns)[0]
            return log_odds

        train(margin, optimizer, x, y, epochs=EPOCHS, seed=self.seed, device=device)
        return self

    def predict_proba(self, x: Floats) -> Floats:
        """(n, 2): predicted probability of no event and of the event."""
        margin, _ = self._evaluate(x)
        probability = torch.sigmoid(margin).numpy().astype(np.float64)
        return np.column_stack([1 - probability, probability])

    def attention(self, x: Floats) -> Floats:
        """(n, steps) shares of attention, that of somebody without any value 0."""
        _, weights = self._evaluate(x)
        shares: Floats = weights.numpy().astype(np.float64)
        return shares

    def predict(self, x: Floats) -> NDArray[np.int64]:
        """(n,) of 0 and 1: 1 from a predicted probability of one half."""
        return (self.predict_proba(x)[:, 1] >= 0.5).astype(np.int64)

    def _evaluate(self, x: Floats) -> tuple[torch.Tensor, torch.Tensor]:
        device = find_device(self.device)
        set_deterministic(device)
        with torch.no_grad():
            margin, weights = self.network_(torch.from_numpy(x.astype(np.float32)).to(device))
        return margin.cpu(), weights.cpu()


class _Network(nn.Module):
    """(n, others + 2 series) -> (n,) log odds and (n, steps) attention."""

    def __init__(self, others: int, series: int, steps: int, share: float) -> None:
        super().__init__()
        self.others, self.series, self.steps = others, series, steps
        if series:
            self.lstm = nn.LSTM(2 * series // steps, UNITS, batch_first=True)
            self.score = nn.Sequential(nn.Linear(UNITS, UNITS), nn.Tanh(), nn.Linear(UNITS, 1))
        self.head = nn.Linear(others + UNITS * (series > 0), 1)
        # Start at the share of events, so the few training steps are spent on the columns.
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, float(np.log(share / (1 - share))))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        parts, weights = [x[:, : self.others]], torch.zeros(len(x), self.steps, device=x.device)
        if self.series:
            # Of each step, the values of all variables and whether there are any.
            over_time = x[:, self.others :].reshape(len(x), -1, self.steps).transpose(1, 2)
            variables = self.series // self.steps
            seen = over_time[:, :, variables:].amax(dim=2)
            states, _ = self.lstm(over_time)
            scores = self.score(states)[:, :, 0].masked_fill(seen == 0, UNSEEN)
            weights = torch.softmax(scores, dim=1) * seen
            parts.append((weights[:, :, None] * states).sum(dim=1))
        margin: torch.Tensor = self.head(torch.cat(parts, dim=1))[:, 0]
        return margin, weights
