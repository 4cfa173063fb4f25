"""Consent on the command line: terms are shown before the key is opened, no default choice, no
means no.
"""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chain.wallets import save
from governance.consent import PRESETS
from governance.readmodel.queries import consents_of

PASSWORD = "a password of hers"
# With its blank: what is typed before the terminal hides it is thrown away.
SIGN, REPLACE, WITHDRAW, OPEN = "Sign this?", "Replace it?", "Withdraw?", "Password: "


@dataclass(frozen=True)
class Person:
    name: str
    subject: bytes
    dataset: str


@pytest.fixture
def ada(deployment) -> Person:
    """Somebody enrolled who has agreed to nothing; her key is locked with a password."""
    (subject,) = deployment.people(1, agree=False)
    name = f"ada-{subject.hex()[:6]}"
    path = deployment.home / "keys" / f"{name}.json"
    save(deployment.world.subjects[subject], path, {"subject": subject.hex()}, PASSWORD)
    return Person(name, subject, deployment.world.dataset.hex())


def on_terminal(deployment, *arguments: str, answers: list[tuple[str, str]]) -> tuple[int, str]:
    """(exit code, what the screen showed) of a command in a terminal of its own, each question with
    its answer.
    """
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("volens")), *arguments]
    environment = {"PATH": os.defpath, "VOLENS_HOME": str(deployment.home), "COLUMNS": "200"}
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        preexec_fn=lambda: os.login_tty(theirs),
    )
    os.close(theirs)
    shown, asked, until = "", 0, time.monotonic() + 40
    try:
        while select.select([ours], [], [], max(0.0, until - time.monotonic()))[0]:
            try:
                shown += os.read(ours, 4096).decode()
            except OSError:  # it has ended
                break
            if answers and answers[0][0] in shown[asked:]:
                asked = len(shown)
                os.write(ours, f"{answers.pop(0)[1]}\n".encode())
    finally:
        if time.monotonic() >= until:
            process.kill()
        code = process.wait(30)
        os.close(ours)
    return code, shown


def grant(ada: Person, *more: str) -> tuple[str, ...]:
    return ("consent", "grant", "--as", ada.name, ada.dataset, *more)


def revoke(ada: Person, *more: str) -> tuple[str, ...]:
    return ("consent", "revoke", "--as", ada.name, ada.dataset, *more)


def status(deployment, ada: Person) -> str:
    """As the ledger's rows have it: the newest consent for the dataset."""
    deployment.services.projection.sync()
    consents = consents_of(deployment.services.engine, ada.subject.hex())
    (newest,) = [consent.status for consent in consents if consent.dataset == ada.dataset] or [0]
    return ("none", "live", "revoked")[newest]


def test_the_terms_are_read_before_the_key_is_opened(deployment, ada: Person) -> None:
    answers = [(SIGN, "y"), (OPEN, PASSWORD)]
    code, shown = on_terminal(deployment, *grant(ada, "--preset", "cancer"), answers=answers)
    assert code == 0, shown
    sentences = [
        "cancer research, not for profit, two years",
        "demographics, conditions",
        "outside-recipient",
        "until",
        "a committee of at least two people",
        "a result that was released before you stopped stays released",
        SIGN,
        OPEN,
        "You agreed to cancer research",
    ]
    places = [shown.index(sentence) for sentence in sentences]
    assert places == sorted(places), shown
    assert status(deployment, ada) == "live"


@pytest.mark.parametrize("answer", ["n", ""])
def test_no_is_no_and_opens_no_key(deployment, ada: Person, answer: str) -> None:
    before = deployment.head()
    code, shown = on_terminal(
        deployment, *grant(ada, "--preset", "health"), answers=[(SIGN, answer), (OPEN, PASSWORD)]
    )
    assert code == 1
    assert "Nothing was signed." in shown
    assert OPEN not in shown
    assert (deployment.head(), status(deployment, ada)) == (before, "none")


