"""Three people on the pages in a real browser: patient, analyst, auditor.

In this order, on one home.
"""

from __future__ import annotations

import html
import json
import re
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from clicks import Clicks
from extent import extent
from playwright.sync_api import expect
from signed_forms import open_form, sign_in_with

from analytics.care.rule_set import rule_set_hash
from api.client.plans import appointment, open_as_clinician, open_as_patient, open_sealed, sign_plan
from api.client.results import open_output, run_receipt, shown
from api.demo.stage import MemoryOutbox
from api.errors import NotThere, UsageError
from chain.ledger import Ledger, message_tuple
from chain.vocabulary import OutputClass, Purpose
from chain.wallets import Wallet
from governance import care, verify
from governance.rules.encoding import canonical_json


def test_a_patient_agrees_sees_the_use_stops_and_keeps_her_receipts(
    deployment, visit, tmp_path: Path
) -> None:
    page = visit.act_as("Ada")
    expect(page.get_by_role("heading", level=1)).to_have_text("Who can use my data now")
    expect(page.locator("main")).to_contain_text("Nobody has used your data.")

    page.get_by_role("link", name="Give permission").click()
    expect(page.locator("input:checked")).to_have_count(0)  # nothing is chosen for her
    page.get_by_role("button", name="Show what I would agree to").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Give permission")  # and it stays so
    page.get_by_label("Cancer research, not for profit, two years").check()
    page.get_by_role("button", name="Show what I would agree to").click()
    expect(page.get_by_role("heading", level=2).first).to_have_text(
        "You are about to agree to cancer research, not for profit, two years."
    )
    expect(page.locator("main")).to_contain_text("your genome and genetic test results")
    expect(
        page.get_by_text("a result that was released before you stopped stays released")
    ).to_be_visible()  # the notice, unasked
    expect(page.get_by_role("heading", name="Sign this?")).to_be_visible()
    page.get_by_role("button", name="Yes, sign", exact=True).click()
    expect(page.locator("#done")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download my receipt").click()
    receipt = Path(saved.value.path()).read_bytes()
    assert receipt == canonical_json(json.loads(receipt))
    assert json.loads(receipt)["signedMessage"]["subject"] == deployment.subjects[0].hex()
    assert json.loads(receipt)["terms"]
    verdicts = verify.examine(
        json.dumps(deployment.client("vera").trail()).encode(), receipts=[receipt]
    )
    assert [(word, verdicts[word][0]) for word in verdicts] == [
        ("consistent", "ok"),
        ("signed", "ok"),
        ("anchored", "ok"),
    ]

    first = deployment.request("first", deployment.short)
    deployment.await_run(first, "sealed")
    page.get_by_role("link", name="My data").first.click()
    card = page.locator(".timeline > li")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("Your data was used")
    expect(card).to_contain_text(
        "cancer research: How well can one predict whether a tumour spreads within 5 years?"
    )
    expect(card).to_contain_text("the analyst Noor")
    deployment.picture(page, "patient", 930)

    deployment.request("second", deployment.long)
    deployment.await_run(deployment.runs["second"], "computing")
    page = visit.open("/me")  # as after signing in
    with Clicks("patient", "sees who used her data") as clicks:
        expect(page.locator(".timeline > li").first).to_contain_text("Your data was used")
    clicks.agree()
    with Clicks("patient", "stops all of it") as stops:
        page.get_by_role("link", name="Stop all").click()
        expect(page.locator(".effects")).to_contain_text("cannot be called back")
        expect(page.get_by_role("heading", name="Stop all of it?")).to_be_visible()
        page.get_by_role("button", name="Yes, sign and stop all").click()
    stops.agree()
    expect(page.get_by_role("heading", level=1)).to_have_text("You stopped it")
    expect(page.locator("#stopped h2")).to_contain_text(
        "everything that can be stopped has stopped", timeout=15_000
    )
    effects = page.locator("#stopped .effects")
    expect(effects).to_contain_text("its release")
    expect(effects).to_contain_text("was stopped after")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download the receipt").click()
    kept = json.loads(Path(saved.value.path()).read_bytes())
    assert kept["type"] == "volens/withdrawal-receipt/2"
    assert kept["settled"] is True
    assert len(kept["effects"]) == 2
    assert kept["receipt"] == deployment.receipt_of(kept["receipt"]["tx"])
    page.get_by_role("link", name="My data").first.click()
    expect(page.locator("main")).to_contain_text("You stopped it. Nobody may use it.")
    expect(page.locator(".timeline .pill.held-back")).to_have_count(1)
    expect(page.locator(".timeline")).to_contain_text(
        "the ledger refuses to release it with you in it"
    )


def test_the_analyst_follows_a_run_to_its_result(deployment, visit, tmp_path: Path) -> None:
    page = visit.act_as("Noor")
    expect(page.get_by_role("heading", level=1)).to_have_text("What waits for you")
    page.get_by_role("link", name="Runs").first.click()
    page.get_by_role("link", name=deployment.runs["second"][:8]).click()
    expect(page.locator("#state .pill").first).to_have_text("computing")
    lines = page.locator("#log li")
    before = lines.count()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.wait_for_function(
        "n => document.querySelectorAll('#log li').length > n", arg=before
    )  # it goes on by itself
    numbers = lines.evaluate_all("all => all.map((one) => one.value)")
    assert numbers == list(range(1, len(numbers) + 1)), "a line of the log was lost or shown twice"
    third = deployment.request("third", deployment.wide, drawn=True)
    visit.open(f"/runs/{third}")
    expect(page.locator("#state")).to_contain_text("Waiting for a worker: 1 before it.")
    visit.open(f"/runs/{deployment.runs['second']}")
    page.get_by_role("button", name="Cancel this run").click()
    expect(page.locator("#state .pill").first).to_have_text(
        "cancelled by the analyst", timeout=15_000
    )
    expect(page.get_by_role("button", name="Cancel this run")).to_be_disabled()

    visit.open(f"/runs/{third}")
    expect(page.locator("#state .pill").first).to_have_text("waits for checkers")
    deployment.release(third)
    expect(page.locator("#state .pill").first).to_have_text("released")
    page.reload()
    expect(page.locator(".stepper li.done")).to_have_count(5)
    record = page.get_by_role("table", name="Attempts")
    expect(record).to_contain_text(re.compile(r"(cpu|cuda) \(.+\)\s*\d+\.\d\s*\d+ MiB"))

    page.get_by_text("Open it on my own machine").click()
    noor = deployment.client("noor")
    opened = shown(
        open_output(noor, deployment.broker(), noor.run(third), deployment.result_key(third))
    )
    own, altered = tmp_path / "result.json", tmp_path / "altered.json"
    own.write_text(json.dumps(opened))
    opened["result"]["folds"] = 9
    altered.write_text(json.dumps(opened))
    page.get_by_label("The opened result").set_input_files(altered)
    page.get_by_role("button", name="Check and show it").click()
    expect(page.locator("[data-act=open-result] [role=alert]")).to_contain_text(
        "not the one that was sealed"
    )
    page.get_by_label("The opened result").set_input_files(own)
    page.get_by_role("button", name="Check and show it").click()
    expect(page.locator("#result")).to_contain_text("What was withheld, and why")

    page.get_by_role("link", name="Open the result").click()
    expect(page.locator("main")).to_contain_text("byte for byte what two checkers released")
    expect(page.get_by_role("table", name="Metrics")).to_contain_text("logistic")
    # Whether a calibration may be printed follows from counts with noise, whose key is drawn.
    curves = opened["result"]["curves"]
    for plot, part in (("ROC curve", "roc"), ("Calibration", "calibration")):
        printed = sum(part in curve for curve in curves)
        expect(page.get_by_role("img", name=plot)).to_have_count(printed)
    for plot in ("AUC of each model", "ROC curve"):
        drawn = page.get_by_role("img", name=plot).first
        expect(drawn).to_be_visible()
        assert drawn.bounding_box()["width"] > 300, plot
    expect(page.locator(".finding").first).to_contain_text(
        "(interval above 50, p at most 0.05): logistic on genes"
    )
    deployment.picture(page, "run", 1230)
    assert not list(deployment.home.rglob("result.json")), "what was sent in must not be kept"


def test_the_analyst_opens_it_in_the_browser_with_her_own_key(
    deployment, visit, tmp_path: Path
) -> None:
    """As she got it: the file and the receipt are those of the command line, byte for byte."""
    third, noor = deployment.runs["third"], deployment.client("noor")
    page = visit.open(f"/sign-in?next=/runs/{third}")
    sign_in_with(page, deployment.key_file("noor"))
    button, alert = (
        page.get_by_role("button", name="Open it with my key"),
        page.locator("[data-act=open-output] [role=alert]"),
    )

    def forge(pattern: str, change: Callable[[bytes], bytes], sentence: str) -> None:
        """Something between the browser and the broker or the bucket changes what it answers."""
        page.route(
            pattern,
            lambda route: route.fulfill(response=(real := route.fetch()), body=change(real.body())),
        )
        button.click()
        expect(alert).to_contain_text(sentence)
        expect(button).to_be_enabled()
        page.unroute(pattern)

    def answered(**change: Any) -> Callable[[bytes], bytes]:
        return lambda body: json.dumps(json.loads(body) | change).encode()

    def resigned(body: bytes) -> bytes:
        answer = json.loads(body)
        digest = {"digest": sha256(answer["sealed"].encode()).digest()}
        return json.dumps(answer | {"signature": noor.sign("Statement", digest).hex()}).encode()

    button.click()  # another key than hers, which a file holds
    expect(alert).to_contain_text("Choose its file")
    chooser = page.locator("[data-act=open-output]").get_by_label("The key that was downloaded")
    other_key = tmp_path / "other.key"
    other_key.write_bytes(bytes(range(32)))
    chooser.set_input_files(other_key)
    button.click()
    expect(alert).to_contain_text("for another run, or damaged")
    chooser.set_input_files(deployment.result_key(third))
    for change in (
        answered(sealed="ab" * 200),
        answered(blockHash="cd" * 32),
        answered(leaseUntil=7),
        resigned,
    ):
        forge("**/output-pieces", change, "is not signed by the key broker that the output names")
    asked = len(visit.asked)
    forge("**/pages/runs/*/output", lambda body: body[:-1] + b"x", "is not the one that was sealed")
    assert not any("pieces" in url for url in visit.asked[asked:])
    other = json.dumps({"outputCommitment": "ef" * 32})[1:-1].encode()
    forge(
        f"**/runs/{third}",
        lambda body: re.sub(rb'"outputCommitment":"[0-9a-f]{64}"', other, body),
        "is not the one that was sealed",
    )
    forge(
        f"**/runs/{third}",
        lambda body: re.sub(rb'"resultKey":"[0-9a-f]{64}"', b'"resultKey":""', body),
        "for another run, or damaged",
    )
    expect(page.locator("#result")).to_be_empty()
    button.click()
    expect(page.locator("#result")).to_contain_text("byte for byte what two checkers released")
    run = noor.run(third)
    opened = open_output(noor, deployment.broker(), run, deployment.result_key(third))
    files = []
    for name in ("Download it", "Download my receipt"):
        with page.expect_download() as saved:
            page.get_by_role("link", name=name).click()
        files.append(Path(saved.value.path()).read_bytes())
    assert json.loads(files[0]) == shown(opened)
    mine, own = json.loads(files[1]), json.loads(run_receipt(noor, run, opened, None))
    assert files[1] == canonical_json(mine)
    witness = mine.pop("witness")
    assert mine == own
    report = verify.examine(
        json.dumps(noor.trail()).encode(), receipts=[canonical_json(mine | {"witness": witness})]
    )
    assert {report[word][0] for word in report} == {"ok"}
    deployment.result_key(third).unlink()
    with pytest.raises(NotThere, match="The key that opens this output is not here"):
        open_output(noor, deployment.broker(), run, deployment.result_key(third))


def test_a_checker_views_an_output_in_the_browser(deployment, visit) -> None:
    """Her view is on the ledger before the key comes; others and other keys get nothing."""
    run = deployment.request("fourth", deployment.short)
    deployment.await_run(run, "sealed")
    data = {"run": run, "attempt": "1", "role": "viewer", "endpoint": f"/pages/runs/{run}/result"}
    marks = " ".join(f'data-{name}="{value}"' for name, value in data.items())
    form = f'<form data-act="open-output" {marks}><p role="alert"></p><button>View</button></form>'
    form += '<div id="result"></div>'
    sign_in_with(visit.open("/sign-in"), deployment.key_file("noor"))
    page = open_form(visit, form)
    page.get_by_role("button", name="View").click()
    expect(page.get_by_role("alert")).not_to_be_empty()
    assert deployment.client("noor").run(run)["attempts"][0]["checkers"] == []
    page = open_form(visit, form.replace("viewer", "analyst"))
    page.get_by_role("button", name="View").click()
    expect(page.get_by_role("alert")).to_contain_text("The output has not been released.")
    visit.context.clear_cookies()
    sign_in_with(visit.open("/sign-in"), deployment.key_file("sol"))
    sol = deployment.client("sol")
    shown_before = {"Origin": visit.url, "Content-Type": "application/json"}
    path = f"{visit.url}/pages/runs/{run}/result"
    assert page.request.post(path, data="{}", headers=shown_before).status == 403
    page = open_form(visit, form)
    for _ in range(2):  # again under the same view
        page.get_by_role("button", name="View").click()
        expect(page.locator("#result")).to_contain_text("nobody has released it")
        assert sol.run(run)["attempts"][0]["checkers"] == [sol.wallet.address]
        page.reload()
    assert page.request.get(f"{visit.url}/pages/runs/{run}/receipt").status == 403


def test_the_auditor_filters_and_checks_a_step_again(deployment, visit) -> None:
    page = visit.act_as("Vera")
    expect(page.get_by_role("heading", level=1)).to_have_text("Trail")
    ada = deployment.subjects[0].hex()
    page.get_by_label("Person").fill(ada)
    page.get_by_role("button", name="Filter").click()
    steps = page.locator(".steps > li")
    expect(steps.first).to_be_visible()
    assert "Permission withdrawn" in steps.filter(has_text="withdrew permission").first.inner_text()
    page.get_by_label("Kind").select_option("refusal")
    page.get_by_label("Reason").select_option(label="The person has withdrawn the consent.")
    page.get_by_role("button", name="Filter").click()
    expect(steps.first).to_contain_text("left out")
    steps.first.get_by_text("Behind it").click()
    expect(steps.first).to_contain_text(ada)

    visit.open("/trail?kind=records")
    page.get_by_role("button", name="Verify").click()
    checks = page.locator(".checks li")
    expect(checks).to_have_count(6)
    expect(page.locator(".checks")).to_contain_text("All 6 checks hold.")
    assert all("ms" in text for text in checks.all_text_contents())
    deployment.picture(page, "trail", 1060)

    visit.open("/trail?kind=seal")
    newest = steps.first
    newest.get_by_role("button", name="Verify").click()
    expect(newest.locator(".checks")).to_contain_text(
        "and has the hash that was sealed", timeout=15_000
    )


def test_no_tick_without_a_check_that_holds(deployment, visit) -> None:
    """An edited row fails its check; a broker that is silent leaves its check open."""
    page = visit.act_as("Vera", "/trail")
    visit.open("/trail?kind=enrolment")
    with sqlite3.connect(deployment.home / "volens.db") as rows:
        newest = (
            "select rowid, fields from events where name = 'Enrolled' order by rowid desc limit 1"
        )
        was = rows.execute(newest).fetchone()
        rows.execute(
            "update events set fields = replace(fields, '\"assurance\":1', '\"assurance\":2') where rowid = ?",
            was[:1],
        )
    deployment.parts.stop_part("broker")
    try:
        page.get_by_role("button", name="Verify").first.click()
        expect(page.locator(".checks li.no")).to_have_count(1)
        expect(page.locator(".checks li.no")).to_contain_text(
            "Our row says what the ledger's event says"
        )
        expect(page.locator(".checks li.not-checked")).to_contain_text("vouches")
        expect(page.locator(".checks")).to_contain_text("1 of 5 checks failed.")
        expect(page.locator(".checks li.ok")).to_have_count(3)
    finally:
        with sqlite3.connect(deployment.home / "volens.db") as rows:
            rows.execute("update events set fields = ? where rowid = ?", (was[1], was[0]))
        deployment.parts.launch_broker()
        deployment.parts.await_part("broker")
        time.sleep(0.1)


@pytest.mark.campaign
def test_the_cells_of_the_analysts_notebook_run(
    deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/notebook.py executes them; their outputs have the form of those in the documents.

    The sample asks only; with --whole a run is rehearsed, requested, released and opened.
    """
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs"))
    import notebook

    written = json.loads(notebook.NOTEBOOK.read_text())["cells"]
    written = written[: extent(sample=6, whole=len(written))]
    with notebook.releasing(deployment.url, deployment.home):
        key = deployment.key_file("noor")
        executed = notebook.execute(deployment.url, key, tmp_path, len(written))
    assert list(map(outputs, executed["cells"])) == list(map(outputs, written))
    assert str(deployment.home) not in json.dumps(executed)
    assert sys.modules.pop("notebook") is notebook


def outputs(cell: dict) -> tuple[object, ...]:
    """A cell's source, and the kinds of what it shows."""
    shown = [
        sorted(output.get("data", output["output_type"])) for output in cell.get("outputs", [])
    ]
    return "".join(cell["source"]), cell.get("execution_count"), shown


def test_a_plan_of_her_own_care_from_appointment_to_reading(deployment, visit) -> None:
    """She appoints, her clinician asks, opens and countersigns, and she reads what he decided."""
    clinic = deployment.clinic
    page = visit.act_as("Bea")
    page.get_by_role("link", name="My own care").first.click()
    page.get_by_label("Which data").select_option(clinic.dataset.hex())
    page.get_by_label("My clinician", exact=True).select_option(clinic.cleo.wallet.address)
    page.get_by_label("Yes, once my clinician has signed a plan").check()
    page.get_by_role("button", name="Show what I would sign").click()
    expect(page.get_by_role("heading", level=2).first).to_have_text(
        "You are about to appoint Cleo."
    )
    expect(page.locator("main")).to_contain_text("nothing before your clinician has signed it")
    page.get_by_role("button", name="Yes, sign").click()
    expect(page.get_by_role("heading", name="You appointed Cleo.")).to_be_visible()
    (mine,) = clinic.bea.appointments()
    assert (mine["clinician"], mine["live"]) == (clinic.cleo.wallet.address, True)
    page.get_by_role("button", name="Sign out").click()

    page = visit.act_as("Cleo", "/care")
    page.get_by_label("Patient", exact=True).select_option(clinic.subject.hex())
    page.get_by_role("button", name="Show what I would sign").click()
    page.get_by_role("button", name="Yes, sign and ask").click()
    page.wait_for_url(re.compile("/care/[0-9a-f]{64}$"))
    plan = page.url[-64:]
    clinic.await_drawn(plan)
    deployment.runs["plan"] = plan
    visit.open("/")
    page.get_by_role("link", name="Open a plan of patient").click()
    page.get_by_role("button", name="Open it with my key").click()
    opened = page.locator("#opened")
    expect(opened.get_by_role("heading", level=2).first).to_have_text("Options with their basis")
    expect(opened).to_contain_text("50 % of the starting dose that is otherwise right")
    expect(opened).to_contain_text("the two lowest activity values added (CPIC)")
    assert (
        len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) <= 3
    )  # without facts and sources
    page.emulate_media(media="print")  # a table's head is repeated on each page
    expect(opened.locator(".running")).to_have_css("display", "table-header-group")
    page.emulate_media(media="null")
    page.get_by_role("button", name="Yes, sign it").click()
    assert clinic.cleo.plan(plan)["state"] == "sealed"  # nothing is signed before each decision
    for item in opened.locator("[data-item]").all():
        item.get_by_label("Decline").check()
    dose = opened.locator("[data-item=dpyd-fluoropyrimidine-dose]")
    dose.get_by_label(
        "I agree: fluorouracil or capecitabine before a first cycle only: 50 %"
    ).check()
    dose.get_by_role("textbox").fill("With “blood counts” every month, señora 🧬.")
    page.get_by_label("For the patient, about the plan").fill("We talk on Friday.")
    page.get_by_role("button", name="Yes, sign it").click()
    expect(page.locator("#state .pill")).to_have_text("signed by the clinician")
    page.get_by_role("button", name="Sign out").click()

    page = visit.act_as("Bea", f"/me/plan/{plan}")
    page.get_by_role("button", name="Open it with my key").click()
    hers = page.locator("#opened")
    expect(hers).to_contain_text("Your body breaks this medicine down more slowly")
    expect(hers).to_contain_text("With “blood counts” every month, señora 🧬.")
    expect(hers).to_contain_text("We talk on Friday.")
    expect(hers).to_contain_text("decided not to use this suggestion")
    expect(hers).to_contain_text("Research demonstration. Not cleared or CE-marked")
    expect(hers).not_to_contain_text("50 %")  # a number is her clinician's to say
    expect(hers).not_to_contain_text("lifetime risks")  # nor what he did not accept
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) <= 2  # printed
    page.reload()
    mine = seen_by(deployment, "bea", "/me").text
    assert "your clinician <b>Cleo</b>" in mine
    assert "Your clinician has signed the plan." in mine
    expect(page.locator("section", has_text="Who opened it").locator("li")).to_have_count(2)


