"""Three people on the pages in a real browser: patient, analyst, auditor.

In this order, on one home.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from pathlib import Path

from playwright.sync_api import expect

from api.client.results import open_output, shown
from governance import verify
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
    expect(page.get_by_role("heading", level=1)).to_have_text(
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
    said = verify.examine(
        json.dumps(deployment.client("vera").trail()).encode(), receipts=[receipt]
    )
    assert [(word, said[word][0]) for word in said] == [
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
    page.get_by_role("link", name="Stop all").click()
    expect(page.locator(".effects")).to_contain_text("cannot be called back")
    expect(page.get_by_role("heading", name="Stop all of it?")).to_be_visible()
    page.get_by_role("button", name="Yes, sign and stop all").click()
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
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
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
    third = deployment.request("third", deployment.wide)
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
    for plot in ("AUC of each model", "ROC curve", "Calibration"):
        drawn = page.get_by_role("img", name=plot).first
        expect(drawn).to_be_visible()
        assert drawn.bounding_box()["width"] > 300, plot
    expect(page.locator(".finding").first).to_contain_text(
        "(interval above 50, p at most 0.05): logistic on genes"
    )
    deployment.picture(page, "run", 1230)
    assert not list(deployment.home.rglob("result.json")), "what was sent in must not be kept"


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