def test_nothing_is_chosen_for_her(deployment, ada: Person) -> None:
    before = deployment.head()
    code, shown = on_terminal(deployment, *grant(ada), answers=[("Your choice:", "everything")])
    assert code == 2
    assert all(preset.sentence in shown for preset in PRESETS.values())
    assert re.search(r"Your choice: *\r?\n?everything", shown), "something stood there as a default"
    assert SIGN not in shown
    assert deployment.head() == before
    code, shown = on_terminal(
        deployment, *grant(ada), answers=[("Your choice:", "health"), (SIGN, "y"), (OPEN, PASSWORD)]
    )
    assert code == 0, shown
    assert "You agreed to all health research" in shown


def test_a_program_that_signs_for_her_names_every_choice(
    deployment, ada: Person, volens, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = deployment.head()
    for arguments, sentence in (
        (grant(ada, "--yes"), "you chose nothing"),
        (grant(ada, "--preset", "cancer"), "nobody answered"),
        (grant(ada), "nobody answered"),
        (revoke(ada), "nobody answered"),
    ):
        for silent in (io.StringIO(""), None):
            monkeypatch.setattr(sys, "stdin", silent)
            result = volens(*arguments)
        assert (result.code, sentence in " ".join(result.err.lower().split())) == (2, True), result
    assert deployment.head() == before


def test_a_consent_that_would_be_replaced_is_a_question_of_its_own(deployment, ada: Person) -> None:
    first = on_terminal(
        deployment, *grant(ada, "--preset", "health"), answers=[(SIGN, "y"), (OPEN, PASSWORD)]
    )
    assert first[0] == 0, first[1]
    before = deployment.head()
    narrower = grant(ada, "--preset", "cancer")
    code, shown = on_terminal(
        deployment, *narrower, answers=[(SIGN, "y"), (OPEN, PASSWORD), (REPLACE, "n")]
    )
    assert (code, deployment.head()) == (1, before)
    assert "It allows less than that one, so uses that are running stop." in shown
    code, shown = on_terminal(
        deployment, *narrower, answers=[(SIGN, "y"), (OPEN, PASSWORD), (REPLACE, "y")]
    )
    assert code == 0, shown
    assert shown.index(REPLACE) < shown.index("You agreed to cancer research")


def test_stopping_is_as_easy_as_agreeing(deployment, ada: Person) -> None:
    """What follows is said, then it is asked; not one question more than agreeing takes."""
    _, agreed = on_terminal(
        deployment, *grant(ada, "--preset", "cancer"), answers=[(SIGN, "y"), (OPEN, PASSWORD)]
    )
    code, kept = on_terminal(deployment, *revoke(ada), answers=[(WITHDRAW, "n")])
    assert (code, OPEN in kept, status(deployment, ada)) == (1, False, "live")
    code, stopped = on_terminal(
        deployment, *revoke(ada), answers=[(WITHDRAW, "y"), (OPEN, PASSWORD)]
    )
    assert code == 0, stopped
    sentences = [
        "nobody gets a key",
        "Uses that wait",
        "stay shut",
        "cannot be undone",
        WITHDRAW,
        OPEN,
        "You withdrew",
    ]
    places = [stopped.index(sentence) for sentence in sentences]
    assert places == sorted(places), stopped
    assert status(deployment, ada) == "revoked"

    def questions(text: str) -> int:
        return len(re.findall(r"\?|Password:", re.sub(r"https?://\S+", "", text)))

    assert questions(stopped) <= questions(agreed) == 2


def test_what_a_program_reads_is_json_alone(deployment, volens, ada: Person) -> None:
    name, facts = f"{ada.name}-plain", {"subject": ada.subject.hex()}
    save(deployment.world.subjects[ada.subject], deployment.home / "keys" / f"{name}.json", facts)
    mine = Person(name, ada.subject, ada.dataset)
    result = volens(*grant(mine, "--preset", "cancer", "--yes", "--json"))
    answer: dict[str, Any] = json.loads(result.out)
    assert (result.code, "receiptFile" in answer) == (0, True)
    assert "You are about to agree" in result.err
    result = volens(*revoke(mine, "--yes", "--json"))
    assert json.loads(result.out)["acted"] is True
    assert "You are about to withdraw" in result.err