def seen_by(deployment, name: str, path: str, **sent: Any) -> httpx.Response:
    """A page as this person sees it; with `sent`, a form that her browser sends."""
    client = deployment.client(name)
    client.sign_in()
    headers = {"Accept": "text/html", "Cookie": f"volens-session={client._token}"}
    headers |= {"Origin": deployment.url}
    return httpx.request("POST" if sent else "GET", deployment.url + path, headers=headers, **sent)


def opened_file(deployment, plan: str, folder: Path, hers: bool = False) -> bytes:
    """What `volens plan open --out`, or `volens plan read --out`, writes."""
    clinic, key = deployment.clinic, folder / f"{plan}{hers}.key"
    client, read = (clinic.bea, open_as_patient) if hers else (clinic.cleo, open_as_clinician)
    return json.dumps(asdict(read(client, deployment.broker(), plan, key))).encode()


def test_a_plan_is_for_its_clinician_and_its_patient_alone(deployment, tmp_path: Path) -> None:
    """Before the countersignature she sees that it is being drawn up, and nothing of it."""
    clinic, plan = deployment.clinic, deployment.clinic.ask()
    for name, path in (
        ("person-001", f"/me/plan/{plan}"),
        ("noor", f"/care/{plan}"),
        ("pia", f"/care/{plan}"),
        ("person-001", f"/pages/plans/{plan}"),
        ("noor", f"/pages/plans/{plan}/output"),
    ):
        assert seen_by(deployment, name, path).status_code in (403, 404), path
    page = seen_by(deployment, "bea", f"/me/plan/{plan}")
    assert "A plan is being drawn up." in page.text
    assert "Open it with my key" not in page.text
    opened = opened_file(deployment, plan, tmp_path)
    path = f"/pages/plans/{plan}/opened"
    for name in ("bea", "noor", "person-001"):
        answer = seen_by(deployment, name, path, content=opened)
        assert answer.status_code in (403, 404)
        assert "half" not in answer.text
    assert seen_by(deployment, "bea", f"/pages/plans/{plan}/output").status_code == 403
    assert "Options with their basis" in seen_by(deployment, "cleo", path, content=opened).text
    answer = httpx.post(deployment.url + path, content=opened, headers={"Accept": "text/html"})
    assert answer.status_code in (401, 403)
    sealed = open_sealed(
        clinic.cleo, deployment.broker(), clinic.cleo.plan(plan), tmp_path / f"{plan}False.key"
    )
    yes = {"decision": "accept", "note": ""}
    for decisions in ({}, {"another-rule": yes}, dict.fromkeys(("diet", "exercise"), yes)):
        with pytest.raises(UsageError, match="not on each item"):
            sign_plan(clinic.cleo, plan, sealed, decisions, "")
    old = json.dumps(json.loads(sealed.result) | {"valid_until": 20_000}).encode()
    with pytest.raises(UsageError, match="out of date"):
        sign_plan(clinic.cleo, plan, replace(sealed, result=old), {}, "")
    inside = json.loads(sealed.result)
    unknown = [item | {"rule": "a-rule-of-before"} for item in inside["lifestyle"]]
    changed = json.dumps(inside | {"lifestyle": unknown}).encode()
    with pytest.raises(UsageError, match="this rule was withdrawn"):
        sign_plan(clinic.cleo, plan, replace(sealed, result=changed), {}, "")
    assert clinic.cleo.plan(plan)["state"] == "sealed"
    # A question for its key reaches the broker only from its readers, and about this plan alone.
    broker, noor, cleo = deployment.broker(), deployment.client("noor").wallet, clinic.cleo.wallet
    shares = [{"j": j, "wrapped": "00" * 60} for j in range(3)]
    readers = "Only the clinician and the patient of a plan may ask for its key"
    for signer, viewer, record, answered in (
        (noor, noor, plan, readers),
        (noor, cleo, plan, readers),
        (clinic.bea.wallet, cleo, plan, readers),
        (cleo, cleo, "ab" * 32, "A plan's record is its run and attempt"),
        (cleo, cleo, plan, "The record is not registered"),  # the control: the broker answers
    ):
        question = {"run": plan, "attempt": 1, "viewer": viewer.signer.hex()}
        question["records"] = [{"record": record, "version": 1, "shares": shares}]
        asked = broker._signed(question, signer)
        answer = httpx.post(f"{deployment.url}/plans/{plan}/output-pieces", json=asked)
        assert answer.json()["detail"].startswith(answered), answer.text
    clinic.sign(plan, tmp_path)
    unrecorded = seen_by(deployment, "bea", path, content=opened)
    assert unrecorded.status_code == 403  # the ledger has no opening of hers
    assert "no opening of this plan by you" in unrecorded.text


