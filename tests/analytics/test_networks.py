import importlib
import multiprocessing
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from analytics.errors import ParamsError
from analytics.networks import ConvolutionClassifier, describe_gpu, find_device


@pytest.fixture
def torch() -> Any:
    """Not at the top: every process of a test run reads all files of tests, and torch takes
    seconds.
    """
    return importlib.import_module("torch")


def signal(seed: int, n: int = 300, columns: int = 24) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, columns))
    return x, (x[:, 3] - x[:, 10] + x[:, -1] + generator.normal(size=n) > 0).astype(np.int64)


@pytest.mark.parametrize("ordered", [0, 1, 2, 20, 24])
def test_a_planted_signal_is_found_with_any_split_of_columns(ordered: int) -> None:
    x, y = signal(1)
    probability = ConvolutionClassifier(ordered, 1).fit(x[:200], y[:200]).predict_proba(x[200:])
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert roc_auc_score(y[200:], probability[:, 1]) > 0.75


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    x, y = signal(2)
    first, again, another_seed = (
        ConvolutionClassifier(20, seed).fit(x, y).predict_proba(x) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != another_seed).any()


def test_fitting_neither_uses_nor_changes_the_global_torch_generator(torch) -> None:
    x, y = signal(3, n=60)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    probabilities = ConvolutionClassifier(20, 1).fit(x, y).predict_proba(x)
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(
        probabilities, ConvolutionClassifier(20, 1).fit(x, y).predict_proba(x)
    )


def test_it_is_a_scikit_learn_estimator() -> None:
    x, y = signal(4, n=60)
    fitted = ConvolutionClassifier(20, 9, "auto").fit(x, y)
    copied = clone(fitted)
    assert copied.get_params() == {"ordered": 20, "seed": 9, "device": "auto"}
    assert not hasattr(copied, "network_")
    np.testing.assert_array_equal(fitted.predict(x), fitted.predict_proba(x)[:, 1] >= 0.5)
    assert fitted.score(x, y) > 0.5


def test_rare_events_are_not_weighted_up() -> None:
    """On noise the mean predicted probability is the share of events."""
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(400, 10)), (generator.random(400) < 0.15).astype(np.int64)
    assert ConvolutionClassifier(8, 1).fit(x, y).predict_proba(x)[:, 1].mean() == pytest.approx(
        y.mean(), abs=0.03
    )


def test_unknown_or_absent_devices_are_refused(torch) -> None:
    with pytest.raises(ParamsError, match="not one of"):
        find_device("tpu")
    if torch.cuda.is_available():
        assert find_device("auto").type == find_device("cuda").type == "cuda"
    else:
        assert find_device("auto").type == "cpu"
        with pytest.raises(ParamsError, match="there is none"):
            ConvolutionClassifier(2, 1, "cuda").fit(np.zeros((4, 2)), np.array([0, 1, 0, 1]))


@pytest.mark.parametrize(
    ("peak", "usage"),
    [(0, None), (1 << 20, {"device": "cuda", "name": "H100", "peak_bytes": 1 << 20})],
)
def test_a_gpu_without_computation_is_not_reported(
    torch, monkeypatch: pytest.MonkeyPatch, peak: int, usage: dict[str, object] | None
) -> None:
    """On a machine with a GPU, a run without a network is still computed on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("analytics.networks.find_device", lambda _name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: peak)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "H100")
    assert describe_gpu("auto") == usage
    assert describe_gpu("cpu") is None


def test_a_fit_works_on_one_thread_and_a_fork_after_it_can_fit_too(torch) -> None:
    x, y = signal(6, n=900, columns=200)
    torch.set_num_threads(2)
    ConvolutionClassifier(180, 1).fit(x, y)
    assert torch.get_num_threads() == 1
    child = multiprocessing.get_context("fork").Process(
        target=ConvolutionClassifier(180, 1).fit, args=(x, y)
    )
    child.start()
    child.join(20)
    ended = child.exitcode
    child.kill()
    assert ended == 0


def test_torch_is_imported_only_when_a_network_is_built() -> None:
    lines = (
        "import os, sys, analytics.models.pipeline as m, analytics.params",
        "parts = dict(genes=3, clinical=1, select='f', keep=3, components=1, impute='mean', scale='z-score', seed=1)",
        "late = {n for n, model in m.REGISTERED.items() if model.loaded_late}",
        "assert late == {'cnn', 'lstm'}",
        "others = [m.build_model(m.Blueprint(model=n, **parts)) for n in m.MODELS if n not in late]",
        "assert 'torch' not in sys.modules",
        # Each in a process of its own, which has all but torch from this one.
        "for one in (dict(model='cnn'), dict(model='lstm'), dict(model='svm', encoder='autoencoder')):",
        "    if os.fork() == 0:",
        "        m.build_model(m.Blueprint(**one, **parts))",
        "        os._exit(0 if 'torch' in sys.modules else 1)",
        "    assert os.wait()[1] == 0, one",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=120)
