"""With --json a failure is one JSON object, the last line on standard error; the exit code is the
same.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ANY = "ab" * 32
NO_PERMIT = "There is no such permit."


def failed(result: object) -> dict[str, object]:
    document = json.loads(result.err.splitlines()[-1])
    assert set(document) == {"error", "exit"}
    assert set(document["error"]) == {"kind", "detail", "hint", "reason"}
    assert document["exit"] == result.code
    return dict(document["error"])


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "detail"),
    [
        ("nonsense", 2, "usage", "No such command 'nonsense'."),
        ("run", 2, "usage", "No such option: --json"),
        ("run show", 2, "usage", "Missing argument 'RUN'."),
        ("result open --as noor", 2, "usage", "No such option: --json"),
        ("run rehearse --params x --people many", 2, "usage", "Invalid value for '--people'"),
        ("run rehearse --params x --people 1", 2, "usage", "Invalid value for '--people'"),
        ("run rehearse --params x.json", 2, "usage", "There is no such file of parameters."),
        ("run show xyz", 2, "usage", "An id has 64 hex digits, lowercase."),
        (f"consent grant --as noor {ANY}", 2, "usage", "This key belongs to no patient."),
        ("keys show nobody-here", 4, "not-found", "There is no key named nobody-here."),
        (f"permit show {ANY}", 4, "not-found", NO_PERMIT),
        (f"run show {ANY}", 4, "not-found", "There is no such run."),
        ("trail denials --as noor", 5, "not-authorised", ""),
        (f"permit vote --as noor {ANY}", 4, "not-found", NO_PERMIT),
    ],
)
def test_a_failure_is_one_object_for_programs(
    volens, arguments: str, code: int, kind: str, detail: str
) -> None:
    for_people = volens(*arguments.split())
    result = volens(*arguments.split(), "--json")
    assert (result.code, result.out) == (code, "")
    if detail != "No such option: --json":
        assert for_people.code == code
    error = failed(result)
    assert error["kind"] == kind
    assert str(error["detail"]).startswith(detail)
    assert error["hint"]
    assert result.err.count("\n") == 1


def test_a_refusal_names_its_rule(deployment, volens) -> None:
    permit = deployment.world.permit(approve=()).hex()
    Path("params.json").write_text(
        json.dumps({"outcome": {"kind": "distant-metastasis", "horizon_days": 1825}})
    )
    result = volens("run", "request", "--as", "noor", permit, "--params", "params.json", "--json")
    error = failed(result)
    assert (result.code, error["kind"], error["reason"]) == (3, "refused", "PermitUndecided")


def test_a_service_that_is_down(volens, monkeypatch) -> None:
    monkeypatch.setenv("VOLENS_API", "http://localhost:9")
    error = failed(volens("dataset", "list", "--json"))
    assert (error["kind"], error["reason"]) == ("unavailable", None)


def test_a_program_error_shows_no_value(volens, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret-value")

    monkeypatch.setattr("api.client.client.Client.datasets", fail)
    result = volens("dataset", "list", "--json")
    error = failed(result)
    assert (result.code, error["kind"], "secret-value" in result.err) == (70, "internal", False)
    assert "list_datasets:" in str(error["hint"])


def test_an_interrupted_command(volens, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("api.client.client.Client.datasets", interrupt)
    result = volens("dataset", "list", "--json")
    assert (result.code, failed(result)["kind"]) == (130, "interrupted")


def test_an_answer_of_no_is_told_to_programs_too(deployment, volens, monkeypatch) -> None:
    from chain.wallets import save

    (subject,) = deployment.people(1)
    wallet = deployment.world.subjects[subject]
    save(wallet, deployment.home / "keys" / "naja.json", {"subject": subject.hex()})
    dataset = deployment.world.dataset.hex()
    command = ("consent", "revoke", "--as", "naja", dataset)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert (volens(*command).code, volens(*command).err.splitlines()[-1]) == (
        1,
        "Nothing was signed.",
    )
    assert failed(volens(*command, "--json"))["kind"] == "declined"


def test_the_program_itself_keeps_standard_output_clean(tmp_path: Path) -> None:
    """With a question that nobody answers before it."""
    program = str(Path(sys.executable).with_name("volens"))
    done = subprocess.run(
        [program, "keys", "new", "ada", "--json"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    document = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, done.stdout) == (1, "")
    assert document == {
        "error": {"kind": "declined", "detail": "Aborted.", "hint": None, "reason": None},
        "exit": 1,
    }
