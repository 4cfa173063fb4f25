"""The commands of each role in order, and the exit code of each kind of failure."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import threading
import time
from pathlib import Path

import pytest
import yaml

from analytics.readers.observations import Findings, write_observations
from api.client.results import reading_key
from api.client.runs import complete_params
from api.demo.stage import random32
from api.errors import RefusedByPolicy
from governance.broker.custody import Broker
from governance.broker.endpoint import Server
from governance.rules.encoding import canonical_json

PARAMS = {
    "folds": 5,
    "models": {"logistic": ["genes"]},
    "permutations": 19,
    "bootstraps": 0,
    "repeats": 2,
    "seed": 7,
    "outcome": {"horizon_days": 1825, "kind": "distant-metastasis"},
}
EXPRESSION = '{"type":"volens/expression/1","unit":"log2","values":{"zq-genes":"7.5"}}'


def test_a_patient_from_key_to_withdrawal(deployment, volens) -> None:
    dataset = deployment.world.dataset.hex()
    name = f"ada-{os.urandom(3).hex()}"
    made = json.loads(volens("keys", "new", name, "--patient", "--plain", "--json").out)
    assert (deployment.home / "keys" / f"{name}.json").stat().st_mode & 0o777 == 0o600
    assert json.loads(volens("keys", "show", name, "--json").out) == made
    assert volens("enrol", "invite", "--as", "rita", "--for", name).code == 0
    assert "Enrolled in block" in volens("enrol", "submit", "--as", name, "invitation.json").out
    assert volens("enrol", "submit", "--as", name, "invitation.json").code == 3
    assert "agreed to nothing" in volens("consent", "show", "--as", name).out

    granted = volens(
        "consent", "grant", "--as", name, dataset, "--preset", "cancer", "--yes", "--json"
    )
    receipt = json.loads(
        (deployment.home / "receipts" / name / json.loads(granted.out)["receiptFile"]).read_text()
    )
    assert (receipt["subject"], receipt["version"]) == (made["subject"], 1)
    assert json.loads(receipt["terms"])["preset"] == "cancer"
    shown = json.loads(volens("consent", "show", "--as", name, "--json").out)
    assert (shown[0]["status"], "cancer-research" in shown[0]["purposes"]) == ("live", True)
    replaced = volens("consent", "grant", "--as", name, dataset, "--preset", "health", "--yes")
    replacing, done = (
        replaced.out.index("It replaces your earlier consent"),
        replaced.out.index("You agreed to"),
    )
    assert (replaced.code, replacing < done, "allows less" in replaced.out) == (0, True, False)
    assert (
        "allows less"
        in volens("consent", "grant", "--as", name, dataset, "--preset", "care", "--yes").out
    )

    other = random32()
    deployment.world.register_dataset(other)
    volens("consent", "grant", "--as", name, other.hex(), "--preset", "cancer", "--yes")
    result = volens("consent", "revoke", "--as", name, dataset, "--yes")
    assert "You withdrew your consent for this dataset" in result.out
    assert "1 of your other consents" in result.out
    volens("consent", "revoke", "--as", name, other.hex(), "--yes")
    assert (
        json.loads(volens("consent", "show", "--as", name, "--json").out)[0]["status"] == "revoked"
    )
    assert "Nobody has asked" in volens("access", "list", "--as", name).out


def test_a_consent_for_a_dataset_that_does_not_exist_is_refused_before_it_is_signed(
    deployment, volens
) -> None:
    name, before = _enrolled(volens), deployment.head()
    for command in ("grant", "revoke"):
        result = volens("consent", command, "--as", name, "ab" * 32)
        assert (result.code, result.err.splitlines()[0]) == (4, "There is no such dataset.")
    assert deployment.head() == before


def test_only_a_registrar_invites(deployment, volens) -> None:
    name = f"kim-{os.urandom(3).hex()}"
    volens("keys", "new", name, "--patient", "--plain")
    assert volens("enrol", "invite", "--as", "noor", "--for", name).code == 5
    assert volens("enrol", "invite", "--as", name, "--for", name).code == 5
    assert not Path("invitation.json").exists()
    result = volens(
        "enrol", "invite", "--as", "rita", "--subject", "ab" * 32, "--address", "0x" + "ZZ" * 20
    )
    assert (result.code, result.err.splitlines()[0]) == (2, "An address has 0x and 40 hex digits.")


def test_ids_stay_whole_on_a_narrow_screen(deployment, volens, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes the output for a terminal
    monkeypatch.setenv("COLUMNS", "80")
    result = volens("dataset", "list").out
    assert deployment.world.dataset.hex() in result
    monkeypatch.setenv("COLUMNS", "300")
    assert deployment.world.dataset.hex() in volens("dataset", "list").out
    assert "…" not in result
    permits = json.loads(volens("permit", "show", "--json").out)
    monkeypatch.setenv("COLUMNS", "60")
    shown = volens("permit", "show").out
    assert all(permit["permit"] in shown for permit in permits)


def test_a_receipt_of_the_command_line_anchors_the_exported_trail(
    deployment, volens, tmp_path
) -> None:
    name = _enrolled(volens)
    result = json.loads(
        volens(
            "consent",
            "grant",
            "--as",
            name,
            deployment.world.dataset.hex(),
            *("--preset", "cancer", "--yes", "--json"),
        ).out
    )
    assert (
        "python audit/verify.py audit/trail.json"
        in volens("trail", "export", "audit/trail.json").out
    )
    assert Path("audit/verify.py").is_file()
    Path("trail.json").write_bytes(Path("audit/trail.json").read_bytes())
    receipt = deployment.home / "receipts" / name / result["receiptFile"]
    assert volens("verify", "trail.json").code == 8  # nobody else's head: not shown to be valid
    verdict = volens("verify", "trail.json", "--receipt", str(receipt))
    assert (verdict.code, verdict.out.splitlines()[-1]) == (0, "valid")
    head = volens("trail", "head").out.strip()
    assert volens("verify", "trail.json", "--head", head).code == 0
    bundle = json.loads(Path("trail.json").read_text())
    bundle["transactions"].pop()
    Path("cut.json").write_text(json.dumps(bundle))
    assert volens("verify", "cut.json", "--head", head).code == 7


def test_what_is_no_document_is_refused_before_anything_is_signed(deployment, volens) -> None:
    before = len(deployment.anybody().datasets())
    Path("plan.md").write_text("no heading")
    result = volens("dataset", "register", "--as", "omar", "--document", "plan.md")
    assert (result.code, "begin with its title" in result.err) == (2, True)
    assert len(deployment.anybody().datasets()) == before


def test_accounts_have_names_for_people(deployment, volens) -> None:
    sol = deployment.world.people["sol"].address
    named = ("role", "name", sol, "Sol Pereira", "--institution", "Hospital of Porto")
    assert volens(*named, "--as", "noor").code == 5
    assert "Sol Pereira, Hospital of Porto" in volens(*named, "--as", "pia").out
    assert "Sol Pereira, Hospital of Porto" in volens("role", "list").out


def test_committee_and_analyst_by_their_commands(deployment, volens, tmp_path) -> None:
    study = json.dumps({"outcome": PARAMS["outcome"]})
    Path("plan.md").write_text(f"# Relapse from genes\n\nwhat and why\n\n```study\n{study}\n```\n")
    dataset = volens("dataset", "register", "--as", "omar", "--document", "plan.md").out.split()[0]
    assert re.search(f"{dataset} +Relapse from genes", volens("dataset", "list").out)
    assert "what and why" in volens("dataset", "document", dataset).out
    permit = volens(
        "permit", "request", "--as", "noor", dataset, "--document", "plan.md"
    ).out.split()[0]
    assert volens("permit", "vote", "--as", "noor", permit).code == 3
    assert volens("permit", "vote", "--as", "pia", permit, "--yes").code == 0
    Path("params.json").write_text(json.dumps(PARAMS))
    refused = volens("run", "request", "--as", "noor", permit, "--params", "params.json")
    assert (refused.code, "[PermitUndecided]" in refused.err) == (3, True)
    assert "approved" in volens("permit", "vote", "--as", "quinn", permit, "--yes").out
    assert json.loads(volens("permit", "show", permit, "--json").out)["purposes"] == [
        "outside-recipient",
        "cancer-research",
    ]
    shown = volens("permit", "show", permit).out
    assert hashlib.sha256(Path("plan.md").read_bytes()).hexdigest() in shown
    assert volens("permit", "document", permit).out == Path("plan.md").read_text()
    review = volens("permit", "review", permit).out
    assert "willing     fewer than 10 people today" in review
    assert "the code of this service" in review
    assert re.search(r"^  study +\{.*distant-metastasis", review, re.M)
    later = PARAMS | {"outcome": PARAMS["outcome"] | {"horizon_days": 365}}
    Path("later.json").write_text(json.dumps(later))
    other = volens("run", "request", "--as", "noor", permit, "--params", "later.json")
    assert (other.code, "another outcome" in other.err) == (2, True)
    Path("open.md").write_text("# A plan\n\n~~~study\n{}\n~~~\n")
    open_ended = volens("permit", "request", "--as", "noor", dataset, "--document", "open.md")
    assert (open_ended.code, "three backticks" in open_ended.err) == (2, True)
    Path("other.md").write_text("# Another plan\n")
    assert volens("permit", "document", permit, "--send", "other.md").code == 2
    assert volens("permit", "document", permit, "--send", "plan.md").code == 0
    assert re.search(r"^outputs +metrics$", shown, re.M)
    assert re.search(r"^questions +0 of 12 asked$", shown, re.M)
    assert "questions   12 different ones at most, 0 asked so far" in review
    more = ("permit", "request", "--as", "noor", dataset, "--document", "plan.md", "--questions")
    assert volens(*more, "101").code == 2
    wide = volens(*more, "40").out.split()[0]
    assert json.loads(volens("permit", "show", wide, "--json").out)["questions"] == 40
    assert re.search(r"^expiry +20[0-9]{2}-[0-9]{2}-[0-9]{2}$", shown, re.M)
    assert permit in volens("permit", "show").out
    endless = volens("permit", "show", deployment.world.permit().hex()).out  # of the last second
    assert re.search(r"^expiry +for ever$", endless, re.M)
    Path("scan.json").write_text(
        json.dumps({"analysis": "associate", "outcome": PARAMS["outcome"]})
    )
    steps = deployment.head()
    lacks = volens("run", "request", "--as", "noor", permit, "--params", "scan.json")
    assert lacks.code == 2
    assert "data of the kind germline-variants, output of the class genomic" in " ".join(
        lacks.err.split()
    )
    assert deployment.head() == steps
    run = volens("run", "request", "--as", "noor", permit, "--params", "params.json").out.split()[0]
    asked = json.loads(volens("run", "show", run, "--json").out)
    assert asked["state"] == "queued"
    assert asked["resultKey"] == reading_key(deployment.as_("noor"), bytes.fromhex(run)).hex()
    late = volens("run", "watch", run, "--seconds", "1")
    assert (late.code, "still queued" in late.err) == (6, True)
    assert volens("run", "cancel", "--as", "noor", run).code == 0
    assert volens("run", "watch", run).out.split()[-1] == "withdrawn"
    assert volens("run", "cancel", "--as", "noor", run).err.startswith(
        "The run has ended [RunEnded]."
    )


def test_a_permit_says_how_many_questions_it_has_left(deployment, volens) -> None:
    """Before anything is signed, and before the service sends what somebody signed all the same."""
    world, noor = deployment.world, deployment.as_("noor")
    about = noor.permit_review(world.permit().hex())["datasetQuestions"]
    params = complete_params(PARAMS)
    name = world.permit(questions=1, expiry=world.ledger.now() + 86_400)
    permit, first = name.hex(), noor.request_run(name, params, bytes(32), 1)
    world.authorise(bytes.fromhex(first["run"]), deployment.people(3))
    digest = hashlib.sha256(params).hexdigest()
    assert noor.questions(permit) == [{"params": digest, "current": True}]
    assert re.search(r"^questions +1 of 1 asked$", volens("permit", "show", permit).out, re.M)
    review = " ".join(volens("permit", "review", permit).out.split())
    assert f"1 asked so far {about + 1} of at most 1000 on this dataset" in review

    Path("other.json").write_text(json.dumps(PARAMS | {"seed": 8}))
    steps = deployment.head()
    result = volens("run", "request", "--as", "noor", permit, "--params", "other.json")
    assert (result.code, "0 of 1 different questions left" in result.err) == (2, True)
    with pytest.raises(RefusedByPolicy) as refused:
        noor.request_run(name, complete_params(PARAMS | {"seed": 8}), bytes(32), 2)
    assert refused.value.reason == "permit-questions"
    assert deployment.head() == steps
    Path("same.json").write_text(json.dumps(PARAMS))
    assert volens("run", "request", "--as", "noor", permit, "--params", "same.json").code == 0
    # The same question about other records is another one, and this is said before anything is
    # signed.
    ingest = world.register_records()
    assert noor.questions(permit) == [{"params": digest, "current": False}]
    result = volens("run", "request", "--as", "noor", permit, "--params", "same.json")
    assert (result.code, "before the dataset's records changed" in result.err) == (2, True)
    with pytest.raises(RefusedByPolicy) as refused:
        noor.request_run(name, params, bytes(32), 3)
    assert refused.value.reason == "permit-questions"
    world.void_records(ingest)


def test_checkers_view_and_release_and_the_analyst_opens(deployment, volens, tmp_path) -> None:
    sealed = deployment.sealed_output(tmp_path / "key")
    folder = deployment.home / "keys" / "noor.results"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / f"{sealed.run}.key").write_bytes(sealed.key_file.read_bytes())
    (folder / f"{sealed.run}.key").chmod(0o600)
    assert sealed.run in volens("review", "list").out
    assert volens("review", "approve", "--as", "sol", sealed.run).code == 3
    assert volens("result", "open", "--as", "noor", sealed.run).code == 3
    assert json.loads(volens("review", "open", "--as", "sol", sealed.run).out)["result"] == {
        "accuracy": "80"
    }
    assert volens("review", "open", "--as", "tess", sealed.run, "--out", "seen.json").code == 0
    assert "still missing" in volens("review", "approve", "--as", "sol", sealed.run).out
    assert "Released" in volens("review", "approve", "--as", "tess", sealed.run).out
    assert volens("result", "open", "--as", "noor", sealed.run, "--out", "result.json").code == 0
    assert json.loads(Path("result.json").read_text())["disclosure"] == {"suppressed": 3}
    other = volens("result", "open", "--as", "noor", sealed.run, "--gwas-ssf", "scan.tsv")
    assert (other.code, "not an association scan" in other.err) == (2, True)
    assert volens("run", "watch", sealed.run).out.strip() == "released"


def test_a_released_scan_is_saved_as_gwas_ssf(deployment, volens, tmp_path) -> None:
    scan = {
        "analysis": "associate",
        "outcome": {"kind": "distant-metastasis", "horizon_days": 1825},
        "build": "GRCh38",
        "covariates": ["age_years"],
        "components": 2,
        "people": 200,
        "events": 40,
        "rows": [
            {"variant": "22:77:A>G", "z": "-4.1", "step": "0.1", "p": "4.1e-05"},
            {"variant": "3:12345:CT>C", "z": "4.0", "step": "0.2", "p": "6.3e-05"},
        ],
    }
    sealed = deployment.sealed_output(tmp_path / "key", result=canonical_json(scan))
    folder = deployment.home / "keys" / "noor.results"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / f"{sealed.run}.key").write_bytes(sealed.key_file.read_bytes())
    (folder / f"{sealed.run}.key").chmod(0o600)
    for name in ("sol", "tess"):
        assert volens("review", "open", "--as", name, sealed.run).code == 0
        assert volens("review", "approve", "--as", name, sealed.run).code == 0
    ask = ("result", "open", "--as", "noor", sealed.run, "--gwas-ssf")
    assert ".tsv" in volens(*ask, "scan.csv").err
    assert "GWAS-SSF: scan.tsv, described by scan.tsv-meta.yaml" in volens(*ask, "scan.tsv").err
    header, *rows = [line.split("\t") for line in Path("scan.tsv").read_text().splitlines()]
    # Table 1 of the standard: the mandatory eight in their order, then the encouraged ones.
    assert header[:4] == ["chromosome", "base_pair_location", "effect_allele", "other_allele"]
    assert header[4:8] == ["z-score", "standard_error", "effect_allele_frequency", "p_value"]
    assert set(header[8:]) <= {"variant_id", "rsid", "ref_allele", "ci_upper", "ci_lower", "n"}
    assert rows == [
        [*("3", "12345", "C", "CT", "4.0"), "#NA", "#NA", "6.3e-05", "3_12345_CT_C", "#NA", "OA"],
        [*("22", "77", "G", "A", "-4.1"), "#NA", "#NA", "4.1e-05", "22_77_A_G", "#NA", "OA"],
    ]
    described = yaml.safe_load(Path("scan.tsv-meta.yaml").read_text())
    digest = hashlib.md5(Path("scan.tsv").read_bytes(), usedforsecurity=False).hexdigest()
    assert described["data_file_md5sum"] == digest
    assert isinstance(described["date_metadata_last_modified"], datetime.date)
    assert described["genome_assembly"] == "GRCh38"
    assert described["samples"] == [
        {"case_control_study": True, "sample_size": 200, "case_count": 40, "control_count": 160}
    ]
    assert described["file_type"] == "GWAS-SSF v1.1"
    assert "ancestry component 2" in described["adjusted_covariates"]


def test_a_checkers_no_by_its_command(deployment, volens, tmp_path) -> None:
    sealed = deployment.sealed_output(tmp_path / "key")
    assert volens("review", "open", "--as", "tess", sealed.run).code == 0
    assert volens("review", "reject", "--as", "tess", sealed.run, "--reason", "nonsense").code == 2
    assert (
        volens("review", "reject", "--as", "tess", sealed.run, "--reason", "not-permitted").code
        == 0
    )
    ended = volens("run", "watch", sealed.run)
    assert (ended.code, "[not-permitted]" in ended.err) == (3, True)


def test_a_custodian_ingests_a_folder_twice_as_two_versions(deployment, volens, tmp_path) -> None:
    (subject,) = deployment.people()
    folder = tmp_path / "cohort" / subject.hex()
    folder.mkdir(parents=True)
    (folder / "expression.json").write_text(EXPRESSION)
    (folder / "observations.json").write_bytes(write_observations(Findings(grade=2), subject.hex()))
    dataset = deployment.world.dataset.hex()
    for _ in range(2):
        result = volens("dataset", "ingest", "--as", "omar", dataset, "--from", "cohort", "--json")
        assert (result.code, json.loads(result.out)["records"]) == (0, 2)
    deployment.services.projection.sync()
    mine = [
        leaf
        for leaf in deployment.services.projection.records_of(deployment.world.dataset)
        if leaf.subject == subject
    ]
    assert {(record.category, record.version) for record in mine} == {(2, 2), (6, 2)}
    assert not any(
        b"zq-genes" in deployment.services.bucket.get(f"o/{record.ciphertext.hex()}")
        for record in mine
    )
    objects = len(list((deployment.home / "bucket").rglob("*")))
    assert objects > 4
    (folder / "observations.json").write_text("{}")
    bad = volens("dataset", "ingest", "--as", "omar", dataset, "--from", "cohort")
    assert (bad.code, f"{subject.hex()}/observations.json" in bad.err.replace("\n", "")) == (
        2,
        True,
    )
    (folder / "observations.json").unlink()
    stranger = random32().hex()
    folder.rename(folder.with_name(stranger))
    nobody = volens("dataset", "ingest", "--as", "omar", dataset, "--from", "cohort")
    assert (nobody.code, f"Nobody is enrolled under {stranger}" in nobody.err) == (2, True)
    assert "volens enrol invite" in nobody.err
    assert len(list((deployment.home / "bucket").rglob("*"))) == objects
    folder = folder.with_name(stranger)
    (folder / "secrets.txt").write_text("x")
    assert volens("dataset", "ingest", "--as", "omar", dataset, "--from", "cohort").code == 2


def test_a_custodian_ingests_assays_and_publishes_gene_sets(deployment, volens, tmp_path) -> None:
    (subject,) = deployment.people()
    dataset = deployment.world.dataset.hex()
    (tmp_path / "m.tsv").write_text(f"column\t{subject.hex()}\nzq-mir-1\t1.5\nzq-mir-2\t\n")
    for _ in range(2):
        result = volens(
            *("dataset", "ingest", "--as", "omar", dataset, "--json"),
            *("--assay", "mirna=m.tsv", "--assay", "methylation=m.tsv"),
        )
        assert (result.code, json.loads(result.out)["records"]) == (0, 2)
    deployment.services.projection.sync()
    mine = [
        leaf
        for leaf in deployment.services.projection.records_of(deployment.world.dataset)
        if leaf.subject == subject
    ]
    # Two records of one category, each in its second version.
    assert sorted((record.category, record.version) for record in mine) == [(6, 2), (6, 2)]
    assert not any(
        b"zq-mir" in deployment.services.bucket.get(f"o/{record.ciphertext.hex()}")
        for record in mine
    )
    (tmp_path / "go.gmt").write_text("SET_A\tx\tTP53\tESR1\n")
    shown = volens("dataset", "features", dataset, "--gene-sets", "go.gmt", "--as", "omar")
    assert shown.code == 0
    digest = hashlib.sha256((tmp_path / "go.gmt").read_bytes()).hexdigest()
    rows = json.loads(volens("dataset", "features", dataset, "--json").out)
    assert {row["name"] for row in rows} >= {"methylation", "mirna", digest}
    (tmp_path / "go.gmt").write_text("SET_A\tx\n")
    bad = volens("dataset", "features", dataset, "--gene-sets", "go.gmt", "--as", "omar")
    assert (bad.code, "line 1 has no genes" in " ".join(bad.err.split())) == (2, True)


def test_rebuild_compares_and_names_an_edited_row(deployment, volens) -> None:
    from sqlalchemy import update

    from governance.readmodel.tables import Consent

    (subject,) = deployment.people()
    deployment.anybody().permits()
    assert volens("rebuild", "--compare").code == 0
    with deployment.services.engine.begin() as connection:
        connection.execute(
            update(Consent).where(Consent.subject == subject.hex()).values(purposes=4)
        )
    result = volens("rebuild", "--compare")
    assert (result.code, subject.hex() in result.out) == (7, True)
    assert volens("rebuild").code == 0
    assert volens("rebuild", "--compare").code == 0


def test_doctor_describes_the_deployment(deployment, volens) -> None:
    deployment.worker_alive()
    result = volens("doctor")
    assert result.code == 0
    assert "1 broker" in result.out
    assert "holds no role" in result.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nonsense",), 2),
        (("run", "show", "xyz"), 2),
        (("run", "show", "ab" * 32), 4),
        (("keys", "show", "../../etc/passwd"), 2),
        (("keys", "show", "no-such-person"), 4),
        (("consent", "show", "--as", "http://evil.example"), 2),
        (("consent", "show", "--as", "a\x1b[31mb"), 2),
        (("consent", "show", "--as", "noor"), 2),
        (("consent", "grant", "--as", "noor", "ab" * 32, "--preset", "everything"), 2),
        (("trail", "denials", "--as", "noor"), 5),
        (("access", "list", "--as", "noor", "--subject", "ab" * 32), 5),
        (("access", "list", "--as", "vera", "--subject", "ab" * 32), 4),
        (("verify", "no-such-file.json"), 2),
        (("verify", "/etc/hostname", "--receipt", "no-such-file.json"), 2),
        (("verify", "/etc/hostname", "--head", "zz"), 2),
        (("verify", "/etc/hostname"), 7),
        (("dataset", "register", "--as", "omar", "--document", "no-such-file.md"), 2),
        (("dataset", "ingest", "--as", "omar", "ab" * 32, "--from", "gse7390"), 2),
        (("run", "request", "--as", "noor", "ab" * 32, "--params", "no-such-file.json"), 2),
    ],
)
def test_each_failure_has_its_code_and_a_plain_sentence(
    deployment, volens, arguments: tuple[str, ...], code: int
) -> None:
    result = volens(*arguments)
    assert result.code == code, result
    assert str(deployment.home) not in result.out + result.err
    assert ".py" not in result.err


def test_a_missing_key_is_named(deployment, volens) -> None:
    assert volens("keys", "show", "nobody-here").err.startswith(
        "There is no key named nobody-here."
    )


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        '{"a":1,"a":1}',
        '{"folds":NaN}',
        '{"model":"logistic"}',
        "[]",
        json.dumps({**PARAMS, "folds": 99}),
    ],
)
def test_bad_parameters_are_refused_before_they_are_signed(deployment, volens, text: str) -> None:
    permit = deployment.world.permit().hex()
    before = deployment.head()
    Path("params.json").write_text(text)
    assert volens("run", "request", "--as", "noor", permit, "--params", "params.json").code == 2
    assert deployment.head() == before


def test_an_unavailable_service_has_its_exit_code(deployment, volens, monkeypatch) -> None:
    monkeypatch.setenv("VOLENS_API", "http://127.0.0.1:9")
    result = volens("dataset", "list")
    assert (result.code, result.err.splitlines()[0]) == (6, "The service does not answer.")


def test_a_locked_key_asks_for_its_password(deployment, volens, monkeypatch) -> None:
    from chain.wallets import Wallet, save

    name = f"real-{os.urandom(3).hex()}"
    save(
        Wallet.new(),
        deployment.home / "keys" / f"{name}.json",
        {"subject": random32().hex()},
        "open sesame",
    )
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "wrong")
    assert volens("consent", "show", "--as", name).code == 2
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "open sesame")
    assert (
        volens("consent", "show", "--as", name).code == 5
    )  # the key opens; nobody is enrolled with it


def test_an_internal_failure_is_one_sentence(deployment, volens, monkeypatch) -> None:
    from api.client.client import Client

    def fail(_: Client) -> None:
        raise KeyError("secret-value")

    monkeypatch.setattr(Client, "datasets", fail)
    result = volens("dataset", "list")
    assert (result.code, "secret-value" in result.err) == (70, False)


def _enrolled(volens) -> str:
    """The name of a new person who is enrolled."""
    name = f"eva-{os.urandom(3).hex()}"
    volens("keys", "new", name, "--patient", "--plain")
    volens("enrol", "invite", "--as", "rita", "--for", name)
    assert volens("enrol", "submit", "--as", name).code == 0
    return name


def test_records_are_not_sealed_to_a_key_broker_without_its_role(
    deployment, volens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever answers at the broker's address would get every share of every key."""
    identity = dict(deployment.world.ledger.identity)
    node = str(deployment.world.ledger.node.url)
    stranger = Broker(tmp_path / "stranger", node, identity, lambda: int(time.time()))
    ingest = ("dataset", "ingest", "--as", "omar", deployment.world.dataset.hex(), "--from", "none")
    with Server(0, stranger) as endpoint:
        threading.Thread(target=endpoint.serve_forever, daemon=True).start()
        monkeypatch.setenv("VOLENS_BROKER_URL", f"http://127.0.0.1:{endpoint.server_address[1]}")
        refused = volens(*ingest)
        endpoint.shutdown()
    assert refused.code != 0
    assert "key broker does not hold its role" in refused.err
    monkeypatch.delenv("VOLENS_BROKER_URL")
    assert "folder holds no records" in volens(*ingest).err
