"""The demo's report: one HTML file without network or script, from the demo's measurements.

`gather` queries the running services once, at the end of the story; `render` is a function of its
result. A value that was not measured is absent from both, never zero. Ids, addresses and hashes are
behind a toggle; elsewhere people have names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analytics.care.plan import SENTENCE
from analytics.catalogue import IN_FULL
from api.demo import attacks, science
from api.demo.others import SCENES
from api.demo.wording import rule, without_hex
from api.pages import event_text as sentences
from api.pages import labels as words
from api.pages import plots
from governance.readmodel.database import open_database
from governance.readmodel.trail_queries import Step, Wanted, list_steps

if TYPE_CHECKING:
    from api.demo.cast import Cast

FOLDER = Path(__file__).resolve().parent / "templates"
STAFF = ("noor", "pia", "quinn", "rui", "sol", "tess", "rita", "omar", "vera", "worker")
FEATURE_SETS = {
    "genes": "genes",
    "clinical": "findings",
    "series": "measurements over time",
    "combined": "genes and findings",
    "fused": "genes and findings, fused",
}
WORDS = {
    "consistent": "the events do not follow from the calls",
    "signed": "a signature does not hold",
    "anchored": "it ends otherwise than somebody else remembers",
    "object": "the bytes are not those that the ledger names",
    "journal": "a line does not follow from the one before",
    "receipt": "it is not what the trail recorded, or not witnessed",
    "result": "it is not the output that was sealed",
}
_PLANS = "plans"  # where the steps of all plans stand together
# What is counted towards a person: the events that one call writes for each.
PER_PERSON = {
    "Enrolled": "enrol",
    "ConsentGranted": "give consent",
    "ConsentRevoked": "withdraw",
    "AccessGranted": "check and log an access",
    "AccessDenied": "check and log an access",
}


def gather(cast: Cast, report: Mapping[str, Any]) -> dict[str, Any]:
    """All values of the report, as JSON, from the running services and from the demo's own facts."""
    ada, noor = cast.client("ada"), cast.client("noor")
    steps = list_steps(
        open_database(f"sqlite:///{cast.home / 'volens.db'}"), Wanted(), limit=100_000
    )[::-1]
    asked = [event.run for step in steps for event in step.events if event.name == "RunRequested"]
    label = {run: f"Run {number}" for number, run in enumerate(asked, 1)}
    names = _names(cast)
    followed = cast.facts["withdrawal"]
    runs = [noor.run(run) for run in asked]
    tried = set(report["attacks"]["names"])
    return {
        "report": dict(report),
        "subject": (ada.subject or b"").hex(),
        "steps": [_step_entry(step, names) for step in steps],
        "runs": [_run(run, label[run["run"]]) for run in runs],
        "road": _road(cast, steps, next(run for run in runs if run["run"] == cast.facts["second"])),
        "accesses": [
            {
                **access,
                "run": label[access["run"]],
                "analyst": names.get(access["analyst"], "somebody"),
            }
            for access in ada.accesses()
        ],
        "withdrawal": {
            "block": followed["block"],
            "settled": followed["settled"],
            "effects": [{**effect, "run": label[effect["run"]]} for effect in followed["effects"]],
        },
        "results": cast.facts["results"],
        "attacks": [
            {
                "name": attack.name,
                "attacker": attack.attacker,
                "expected": rule(attack.expected),
                "refused": attack.name in tried,
                "at": "contracts" if isinstance(attack, attacks.Attack) else "endpoints",
            }
            for attack in attacks.made()
        ],
        "tampers": cast.facts["tampers"],
        "plans": cast.facts["plans"],
        "gas": _gas(steps, cast.parts.urls["chain"]),
    }


def write(home: Path, material: Mapping[str, Any]) -> Path:
    """Write report.html into the demo's folder."""
    path = home / "report.html"
    path.write_text(render(material), encoding="utf-8")
    return path


