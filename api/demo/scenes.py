"""The four parts of the demo's story; each returns what it measured for the report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analytics.readers.gse7390 import load_gse7390, locate_gse7390
from analytics.simulate.known_truth import simulate_cohort
from api.client.client import Client
from api.client.results import (
    await_settled,
    open_output,
    run_receipt,
    withdrawal_receipt,
    write_receipt,
)
from api.demo import attacks, evidence_tampers, tampers
from api.demo.care import BEAS_DOSE, Care, dose_of, summary_of, why_refused
from api.demo.cast import Cast
from api.demo.science import (
    ENOUGH,
    FULL,
    SEED,
    SHORT,
    SIMULATED,
    TRUTH,
    VARIANTS,
    Controls,
    accuracies,
    enough_sentence,
    gain_of,
    gain_sentence,
    is_near_best,
    noise_sentence,
    permutation_control,
    print_table,
    shares,
    truth_sentence,
    withheld,
)
from api.demo.stage import World
from api.demo.steps import (
    ask_permits,
    count,
    ingest_all,
    keep_receipt,
    keys_after,
    release,
    request,
    search_plaintext,
    try_release,
    view_and_open,
    without_ledger,
)
from chain.wallets import Wallet
from governance import audit
from governance.objects.vault import Bucket
from governance.rules.ledger_data import parse_identity
from governance.rules.signatures import load_crypto
from governance.rules.trail import Replay

if TYPE_CHECKING:
    from api.demo.narrator import Teller

REFUSING = 14
FIRST_OF_CARE = 900  # number of the first patient of care: her key has another name than theirs


def gate(cast: Cast, teller: Teller) -> None:
    """From an empty home to one governed access, and none while the ledger is down."""
    people, cohort = load_gse7390(locate_gse7390()), simulate_cohort(SIMULATED, SEED, VARIANTS)
    everybody = len(people) + SIMULATED
    enrolled = cast.enrol(len(people), SIMULATED)
    teller.tell(
        2,
        "Rita",
        f"enrols {everybody} people, each with a key of their own",
        f"{enrolled} Enrolled",
        enrolled == everybody,
    )
    records, fragments = ingest_all(cast, people, cohort)
    cast.facts |= {"controls": Controls(), "optimum": cohort.optimum}
    what = f"encrypts {records} records, {SIMULATED} genomes and FHIR records"
    teller.tell(3, "Omar", what, f"{fragments} plaintext fragments in the bucket", fragments == 0)
    permits, votes, own_vote = ask_permits(cast)
    summary = f"{max(votes)} of {len(cast.identity['founders'])} yes   {own_vote}"
    what = "approve Noor's two requests; Noor votes for herself"
    teller.tell(
        4,
        "Pia, Quinn",
        what,
        summary,
        votes == {cast.identity["quorum"]} and own_vote == "REFUSED ApplicantVoted",
    )
    permit = permits["research"]
    refused = cast.await_run(request(cast, permit, SHORT), lambda r: r["state"] == "denied")
    summary = f"REFUSED {refused['reason']['slug']}    keys {count(cast.keys())}"
    teller.tell(
        5,
        "Noor",
        "asks to train before anyone agreed",
        summary,
        summary == "REFUSED cohort-minimum    keys 0",
    )
    willing = cast.patients[:-REFUSING]
    taken, proof, offered = cast.agree(cast.dataset, willing)
    taken += cast.agree(cast.simulated, cast.invented)[0]
    cast.facts["receipt"] = keep_receipt(cast, proof, offered)
    what = f'+ {everybody - REFUSING - 1} sign "cancer research, no profit, 2 years"; {REFUSING} refuse'
    teller.tell(6, "Ada", what, f"{taken} ConsentGranted", taken == everybody - REFUSING)
    first = request(cast, permit, SHORT)
    cast.facts |= {"permits": permits, "first": first}
    attempt = cast.await_run(first, lambda r: bool(r["attempts"]))["attempts"][0]
    summary = f"{attempt['granted']} granted  {attempt['denied']} denied  block {attempt['block']}"
    right = (attempt["granted"], attempt["denied"]) == (len(willing), REFUSING)
    teller.tell(7, "worker", "one transaction checks and logs everyone", summary, right)
    cast.await_run(first, lambda r: r["state"] == "sealed")
    keys, logged = cast.keys()[f"{first}:1"], cast.logged()[f"{first}:1"]
    summary = f"keys for {len(keys)} people {'=' if keys == logged else '!='} {len(logged)} logged"
    teller.tell(
        8, "broker", "releases keys against that receipt, and only it", summary, keys == logged
    )
    summary = without_ledger(cast, permit, attempt["tx"])
    teller.tell(
        9,
        "Otto",
        "stops the ledger; asks for a run, and for keys",
        summary,
        summary == "REFUSED ledger-down    keys 0",
    )


def change_of_mind(cast: Cast, teller: Teller) -> dict[str, Any]:
    """Ada withdraws while a run is training."""
    ada, noor = cast.client("ada"), cast.client("noor")
    second = request(cast, cast.facts["permits"]["research"], FULL)
    cast.facts |= {
        "second": second,
        "third": request(cast, cast.facts["permits"]["simulated"], TRUTH),
    }
    cast.await_run(
        second,
        lambda r: any(step["step"].startswith(("evaluate", "permute")) for step in r["progress"]),
    )
    began = time.monotonic()
    answer = ada.revoke(cast.dataset, 0)
    mined, block = time.monotonic(), answer["receipt"]["block"]
    followed = await_settled(ada, answer["receipt"]["tx"])
    kept = withdrawal_receipt(ada, answer["receipt"], followed, ada.trail_head()["witness"])
    cast.facts["stop_receipt"] = write_receipt(cast.home / "receipts" / "ada", kept)
    stopped = next(effect["stopped"] for effect in followed["effects"] if effect["run"] == second)
    summary = f"signed, mined in {mined - began:.2f} s, block {block}"
    teller.tell(10, "Ada", "withdraws while a second run is training", summary, float(stopped) <= 2)
    cast.await_run(second, lambda r: r["attempt"] == 2)
    accesses = [access for access in ada.accesses() if access["run"] == second]
    denied = next(access for access in accesses if access["attempt"] == 2)
    blocks = denied["block"] - block
    teller.note(
        f"next access refused after {blocks} block{'s' * (blocks > 1)} ({denied['reason']['slug']}); "
        f"training stopped after {float(stopped):.1f} s; restarted without her"
    )
    refusal = try_release(cast, cast.facts["first"])
    noor.cancel(cast.facts["first"])
    right = (refusal, denied["reason"]["slug"]) == ("REFUSED revoked", "revoked")
    teller.tell(11, "Sol, Tess", "approve the first run's output, which she is in", refusal, right)
    cast.facts |= {"withdrawal": followed, "withdrawn": block}
    return {
        "revocation": {
            "refusal_blocks": blocks,
            "stop_seconds": f"{float(stopped):.2f}",
            "mined_seconds": f"{mined - began:.2f}",
        },
    }


def science(cast: Cast, teller: Teller) -> dict[str, Any]:
    """The results of the runs, and their release."""
    second, third = cast.facts["second"], cast.facts["third"]
    cast.facts["attacks"] = ThreadPoolExecutor(1).submit(_attack, cast)
    cast.await_run(second, lambda r: r["state"] == "sealed" and r["attempt"] == 2)
    opened = [view_and_open(cast, name, second) for name in ("sol", "tess")]
    result = json.loads(opened[0].result)
    summary = f'"nobody relapses": at most {result["baseline"]} %' if "baseline" in result else ""
    how = json.loads(FULL)
    years = round(how["outcome"]["horizon_days"] / 365.25)
    device = cast.client("noor").run(second)["attempts"][-1]["record"]["device"]
    what = (
        f"distant metastasis in {years} years, {how['folds']}-fold x {how['repeats']}, on {device}"
    )
    teller.tell(
        12, "worker", what, summary, len(result["rows"]) == sum(map(len, how["models"].values()))
    )
    print_table(teller, result)
    teller.note(gain_sentence(result))
    controls = cast.facts["controls"].results()
    teller.note(noise_sentence(controls))
    cast.await_run(third, lambda r: r["state"] == "sealed")
    truth = [view_and_open(cast, name, third) for name in ("sol", "tess")]
    known = json.loads(truth[0].result)
    teller.note(truth_sentence(known))
    teller.note(enough_sentence(controls["truth"]))
    plans = _care(cast, teller)  # before the receipts, so that these anchor its steps as well
    released = release(cast, second)
    release(cast, third)
    run = cast.client("noor").run(second)
    mine = open_output(cast.client("noor"), cast.broker(), run)
    receipt = run_receipt(cast.client("noor"), run, mine, cast.broker().witness())
    cast.facts["run_receipt"] = write_receipt(cast.home / "receipts" / "noor", receipt)
    cast.facts["opened"] = mine
    same = {output.result for output in opened} == {mine.result}
    nothing = (
        abs(controls["noise"]["accuracy"] - 0.5)
        <= 0.05
        < controls["leak"]["outside"]["accuracy"] - 0.5
    )
    teller.tell(
        14,
        "Sol, Tess",
        "check the outputs; the SVM file is withheld",
        withheld(mine),
        same and nothing and is_near_best(controls["truth"]),
    )
    what = f"released to Noor, {'bytes equal' if same else 'ALTERED'}; its hash is on the ledger"
    teller.note(f"{'':<11}{what:<59} block {released}")
    cast.facts["results"] = {
        "research": {"result": result, "disclosure": json.loads(mine.disclosure)},
        "simulated": {"result": known, "disclosure": json.loads(truth[0].disclosure)},
    }
    gain = gain_of(result)
    record = run["attempts"][-1]["record"]
    compute, spent = record["seconds"]["compute"], map(float, record["seconds"].values())
    known_truth = {
        "people": SIMULATED,
        "rows": known["rows"],
        "optimum": shares(cast.facts["optimum"]),
        "enough": {
            "people": ENOUGH,
            "accuracy": shares(accuracies(controls["truth"])),
            "auc": shares({row["feature_set"]: row["auc"] for row in controls["truth"]["models"]}),
            "optimum": shares(controls["truth"]["optimum"]),
        },
    }
    return (
        plans
        | {
            "models": result["rows"],
            "gain": gain,
            "noise": permutation_control(controls),
            "known_truth": known_truth,
            "device": record["device"],
            "overhead": {"train_ratio": f"{sum(spent) / float(compute):.2f}"},
        }
        | ({"baseline": result["baseline"]} if "baseline" in result else {})
    )


def proof(cast: Cast, teller: Teller) -> dict[str, Any]:
    """Everybody verifies the trail and their own evidence."""
    return (
        _her_accesses(cast, teller) | _audit(cast, teller) | _attacks(cast, teller) | _totals(cast)
    )


def _care(cast: Cast, teller: Teller) -> dict[str, Any]:
    """Two plans of care, in a dataset of its own."""
    care = Care(
        Cast(cast.home, cast.parts), datetime.now(UTC).date(), ("Ada", "Bea"), FIRST_OF_CARE
    )
    care.prepare()
    care.draw()
    plans = {name: opened.plan for name, opened in care.opened.items()}
    reasons, dose = why_refused(plans["Ada"]), dose_of(plans["Bea"])
    what = "asks for plans of two patients who appointed her"
    right = bool(reasons) and not dose_of(plans["Ada"]) and dose == BEAS_DOSE
    teller.tell(13, "Cleo", what, f"Bea: olaparib {dose}", right)
    short = "; ".join(reason.partition(":")[0].rstrip(".") for reason in reasons)
    teller.note(f"the other not now: {short}")
    cast.facts["plans"] = [summary_of(name, plan) for name, plan in plans.items()]
    return {"care": care.result()}


def _her_accesses(cast: Cast, teller: Teller) -> dict[str, Any]:
    accesses = [access for access in cast.client("ada").accesses() if access["granted"]]
    granted = [(access["run"], access["attempt"]) for access in accesses]
    by = {
        "Noor" if access["analyst"] == cast.client("noor").wallet.address else "?"
        for access in accesses
    }
    why = {access["purposes"][-1] for access in accesses}
    released = {
        (run, output["attempt"])
        for run in {run for run, _ in granted}
        for output in cast.client("noor").run(run)["outputs"]
        if output["release"]
    }
    late = len(released & set(granted))
    what = f"who used my data? {', '.join(by)}, {len(granted)} times, for {', '.join(why)}"
    teller.tell(15, "Ada", what, f"released with her in it: {late}", late == 0 and by == {"Noor"})
    return {}


def _audit(cast: Cast, teller: Teller) -> dict[str, Any]:
    bundle = cast.client("vera").trail()
    trail = cast.home / "trail.json"
    trail.write_text(json.dumps(bundle), encoding="utf-8")
    helper = subprocess.Popen(
        [sys.executable, "-P", "-m", "api.demo.tampers", str(trail), "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    shutil.copy(audit.PROGRAM, cast.home / "verify.py")
    shutil.copy(cast.facts["run_receipt"], cast.home / "receipt.json")
    receipts = [str(cast.facts[name]) for name in ("receipt", "stop_receipt", "run_receipt")]
    command = [sys.executable, "-I", str(cast.home / "verify.py"), str(trail)]
    command += [word for receipt in receipts for word in ("--receipt", receipt)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    verdict = done.stdout.strip().splitlines()[-1] if done.stdout else "no answer"
    recorded = count(cast.logged())
    explained = sum(len(attempt.granted) for attempt in Replay(bundle).replayed.attempts.values())
    what = f"verifies offline, without our database: {verdict}"
    right = verdict == "valid" and explained == recorded
    teller.tell(16, "Vera", what, f"{explained} of {recorded} accesses explained", right)
    return {
        "verified": verdict,
        "accesses": {"recorded": recorded, "explained": explained},
        "ledger": {
            "events": sum(len(item["logs"]) for item in bundle["transactions"]),
            **bundle["head"],
        },
    } | _tampers(cast, teller, bundle, helper)


def _tampers(
    cast: Cast, teller: Teller, bundle: dict[str, Any], helper: subprocess.Popen[str]
) -> dict[str, Any]:
    """Otto's tampering and its detection: in the trail (half of it in a second process), and in
    other evidence.
    """
    results = tampers.noticed(bundle, 1)
    shelf = _shelf(cast, bundle)
    beside = {
        tamper.name: evidence_tampers.noticed(shelf, tamper) for tamper in evidence_tampers.TABLE
    }
    results |= {
        name: (word, why) for name, (word, why) in json.loads(helper.communicate()[0]).items()
    } | beside
    table: list[tampers.Tamper | evidence_tampers.EvidenceTamper] = [
        *tampers.TABLE,
        *evidence_tampers.TABLE,
    ]
    cast.facts["tampers"] = [
        {"name": tamper.name, "word": results[tamper.name][0], "reason": results[tamper.name][1]}
        for tamper in table
    ]
    detected = [tamper.name for tamper in table if results[tamper.name][0] == tamper.word]
    what = "edits trail, objects, journal, receipts; drops; forges"
    named = f"{len(detected)} of {len(table)} found, bad place named"
    teller.tell(17, "Otto", what, named, len(detected) == len(table))
    return {"tampers": {"tried": len(table), "detected": len(detected), "names": detected}}


def _shelf(cast: Cast, bundle: dict[str, Any]) -> evidence_tampers.Shelf:
    """The demo's evidence besides the trail."""
    first, second, *_ = sorted((cast.home / "bucket" / "objects" / "volens" / "o").iterdir())
    receipts = {"grant": "receipt", "stop": "stop_receipt", "run": "run_receipt"}
    opened, run = cast.facts["opened"], cast.client("noor").run(cast.facts["second"])
    sealed = run["outputs"][-1]
    return evidence_tampers.Shelf(
        (first, second),
        Bucket("volens", cast.parts.urls["bucket"]).get,
        (cast.home / "broker" / "journal.jsonl").read_bytes(),
        {kind: Path(cast.facts[name]).read_bytes() for kind, name in receipts.items()},
        Replay(bundle, load_crypto(parse_identity(bundle["identity"]))),
        evidence_tampers.inside(opened),
        bytes.fromhex(run["run"]),
        sealed["attempt"],
        bytes.fromhex(sealed["outputCommitment"]),
    )