def test_a_file_of_a_plan_is_compared_with_the_ledger_and_shown_without_script(
    deployment, tmp_path: Path
) -> None:
    plan = deployment.runs["plan"]
    path = f"/pages/plans/{plan}/opened"
    right = opened_file(deployment, plan, tmp_path, hers=True)
    (tmp_path / "elsewhere").mkdir()
    assert opened_file(deployment, plan, tmp_path / "elsewhere", hers=True) == right
    # Opened elsewhere meanwhile, under another key: here a new one is drawn.
    assert opened_file(deployment, plan, tmp_path, hers=True) == right
    shown = seen_by(deployment, "bea", path, files={"file": ("plan.json", right)})
    assert shown.status_code == 200
    assert "<html" in shown.text
    assert "What your plan says" in shown.text
    assert "señora" in html.unescape(shown.text)  # his note, opened with the plan's salt
    other = json.loads(right)
    other["plan"]["valid_until"] += 1000
    for sent in (json.dumps(other).encode(), b"{}", b"no JSON"):
        answer = seen_by(deployment, "bea", path, files={"file": ("plan.json", sent)})
        assert answer.status_code == 422
        assert "What your plan says" not in answer.text


def test_an_appointment_names_a_clinician_of_the_list(deployment) -> None:
    clinic = deployment.clinic
    right = {
        "dataset": clinic.dataset.hex(),
        "clinician": clinic.cleo.wallet.address,
        "until": (datetime.now(UTC) + timedelta(days=1)).date().isoformat(),
        "wish": "no",
    }

    def answer(**change: str) -> httpx.Response:
        query = urlencode(right | change)
        return seen_by(deployment, "bea", f"/me/care/appoint?{query}")

    page = answer()
    assert page.status_code == 200
    for what, sentence in care.notice_points():
        assert html.escape(what, quote=False) in page.text
        assert sentence in html.unescape(page.text)
    for change, why in (
        ({"clinician": deployment.client("noor").wallet.address}, "is a clinician here"),
        ({"clinician": ""}, "is a clinician here"),
        ({"wish": ""}, "whether you want to open plans"),
        ({"until": "2020-01-01"}, "between today and the end"),
        ({"until": "2120-01-01"}, "between today and the end"),
        ({"until": "soon"}, "A day is written as"),
        ({"dataset": deployment.dataset.hex()}, "do not allow your own care"),
    ):
        refused = answer(**change)
        assert refused.status_code == 422, change
        assert why in refused.text
        assert "Yes, sign" not in refused.text
    shown = seen_by(deployment, "bea", "/me/care").text
    assert f'value="{clinic.cleo.wallet.address}"' in shown
    assert f'value="{deployment.client("noor").wallet.address}"' not in shown


