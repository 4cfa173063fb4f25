"""Small convolutional network over ordered gene columns, as a scikit-learn classifier.

Clinical columns go to the last layer directly. This module imports torch, so it is imported only
when such a model is built. torch keeps threads and determinism for the whole process: a fit sets
one thread and deterministic kernels, and leaves them set. On a CPU the same seed gives the same
bits; on a GPU it gives them within tolerance.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn
from torch.optim.adamw import adamw

from analytics.catalogue import DEVICES
from analytics.errors import ParamsError

Floats = NDArray[np.float64]
CHANNELS, KERNEL, STRIDE, POSITIONS = 8, 5, 2, 32
EPOCHS, BATCH, RATE, DECAY = 25, 256, 0.01, 0.1


def train(
    margin: Callable[[torch.Tensor], torch.Tensor],
    optimizer: AdamW,
    x: Floats,
    y: NDArray[np.int64],
    *,
    epochs: int,
    seed: int,
    device: torch.device,
) -> None:
    """Fit the parameters of `optimizer` for a fixed number of epochs, by batches in an order drawn by
    the seed.

    margin: (n, columns) -> (n,) log odds of y, which is 0 and 1.
    """
    columns = torch.from_numpy(x.astype(np.float32)).to(device)
    event = torch.from_numpy(y.astype(np.float32)).to(device)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(event), generator=order).to(device), BATCH):
            loss = nn.functional.binary_cross_entropy_with_logits(
                margin(columns[batch]), event[batch]
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


class ConvolutionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier of x (n, columns) without NaN; the first `ordered` columns are in genome order.

    A fixed number of epochs of AdamW (Loshchilov & Hutter 2019) over batches of BATCH; classes are
    not re-weighted and there is no early stopping on held-out people. `ordered` may be 0 (logistic
    regression on the rest) or all columns.
    """

    def __init__(self, ordered: int, seed: int, device: str = "cpu") -> None:
        self.ordered = ordered
        self.seed = seed
        self.device = device

    def fit(self, x: Floats, y: NDArray[np.int64]) -> Self:
        """y: (n,) of 0 and 1, both present. Raises ParamsError for an unavailable device."""
        device = find_device(self.device)
        set_deterministic(device)
        self.classes_ = np.array([0, 1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = _Network(self.ordered, x.shape[1] - self.ordered, float(y.mean()))
        self.network_ = network.to(device)
        optimizer = AdamW(list(network.parameters()))
        train(self.network_, optimizer, x, y, epochs=EPOCHS, seed=self.seed, device=device)
        return self

    def predict_proba(self, x: Floats) -> Floats:
        """(n, 2): predicted probability of no event and of the event."""
        device = find_device(self.device)
        set_deterministic(device)
        with torch.no_grad():
            margin = self.network_(torch.from_numpy(x.astype(np.float32)).to(device))
            probability = torch.sigmoid(margin).cpu().numpy().astype(np.float64)
        return np.column_stack([1 - probability, probability])

    def integrated_gradients(self, x: Floats, baseline: Floats) -> Floats:
        """(n, columns) integrated gradients of the log odds from `baseline` (columns,) to each row.

        Exact, in double precision on the CPU: on a straight line the input of a ReLU is linear, so
        the share of the line on which it is active is a quotient of differences (DeepLIFT's rescale
        rule, which is the integral in a network of one such layer; Ancona et al. 2018).
        """
        set_deterministic(torch.device("cpu"))
        network = copy.deepcopy(self.network_).to("cpu", torch.float64)
        ends = torch.from_numpy(np.vstack([baseline, x]))
        inputs = ends[1:].clone().requires_grad_()
        parts = [inputs[:, self.ordered :]]
        if self.ordered:
            convolved, _, *rest = network.scan
            with torch.no_grad():
                before = convolved(ends[:, None, : self.ordered])
                start, end = before[:1], before[1:]
                gap = end - start
                moved = torch.where(gap == 0, torch.ones_like(gap), gap)
                active = torch.where(
                    gap == 0, (end > 0).to(torch.float64), (end.relu() - start.relu()) / moved
                )
            passed = active * convolved(inputs[:, None, : self.ordered])
            parts.append(nn.Sequential(*rest)(passed))
        (slopes,) = torch.autograd.grad(network.head(torch.cat(parts, dim=1)).sum(), inputs)
        values: Floats = (slopes * (ends[1:] - ends[0])).numpy()
        return values

    def predict(self, x: Floats) -> NDArray[np.int64]:
        """(n,) of 0 and 1: 1 from a predicted probability of one half."""
        return (self.predict_proba(x)[:, 1] >= 0.5).astype(np.int64)


def find_device(name: str) -> torch.device:
    """The device for a catalogue name; auto is cuda if available. Raises ParamsError."""
    if name not in DEVICES:
        raise ParamsError("the device is not one of " + ", ".join(DEVICES))
    if name == "cuda" and not torch.cuda.is_available():
        raise ParamsError("a cuda device was asked for and there is none", "Ask for auto or cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def describe_gpu(name: str) -> dict[str, object] | None:
    """The run record's entry about a GPU: device, name, and torch's peak memory on it in bytes.

    None for a CPU, and for a GPU without allocated memory, which computed nothing.
    """
    if name == "cpu" or not torch.cuda.is_available():
        return None
    device = find_device(name)
    peak = torch.cuda.max_memory_allocated(device)
    if not peak:
        return None
    return {
        "device": device.type,
        "name": torch.cuda.get_device_name(device),
        "peak_bytes": peak,
    }


class _Network(nn.Module):
    """(n, ordered + rest) -> (n,) log odds: convolution, ReLU and average pooling over the ordered
    columns, then one linear layer over their output and the rest."""

    def __init__(self, ordered: int, rest: int, share: float) -> None:
        super().__init__()
        self.ordered = ordered
        steps = -(-ordered // STRIDE)
        pool = max(1, -(-steps // POSITIONS))
        self.scan = nn.Sequential(
            nn.Conv1d(1, CHANNELS, KERNEL, stride=STRIDE, padding=KERNEL // 2),
            nn.ReLU(),
            nn.AvgPool1d(pool, ceil_mode=True) if pool > 1 else nn.Identity(),
            nn.Flatten(),
        )
        self.head = nn.Linear(CHANNELS * -(-steps // pool) + rest, 1)
        # Start at the share of events, so the few training steps are spent on the columns.
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, float(np.log(share / (1 - share))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [x[:, self.ordered :]]
        if self.ordered:
            parts.append(self.scan(x[:, None, : self.ordered]))
        margin: torch.Tensor = self.head(torch.cat(parts, dim=1))[:, 0]
        return margin


class AdamW:
    """torch.optim.AdamW by its functional form, with the same bits: the class imports torch's
    compiler at its first use, which takes as long as torch itself in each start of a process."""

    def __init__(self, parameters: list[nn.Parameter], rate: float = RATE) -> None:
        self._rate = rate
        zeros = torch.zeros_like
        self._rows = [
            (
                parameter,
                zeros(parameter),
                zeros(parameter),
                torch.zeros((), dtype=torch.float32, device=parameter.device),
            )
            for parameter in parameters
        ]

    def step(self) -> None:
        """One step along the gradients, which are removed afterwards."""
        rows = [row for row in self._rows if row[0].grad is not None]
        parameters, means, squares, steps = ([row[part] for row in rows] for part in range(4))
        with torch.no_grad():
            adamw(
                parameters,
                [parameter.grad for parameter in parameters if parameter.grad is not None],
                means,
                squares,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self._rate,
                weight_decay=DECAY,
                eps=1e-8,
                maximize=False,
            )
        for parameter in parameters:
            parameter.grad = None


def set_deterministic(device: torch.device) -> None:
    # One thread: faster on networks this small, reproducible sums, and no thread pool that a fork
    # would break.
    torch.set_num_threads(1)
    # cuBLAS is deterministic only with a workspace set outside this process, so a GPU gets the best
    # effort.
    # The same as torch.use_deterministic_algorithms, which imports the compiler (seconds) as well.
    torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