def render(material: Mapping[str, Any]) -> str:
    """Render the page."""
    templates = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        clock=words.clock,
        moment=words.moment,
        feature_set=lambda name: FEATURE_SETS.get(name, name),
        model=lambda name: IN_FULL.get(name, name),
        word=lambda name: WORDS.get(name, name),
        kind=lambda name: name.replace("-", " ").replace("_", " "),
        state=words.state,
        begin=lambda text: text[:1].upper() + text[1:],
        no_hex=without_hex,
    )
    results = material["results"]
    research = _ordered(results["research"]["result"])
    return templates.get_template("report.html").render(
        material,
        style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
        sentence=SENTENCE,
        verdict=_verdict(material["report"]),
        held=_all_hold(material["report"]),
        groups=_groups(material),
        attackers=_by(material["attacks"], "attacker"),
        checks=_by(material["tampers"], "word"),
        phases=_phases(material["runs"]),
        result=research,
        rows=_beside_the_paper(research["rows"]),
        claims=_claims(research, material["report"]),
        scenes=SCENES,
        curves=_curves(research),
        plot=_plots(material, research),
        figures=science.METRICS,
        withheld=[
            (name, _kept_back(result["disclosure"]["withheld"])) for name, result in results.items()
        ],
    )


def _names(cast: Cast) -> dict[str, str]:
    """Names by address: of the staff, and of the broker, which signed the identity like the
    founders.
    """
    names = {cast.client(name).wallet.address: name.capitalize() for name in STAFF}
    return {address: "the broker" for address in cast.identity["signatures"]} | names


def _step_entry(step: Step, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "count": step.count,
        "block": step.block,
        "time": step.time,
        "tx": step.tx,
        "head": step.head,
        "sentence": sentences.sentence(step, names),
        "refused": sentences.is_refusal(step),
        "run": next((event.run for event in step.events if event.run), ""),
    }