def test_a_plan_is_asked_for_under_an_own_permit_and_an_appointment(deployment) -> None:
    clinic = deployment.clinic
    for patient, permit, status in (
        (clinic.subject, clinic.permit, 200),
        (deployment.subjects[1], clinic.permit, 404),
        (clinic.subject, deployment.permit, 422),
    ):
        path = f"/care/ask?patient={patient.hex()}&permit={permit.hex()}"
        assert seen_by(deployment, "cleo", path).status_code == status
    page = seen_by(deployment, "cleo", "/care/permit")
    assert rule_set_hash().hex() in page.text
    given = {"dataset": clinic.dataset.hex(), "plan": "# My patients\n\nText.", "days": "30"}
    preview = seen_by(deployment, "cleo", "/pages/care/permit/preview", data=given)
    assert "single patients' own care" in html.unescape(preview.text)
    assert f'data-field="purposeNeed">{1 << Purpose.CARE}<' in preview.text
    assert f'data-field="outputClasses">{1 << OutputClass.INDIVIDUAL}<' in preview.text
    permit = seen_by(deployment, "pia", f"/permits/{clinic.permit.hex()}").text
    assert rule_set_hash().hex() in permit
    assert "dpyd-fluoropyrimidine-dose" in permit
    assert "It is for single patients" in permit


