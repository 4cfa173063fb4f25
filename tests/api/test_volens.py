"""`import volens`: whose ledger it is, lists as frames, runs and results, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

import volens
from api.client.results import keep_pair, reading_key
from api.errors import NotServing, NotThere, RefusedByPolicy, UsageError, VerificationFailed
from chain.errors import ChainError
from chain.wallets import Wallet, save
from governance.rules.ledger_data import identity_id
from governance.rules.trail import Replay
from volens.result import Outcome
from volens.rows import moment

PARAMS = {
    "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
    "models": {"logistic": ["genes"]},
    "folds": 2,
    "repeats": 2,
    "permutations": 19,
    "bootstraps": 0,
}
RESULT = {
    "type": "volens/result/3",
    "analysis": "evaluate",
    "rows": [
        {
            "model": "svm",
            "feature_set": "genes",
            "auc": 71,
            "auc_interval": [62, 80],
            "p": "0.0500",
        },
        {"model": "<b>", "feature_set": "clinical", "p": "0.9091", "f1": 50},
    ],
    "curves": [
        {"model": "svm", "feature_set": "genes", "roc": [[0, 0], [100, 100]]},
        {
            "model": "svm",
            "feature_set": "clinical",
            "calibration": {"groups": [[35, 40], [60, 55]], "slope": "0.9"},
        },
    ],
}


@pytest.fixture
def fingerprint(deployment) -> str:
    return identity_id(deployment.world.ledger.identity).hex()


@pytest.fixture
def noor(deployment) -> volens.Connection:
    """By her key in a home folder that has the ledger identity, as after `volens join`."""
    return volens.connect(deployment.url, deployment.home / "keys" / "noor.json")


@pytest.fixture
def sealed(deployment, tmp_path):
    """A sealed run of hers; its key is where the commands keep it."""
    made = deployment.sealed_output(tmp_path / "result.key")
    folder = deployment.home / "keys" / "noor.results"
    folder.mkdir(mode=0o700, exist_ok=True)
    (tmp_path / "result.key").rename(folder / f"{made.run}.key")
    return made


def release(deployment, run: str, folder: Path) -> None:
    for name in ("sol", "tess"):
        checker = deployment.as_(name)
        checker.view_output(run, 1, keep_pair(folder / name))
        checker.approve(run)


def test_a_result_whose_permit_is_suspended_says_so(deployment, noor, sealed, tmp_path) -> None:
    release(deployment, sealed.run, tmp_path)
    run = noor.run(sealed.run)
    assert run.result().metrics() is not None
    assert deployment.anybody().run(sealed.run)["shut"] is None
    deployment.as_("dora").suspend(run.raw["permit"], "Data left.")
    (listed,) = [row for row in deployment.anybody().runs() if row["run"] == sealed.run]
    assert listed["state"] == "released"
    assert "its permit is suspended" in listed["shut"]
    with pytest.raises(RefusedByPolicy, match="no key to it leaves any more") as refused:
        run.result()
    assert refused.value.reason == "permit-suspended"
    assert "ask for another permit" in refused.value.hint


def test_a_ledger_that_nobody_compared_is_shown_and_refused(
    deployment, fingerprint, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("VOLENS_HOME", str(tmp_path))
    with pytest.raises(UsageError) as refused:
        volens.connect(deployment.url)
    shown = str(refused.value)
    assert shown.replace("\n", "").replace(" ", "").endswith(fingerprint)
    assert "compare it with your invitation" in "".join(refused.value.__notes__)
    volens.connect(f"{deployment.url}#{fingerprint}").datasets()
    assert volens.connect(deployment.url, fingerprint=fingerprint).fingerprint == fingerprint


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({"fingerprint": "ab" * 32}, VerificationFailed),
        ({"fingerprint": ""}, UsageError),
        ({"fingerprint": "nonsense"}, UsageError),
        ({"identity": {}}, UsageError),
        ({"identity": "no-such-file.json"}, UsageError),
    ],
)
def test_another_ledger_is_refused(deployment, named: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        volens.connect(deployment.url, **named)


def test_a_kept_identity_is_compared_with_what_the_service_shows(
    deployment, fingerprint, tmp_path
) -> None:
    identity = dict(deployment.world.ledger.identity)
    other = identity | {"salt": "ab" * 32}
    (tmp_path / "identity.json").write_text(json.dumps(other))
    save(Wallet.new(), tmp_path / "keys" / "eve.json")
    with pytest.raises(VerificationFailed):
        volens.connect(deployment.url, tmp_path / "keys" / "eve.json")
    with pytest.raises(VerificationFailed):
        volens.connect(f"{deployment.url}#{fingerprint}", identity=other)
    with pytest.raises(UsageError):
        volens.connect(f"{deployment.url}#{fingerprint}", fingerprint="ab" * 32)
    kept = volens.connect(deployment.url, identity=deployment.home / "identity.json")
    assert kept.fingerprint == fingerprint


def test_an_address_without_encryption_is_for_this_machine_only() -> None:
    with pytest.raises(UsageError, match="https"):
        volens.connect("http://volens.example.org#" + "ab" * 32)


def test_a_locked_key_asks_for_its_password(deployment, tmp_path, monkeypatch) -> None:
    wallet, path = Wallet.new(), tmp_path / "lena.json"
    save(wallet, path, {}, "open sesame")
    asked = []
    monkeypatch.setattr(
        "volens.connection.getpass", lambda text: asked.append(text) or "open sesame"
    )
    identity = deployment.world.ledger.identity
    opened = volens.connect(deployment.url, path, identity=identity)
    assert asked == ["Password of lena: "]
    assert wallet.key.hex() not in repr(opened) + repr(vars(opened))


def test_what_is_no_key_is_refused(deployment, tmp_path) -> None:
    (tmp_path / "eve.json").write_bytes(b"\xff")
    (tmp_path / "deep.json").write_bytes(b"[" * 200_000)
    (tmp_path / "folder.json").mkdir()
    unreadable = [(name, "cannot be read") for name in ("eve", "deep", "folder")]
    for name, fact in (*unreadable, ("nobody", "no key named nobody")):
        with pytest.raises(ChainError, match=fact):
            volens.connect(deployment.url, tmp_path / f"{name}.json")
    with pytest.raises(UsageError, match="the key is no path of a file"):
        volens.connect(deployment.url, 5)  # type: ignore[arg-type]


def test_parameters_that_contain_themselves_are_refused(deployment, noor) -> None:
    params: dict[str, object] = dict(PARAMS)
    params["models"] = params
    with pytest.raises(UsageError, match="contain themselves"):
        noor.request_run(deployment.world.permit().hex(), params)


def test_the_package_says_its_release() -> None:
    assert volens.__version__ == version("volens")


def test_lists_are_frames_with_typed_columns(deployment, noor) -> None:
    permit = deployment.world.permit().hex()
    datasets, permits = noor.datasets(), noor.permits()
    mine = next(row for row in permits if row.permit == permit)
    assert (mine.status, mine.outputs, mine.expiry) == ("approved", ("metrics",), None)  # no end
    dated = replace(mine, expiry=moment(1_800_000_000))
    frame = volens.Rows(volens.Permit, [*permits, dated]).frame()
    assert str(frame.expiry.dtype) == "datetime64[s, UTC]"
    assert str(frame.expiry.iloc[-1]) == "2027-01-15 08:00:00+00:00"
    assert pd.isna(frame.expiry.iloc[permits.index(mine)])
    assert datasets.frame().records.dtype == "int64"
    assert list(frame.columns) == list(volens.Permit.__dataclass_fields__)
    head = noor.trail_head()
    assert (head.count, str(head.frame().time.dtype)) == (
        deployment.head()[0],
        "datetime64[s, UTC]",
    )
    empty = volens.Rows(volens.Access, []).frame()
    assert (len(empty), str(empty.time.dtype), empty.granted.dtype) == (
        0,
        "datetime64[s, UTC]",
        "bool",
    )


def test_a_patient_reads_the_uses_of_her_own_data(deployment, tmp_path, noor) -> None:
    sealed = deployment.sealed_output(tmp_path / "key")
    subject = deployment.world.enrol(1)[0]
    save(deployment.world.subjects[subject], tmp_path / "ada.json", {"subject": subject.hex()})
    ada = volens.connect(
        deployment.url, tmp_path / "ada.json", identity=deployment.world.ledger.identity
    )
    assert ada.accesses() == []
    with pytest.raises(UsageError, match="no patient"):
        noor.accesses()
    used = next(
        subject
        for subject in deployment.world.subjects
        if any(row["run"] == sealed.run for row in deployment.patient(subject).accesses())
    )
    save(deployment.world.subjects[used], tmp_path / "eva.json", {"subject": used.hex()})
    eva = volens.connect(
        deployment.url, tmp_path / "eva.json", identity=deployment.world.ledger.identity
    )
    (row,) = (row for row in eva.accesses() if row.run == sealed.run)
    assert (row.granted, row.state, row.reason) == (True, "sealed", None)


def test_a_run_is_requested_with_a_key_of_its_own_and_cancelled(deployment, noor) -> None:
    permit = deployment.world.permit().hex()
    runs = [noor.request_run(permit, PARAMS) for _ in range(2)]
    run, keys = runs[0], {run.raw["resultKey"] for run in runs}
    assert (len(keys), run.state) == (2, "queued")
    assert run.raw["resultKey"] == reading_key(deployment.as_("noor"), bytes.fromhex(run.id)).hex()
    assert any(row.run == run.id for row in noor.runs())
    with pytest.raises(NotServing, match="still queued"):
        run.wait(progress=False, seconds=0)
    with pytest.raises(NotThere, match="no released result: it is queued"):
        run.result()
    assert run.cancel().state == "withdrawn"
    with pytest.raises(RefusedByPolicy, match="cancelled"):
        run.wait()


@pytest.mark.parametrize("params", [{"folds": 99}, {}, PARAMS | {"models": {"oracle": ["genes"]}}])
def test_bad_parameters_are_refused_before_they_are_signed(deployment, noor, params: dict) -> None:
    permit, head = deployment.world.permit().hex(), deployment.head()
    with pytest.raises(UsageError, match="parameters"):
        noor.request_run(permit, params)
    assert deployment.head() == head


def test_nobody_opens_a_result_without_a_folder_for_its_receipt(deployment, tmp_path) -> None:
    wallet, identity = deployment.world.people["noor"], deployment.world.ledger.identity
    noor = volens.connect(deployment.url, wallet, identity=identity)
    made = deployment.sealed_output(tmp_path / "a.key")
    release(deployment, made.run, tmp_path)
    with pytest.raises(UsageError, match="where receipts are kept"):
        noor.run(made.run).result()
    with pytest.raises(UsageError, match="64 hex digits"):
        noor.run("../identity")


def test_a_named_folder_keeps_keys_and_receipts(deployment, tmp_path) -> None:
    noor = volens.connect(
        deployment.url,
        deployment.world.people["noor"],
        identity=deployment.world.ledger.identity,
        folder=tmp_path,
        broker=deployment.settings.address("broker"),
    )
    made = deployment.sealed_output(tmp_path / "a.key")
    (tmp_path / "a.key").rename(tmp_path / f"{made.run}.key")
    release(deployment, made.run, tmp_path)
    assert noor.run(made.run).result().receipt_file.parent == tmp_path / "receipts"


def test_a_released_result_opens_and_its_receipt_verifies(
    deployment, noor, sealed, tmp_path
) -> None:
    run = noor.run(sealed.run).wait(progress=False)
    assert run.state == "sealed"
    with pytest.raises(NotThere, match="it is sealed"):
        run.result()
    with pytest.raises(NotServing, match="still sealed"):
        run.wait(progress=False, seconds=0, until="released")
    release(deployment, sealed.run, tmp_path)
    result = run.wait(progress=False, until="released").result()
    assert (result.raw, result.disclosure) == ({"accuracy": "80"}, {"suppressed": 3})
    assert result.receipt()["run"] == sealed.run
    assert result.receipt_file.parent == deployment.home / "receipts" / "noor"
    Replay(noor._client.trail()).receipt(result.receipt_file.read_bytes())
    saved = json.loads(result.save(tmp_path / "result.json").read_text())
    assert set(saved) == {"result", "disclosure", "salt"}
    (deployment.home / "keys" / "noor.results" / f"{sealed.run}.key").unlink()
    with pytest.raises(NotThere, match="key that opens this output is not here"):
        run.result()


def test_another_output_than_the_sealed_one_is_refused(deployment, noor, tmp_path) -> None:
    made = deployment.sealed_output(tmp_path / "key", commit_to=b"something else")
    folder = deployment.home / "keys" / "noor.results"
    folder.mkdir(mode=0o700, exist_ok=True)
    (tmp_path / "key").rename(folder / f"{made.run}.key")
    release(deployment, made.run, tmp_path)
    with pytest.raises(VerificationFailed, match="not the one that was sealed"):
        noor.run(made.run).result()


def test_a_run_that_was_rejected_ends_with_its_reason(deployment, noor, sealed, tmp_path) -> None:
    tess = deployment.as_("tess")
    tess.view_output(sealed.run, 1, keep_pair(tmp_path / "tess"))
    tess.reject(sealed.run, 97)
    run = noor.run(sealed.run)
    with pytest.raises(RefusedByPolicy) as refused:
        run.wait()
    assert refused.value.reason == "not-permitted"
    assert str(run.reason) in str(refused.value)


def test_metrics_are_numbers_and_withheld_ones_are_nan() -> None:
    metrics = Outcome(RESULT, {}).metrics()
    assert list(metrics.columns[:6]) == ["model", "feature_set", "auc", "auc_low", "auc_high", "p"]
    assert metrics.loc[0, ["auc", "auc_low", "auc_high", "p"]].tolist() == [71, 62, 80, 0.05]
    assert pd.isna(metrics.auc[1])
    assert metrics.dtypes[["auc", "auc_low", "p", "f1"]].map(str).tolist() == ["float64"] * 4
    curves = Outcome(RESULT, {}).curves()
    assert curves.groupby("curve").size().to_dict() == {"calibration": 2, "roc": 2}
    assert (curves[["x", "y"]].to_numpy().tolist()[2:]) == [[35, 40], [60, 55]]
    older = json.loads(json.dumps(RESULT).replace("feature_set", "layer"))
    assert Outcome(older, {}).metrics().equals(metrics)
    assert list(Outcome({"rows": []}, {}).curves().columns) == [
        "model",
        "feature_set",
        "curve",
        "x",
        "y",
    ]


def test_what_a_notebook_shows_is_escaped(noor, sealed) -> None:
    attack = "<script>alert(1)</script>"
    row = volens.RunSummary("ab" * 32, attack, attack, "denied", attack, 0, 1)
    run = noor.run(sealed.run)
    run.raw |= {"failure": attack, "state": attack}
    shown = [
        volens.Rows(volens.RunSummary, [row] * 30)._repr_html_(),
        row._repr_html_(),
        run._repr_html_(),
        Outcome(RESULT, {})._repr_html_(),
        Outcome(RESULT | {"analysis": attack}, {})._repr_html_(),
    ]
    assert "and 10 more: .frame() has all" in shown[0]
    for html in shown:
        assert "<script" not in html
        assert "<b>" not in html
        assert "&lt;" in html


def test_a_rehearsal_needs_no_permit(noor, deployment, monkeypatch) -> None:
    """A real one is in the notebook of the documents, whose cells tests/pages executes."""
    asked = []

    def rehearse_here(settings, params: bytes, people: int, tell) -> dict[str, object]:
        asked.append((settings.home, json.loads(params)["folds"], people))
        spent = {"seconds": {"parse": "0.5", "compute": "1.0"}}
        return {"result": json.dumps(RESULT), "disclosure": "{}", "record": spent, "note": "none"}

    monkeypatch.setattr("api.worker.rehearsal.rehearse_here", rehearse_here)
    head = deployment.head()
    done = noor.rehearse(PARAMS, people=40, progress=False)
    assert (len(done.metrics()), done.seconds) == (2, 1.5)
    assert (asked, deployment.head()) == ([(deployment.home, 2, 40)], head)
    for people in (3, 9999):
        with pytest.raises(UsageError, match="10 to 2500"):
            noor.rehearse(PARAMS, people=people)


def test_it_loads_no_library_of_notebooks_before_a_frame() -> None:
    program = (
        "import sys, volens; print({'pandas', 'IPython', 'numpy', 'torch', 'fastapi', 'sqlalchemy'}"
        " & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_without_pandas_a_frame_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="not installed") as lacking:
        volens.Rows(volens.Dataset, []).frame()
    assert "volens[notebook]" in lacking.value.hint


def test_rows_are_frozen() -> None:
    row = volens.Dataset("a", "b", "c", 1)
    with pytest.raises(AttributeError):
        row.records = 2  # type: ignore[misc]
    assert replace(row, records=2).records == 2