def _run(run: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The report's entry for a run; `released` is the block, absent if nothing was released."""
    released = [output["release"]["block"] for output in run["outputs"] if output["release"]]
    kept = {
        "id": run["run"],
        "label": label,
        "state": run["state"],
        "code": run["codeHash"],
        "params": run["paramsHash"],
        "attempts": run["attempts"],
    }
    return (
        kept
        | ({"released": released[-1]} if released else {})
        | ({"reason": run["reason"]["sentence"]} if run["reason"] else {})
    )


def _road(cast: Cast, steps: Sequence[Step], run: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks at which one released run passed each gate; for the keys, the block that the
    broker checked.
    """
    blocks = {event.name: step.block for step in reversed(steps) for event in step.events}
    attempt = run["attempts"][-1]
    lines = (cast.home / "broker" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    keys = [
        entry["block"]
        for entry in map(json.loads, lines)
        if entry["kind"] == "pieces"
        and entry["run"] == run["run"]
        and entry["attempt"] == attempt["attempt"]
    ]
    sealed = next(
        step.block
        for step in steps
        for event in step.events
        if (event.name, event.run) == ("Sealed", run["run"])
    )
    return {
        "consent": blocks["ConsentGranted"],
        "permit": blocks["PermitApproved"],
        "receipt": attempt["block"],
        "granted": attempt["granted"],
        "denied": attempt["denied"],
        "keys": keys[0],
        "sealed": sealed,
        "released": run["outputs"][-1]["release"]["block"],
    }


def _gas(steps: Iterable[Step], url: str) -> list[dict[str, Any]]:
    """Gas per person for each kind of call, over all calls of the demo."""
    from chain.node import Node

    node = Node(url)
    people: dict[str, int] = {}
    gas: dict[str, int] = {}
    for step in steps:
        counted = [PER_PERSON[event.name] for event in step.events if event.name in PER_PERSON]
        if counted:
            receipt = node.call("eth_getTransactionReceipt", ["0x" + step.tx])
            people[counted[0]] = people.get(counted[0], 0) + len(counted)
            gas[counted[0]] = gas.get(counted[0], 0) + int(receipt["gasUsed"], 16)
    return [
        {"what": what, "people": people[what], "each": round(gas[what] / people[what])}
        for what in people
    ]


def _verdict(report: Mapping[str, Any]) -> list[tuple[str, str, bool, str]]:
    """(what, value, whether it is the expected one, the test that proves it)."""
    keys, after, accesses = report["keys"], report["after_revocation"], report["accesses"]
    attacked, tampered = report["attacks"], report["tampers"]
    unlogged = keys["released"] - keys["logged"]
    return [
        (
            "keys without a record",
            str(unlogged),
            unlogged == 0 < keys["released"],
            "tests/test_no_receipt_no_key.py::test_keys_and_accesses_counted_by_programs_that_are_not_ours",
        ),
        (
            "keys after her withdrawal",
            str(after["keys"]),
            after == {"accesses": 0, "keys": 0},
            "tests/test_recovery.py::test_a_withdrawal_stops_the_training_and_the_next_attempt_is_without_her",
        ),
        (
            "accesses explained offline",
            f"{accesses['explained']} / {accesses['recorded']}",
            accesses["explained"] == accesses["recorded"] and report["verified"] == "valid",
            "tests/governance/test_verify.py::test_replayed_state_agrees_with_the_contracts_at_every_step",
        ),
        (
            "attacks refused",
            f"{attacked['refused']} / {attacked['tried']}",
            attacked["refused"] == attacked["tried"],
            "tests/contracts/test_attacks.py::test_attack_is_refused_and_its_control_accepted",
        ),
        (
            "tampers found",
            f"{tampered['detected']} / {tampered['tried']}",
            tampered["detected"] == tampered["tried"],
            "tests/test_tampers.py::test_verify_names_every_tamper",
        ),
    ]


def _all_hold(report: Mapping[str, Any]) -> bool:
    return (
        all(scene["holds"] for scene in report["story"])
        and all(good for _, _, good, _ in _verdict(report))
        and report["phi"]["hits"] == 0
    )


def _groups(material: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Group the trail: everything around the runs first, then run by run, then the plans of care."""
    label = {run["id"]: f"{run['label']}, {words.state(run['state'])}" for run in material["runs"]}
    label = {"": "People, roles, records, permits", **label, _PLANS: "Plans of care"}
    order = {run: position for position, run in enumerate(label)}

    def group_of(step: Mapping[str, Any]) -> str:
        return step["run"] if step["run"] in label else _PLANS

    ordered = sorted(material["steps"], key=lambda step: (order[group_of(step)], step["count"]))
    return [(label[group], list(steps_)) for group, steps_ in groupby(ordered, key=group_of)]


def _by(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return list(groups.items())


def _kept_back(withheld: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """(what, why), with the same kind and reason in one line: "model file: cnn, forest"."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in withheld:
        kind, _, which = item["what"].partition(": ")
        groups.setdefault((kind, item["why"]), []).extend([which] if which else [])
    return [
        (f"{kind}: {', '.join(which)}" if which else kind, why)
        for (kind, why), which in groups.items()
    ]


def _phases(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Seconds of each phase by run, for finished attempts."""
    return {
        run["label"]: {
            phase: float(seconds) for phase, seconds in attempt["record"]["seconds"].items()
        }
        for run in runs
        for attempt in run["attempts"]
        if attempt["record"]
    }


def _ordered(result: Mapping[str, Any]) -> dict[str, Any]:
    """Rows and curves in the order of the printed story."""
    ranks = {name: rank for rank, name in enumerate(science.ORDER)}

    def rank(row: Mapping[str, Any]) -> int:
        return ranks.get(f"{row['model']}/{row['feature_set']}", len(ranks))

    return {
        **result,
        "rows": sorted(result["rows"], key=rank),
        "curves": sorted(result["curves"], key=rank),
    }


def _beside_the_paper(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "paper": science.PAPER.get(row["model"]) if row["feature_set"] == "combined" else None,
        }
        for row in rows
    ]


def _claims(result: Mapping[str, Any], report: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(what the metrics show, what they do not), each a sentence chosen by the metrics."""
    shown: list[str] = []
    not_shown: list[str] = []

    def say(holds: bool, sentence: str) -> None:
        (shown if holds else not_shown).append(sentence)

    rows = result["rows"]
    above = sum(words.is_better_than_chance(row) for row in rows)
    say(
        above > 0,
        f"A signal: {above} of {len(rows)} rows have an AUC whose whole interval lies above chance, "
        "and that shuffled labels reach at most one time in twenty.",
    )
    if "baseline" in report:  # a rounded value may be half a step less
        better = sum(
            row["accuracy"] - row["step"] / 2 > report["baseline"]
            for row in rows
            if "accuracy" in row
        )
        say(
            better > 0,
            f"{better} of {len(rows)} rows are, beyond rounding, right more often than saying "
            f"“nobody relapses”, which is right for at most {report['baseline']} %.",
        )
    if "gain" in report:
        low, high = report["gain"]["interval"]
        say(
            low > 0,
            f"{'A' if low > 0 else 'No'} gain from adding findings to genes: AUC {report['gain']['auc']:+} "
            f"[{low}, {high}] points; the source paper has accuracy {science.PAPER_GENES} to "
            f"{science.PAPER_COMBINED}.",
        )
    say(
        False,
        "The paper's figures are of other people and other data: a difference to ours refutes neither.",
    )
    say(False, "Nothing here says anything about the treatment of a single person.")
    return shown, not_shown


def _curves(result: Mapping[str, Any]) -> dict[str, Any]:
    """The curves by model on genes and findings, and the drawn one: the first of the result, not
    the best.
    """
    chosen = [curve for curve in result["curves"] if curve["feature_set"] == "combined"]
    roc = [curve for curve in chosen if "roc" in curve]
    grouped = [curve for curve in chosen if "calibration" in curve]
    return {
        "roc": roc,
        "calibrated": grouped[0] if grouped else None,
        "drawn": roc[0] if roc else None,
    }


def _plots(material: Mapping[str, Any], research: Mapping[str, Any]) -> dict[str, Markup]:
    """The plots by name; a plot without values is absent."""
    report, results = material["report"], material["results"]
    revocation = report["revocation"]
    curves = _curves(research)
    stopped = float(revocation["stop_seconds"])
    mined = float(revocation.get("mined_seconds", "0"))
    drawings = {
        "auc": plots.auc_intervals(
            [{**row, "feature_set": FEATURE_SETS[row["feature_set"]]} for row in research["rows"]],
            "auc",
        ),
        "withdrawal": plots.timeline(
            [
                ("signed", 0, 0),
                ("on the ledger", 0, mined),
                ("training process dead", mined, mined + stopped),
            ],
            "withdrawal",
        ),
    }
    if curves["drawn"]:
        drawings["roc"] = plots.roc_curve(curves["drawn"]["roc"], "roc")
    if curves["calibrated"]:
        drawings["calibration"] = plots.calibration(
            curves["calibrated"]["calibration"]["groups"], "calibration"
        )
    if "noise" in report:
        noise = report["noise"]
        drawings["noise"] = plots.bars(
            [
                ("chance", 50.0),
                ("our code", 100 * float(noise["accuracy"])),
                ("selected outside the fold", 100 * float(noise["outside"])),
            ],
            "noise",
            "accuracy on pure noise, percent",
        )
    if material["gas"]:
        drawings["gas"] = plots.bars(
            [(call["what"], call["each"]) for call in material["gas"]], "gas", "gas a person"
        )
    if "association" in results:
        scan = results["association"]["result"]
        drawings["manhattan"] = plots.manhattan(scan["rows"], "manhattan")
        drawings["qq"] = plots.qq(scan["quantiles"], "qq")
    return {name: Markup(drawn) for name, drawn in drawings.items()}  # noqa: S704 (our own drawings, escaped there)