def test_a_plan_of_a_patient_who_withdrew_opens_for_nobody_new(deployment, tmp_path: Path) -> None:
    clinic, plan = deployment.clinic, deployment.runs["plan"]
    opened = opened_file(deployment, plan, tmp_path)
    path = f"/pages/plans/{plan}/opened"
    assert seen_by(deployment, "cleo", path, content=opened).status_code == 200  # the control
    hers = f"/me/plan/{plan}"
    assert "has suspended the permit" not in seen_by(deployment, "bea", hers).text
    deployment.client("pia").suspend(clinic.permit.hex(), "A rule changed.")
    assert "has suspended the permit" in seen_by(deployment, "bea", hers).text
    assert "Open it with my key" not in seen_by(deployment, "bea", hers).text
    shut = seen_by(deployment, "bea", path, content=opened)
    assert (shut.status_code, "has suspended the permit" in shut.text) == (403, True)
    clinic.bea.revoke(clinic.dataset, clinic.bea.consent_to(clinic.dataset)["epoch"])
    for name, where, whose in (("cleo", "/care/", "the"), ("bea", "/me/plan/", "your")):
        page = seen_by(deployment, name, where + plan).text
        assert "opens for nobody now" in page
        assert "Open it with my key" not in page
        assert page.count(f"{whose} clinician <b>Cleo</b>") >= 1  # who opened it before
        answer = seen_by(deployment, name, path, content=opened)
        assert answer.status_code == 403
        assert "opens for nobody now" in answer.text
        # She is told of her own withdrawal first, he of the permit.
        assert name == "cleo" or "suspended" not in answer.text
    assert "is over." in seen_by(deployment, "bea", "/me/care").text
    assert "Nobody has appointed you." in seen_by(deployment, "cleo", "/care").text


