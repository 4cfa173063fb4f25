"""What is missing is said before the first test, in a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import browser
import needs
import pytest

from analytics.errors import SourceError
from api.confinement.layers import Layer
from api.confinement.probe import Offer
from chain.devnode.anvil import AnvilNotFound

TESTS = Path(__file__).resolve().parent


def test_nothing_is_missing_here() -> None:
    assert needs.lacking([str(TESTS)]) == []


@pytest.mark.parametrize(
    ("arguments", "system", "needed"),
    [
        ([TESTS], True, True),
        ([TESTS / "pages"], True, True),
        ([f"{TESTS}/pages/test_signing.py::test_x"], True, True),
        ([TESTS / "chain"], True, False),
        ([TESTS], False, False),
    ],
)
def test_only_page_tests_need_a_browser(
    monkeypatch: pytest.MonkeyPatch, arguments: list[object], system: bool, needed: bool
) -> None:
    monkeypatch.setattr(browser, "find_browser", lambda _: None)
    assert (
        needs.lacking([str(argument) for argument in arguments], system)
        == [browser.MISSING] * needed
    )


def test_each_missing_part_has_its_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_anvil() -> str:
        raise AnvilNotFound("none", "")

    def no_data() -> Path:
        raise SourceError("not installed")

    monkeypatch.setattr(needs, "find_anvil", no_anvil)
    monkeypatch.setattr(needs, "ROOT", tmp_path)
    monkeypatch.setattr(needs, "locate_gse7390", no_data)
    monkeypatch.setattr(needs, "probe", lambda _: Offer(Layer(0), 0, False))
    sentences = needs.lacking([str(TESTS / "chain")])
    for word, sentence in zip(
        ("anvil", "solc", "research data", "confine"), sentences, strict=True
    ):
        assert word in sentence
        assert sentence.endswith(".")


def test_the_browser_is_the_named_one_or_none(tmp_path: Path) -> None:
    named = tmp_path / "chromium"
    assert browser.find_browser(str(named)) is None
    named.write_text("#!/bin/sh\n")
    named.chmod(0o755)
    assert browser.find_browser(str(named)) == str(named)