def _attacks(cast: Cast, teller: Teller) -> dict[str, Any]:
    """The results of Mallory's attacks, which ran during the training."""
    refused, tried = cast.facts["attacks"].result(), attacks.made()
    what = f"tries {len(attacks.TABLE)} attacks on the contracts, {len(tried) - len(attacks.TABLE)} on the endpoints"
    summary = f"{len(refused)} of {len(tried)} refused, each by its rule"
    teller.tell(18, "Mallory", what, summary, len(refused) == len(tried))
    return {"attacks": {"tried": len(tried), "refused": len(refused), "names": refused}}


def _attack(cast: Cast) -> list[str]:
    """The attacks that were refused by their rule: on contracts in a separate deployment, on
    endpoints in the demo's, where they have no effect.
    """
    url, second_patient = cast.parts.urls["api"], cast.patients[1]
    ada = cast.client("ada")
    endpoints = attacks.Endpoints(
        url,
        cast.client,
        ada,
        Client(url, cast.identity, second_patient.wallet, second_patient.subject),
        cast.dataset,
        cast.facts["permits"]["research"],
        cast.facts["first"],
        lambda: str(cast.facts["second"]),
    )
    refused = [
        attack.name
        for attack in attacks.ENDPOINT_ATTACKS
        if not attack.alone and attacks.answered(attack.action(endpoints, True)) == attack.expected
    ]
    relay = Wallet.new()
    cast.parts.name_senders(relay.address)  # the ledger accepts contracts from known senders only
    world = World.create(cast.parts.urls["chain"], relay=relay)
    return refused + [
        attack.name
        for attack in attacks.TABLE
        if attacks.outcome(partial(attack.action, world, True)) == attack.expected
    ]


def _totals(cast: Cast) -> dict[str, Any]:
    surfaces, hits = search_plaintext(cast)
    keys, logged = cast.keys(), cast.logged()
    ada, block = cast.client("ada"), cast.facts["withdrawn"]
    late = [access for access in ada.accesses() if access["granted"] and access["block"] > block]
    return {
        "after_revocation": {
            "accesses": len(late),
            "keys": keys_after(cast, ada.subject or b"", block),
        },
        "keys": {
            "released": count(keys),
            "logged": sum(
                len(subjects & logged.get(name, set())) for name, subjects in keys.items()
            ),
        },
        "phi": {"canaries": len(cast.facts["canaries"]), "surfaces": surfaces, "hits": hits},
    }