def test_she_sees_and_ends_an_appointment_of_which_this_service_was_not_told(
    deployment, visit
) -> None:
    """Signed under another notice, and sent to the ledger past the service."""
    clinic = deployment.clinic
    clinic.grant()
    cleo, until = clinic.cleo.wallet.address, int(time.time()) // 86_400 + 30
    message, _ = appointment(clinic.bea, clinic.dataset, cleo, until, True)
    message |= {"noticeHash": sha256(b"another notice").digest()}
    signature = bytes.fromhex(clinic.bea._sign("Appoint", message))
    signer, url = clinic.bea.wallet.signer, deployment.parts.urls["chain"]
    ledger = Ledger.connect(url, deployment.identity, Wallet.new(), MemoryOutbox())
    ledger.relay("CareLedger", "appoint", message_tuple("Appoint", message), signer, signature)
    (seen,) = clinic.bea.appointments()
    assert (seen["clinician"], seen["salt"], seen["live"]) == (care.UNTOLD, "", True)
    assert clinic.cleo.appointments() == []
    page = visit.act_as("Bea", "/me/care")
    expect(page.get_by_text("it did not pass this service")).to_be_visible()
    page.get_by_text("End this appointment").click()
    page.get_by_role("button", name="Yes, sign and end it").click()
    expect(page.get_by_role("heading", name=" is over.")).to_be_visible()
    assert not clinic.bea.appointments()[0]["live"]


def test_she_ends_an_appointment_on_the_page(deployment, visit) -> None:
    clinic = deployment.clinic
    clinic.grant()
    clinic.appoint()
    assert clinic.subject.hex()[:8] in seen_by(deployment, "cleo", "/care").text
    page = visit.act_as("Bea", "/me/care")
    page.get_by_text("End this appointment").click()
    page.get_by_role("button", name="Yes, sign and end it").click()
    expect(page.get_by_role("heading", name="Your appointment of Cleo is over.")).to_be_visible()
    assert not clinic.bea.appointments()[0]["live"]
    assert "Nobody has appointed you." in seen_by(deployment, "cleo", "/care").text
