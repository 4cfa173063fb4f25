"""The demo's report: one HTML file that needs no network and no script, made of what the demo measured.

`gather` asks the running parts once, when the story is told; `render` is a function of what it answered. A figure that
was not measured is absent from both, never zero. Ids, addresses and hashes stand behind a toggle; elsewhere everybody
has a name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analytics.catalogue import IN_FULL
from api.demo import attacks, science
from api.demo.others import SCENES
from api.demo.wording import rule, without_hex
from api.pages import event_text as sentences
from api.pages import labels as words
from api.pages import plots
from chain.ledger import Node
from governance.readmodel.database import open_database
from governance.readmodel.trail_queries import Step, Wanted, list_steps

if TYPE_CHECKING:
    from api.demo.cast import Cast

FOLDER = Path(__file__).resolve().parent / "templates"
STAFF = ("noor", "pia", "quinn", "rui", "sol", "tess", "rita", "omar", "vera", "worker")
FEATURE_SETS = {"genes": "genes", "clinical": "findings", "combined": "genes and findings"}
WORDS = {
    "consistent": "the events do not follow from the calls",
    "signed": "a signature does not hold",
    "anchored": "it ends otherwise than somebody else remembers",
    "object": "the bytes are not those that the ledger names",
    "journal": "a line does not follow from the one before",
    "receipt": "it is not what the trail recorded, or not witnessed",
    "result": "it is not the output that was sealed",
}
# What is counted towards a person: the events that one call writes for each.
PER_PERSON = {
    "Enrolled": "enrol",
    "ConsentGranted": "give consent",
    "ConsentRevoked": "withdraw",
    "AccessGranted": "check and log an access",
    "AccessDenied": "check and log an access",
}


def gather(cast: Cast, report: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the report shows, as JSON has it, from the parts while they run and from the demo's own facts."""
    ada, noor = cast.client("ada"), cast.client("noor")
    steps = list_steps(
        open_database(f"sqlite:///{cast.home / 'volens.db'}"), Wanted(), limit=100_000
    )[::-1]
    asked = [event.run for step in steps for event in step.events if event.name == "RunRequested"]
    label = {run: f"Run {number}" for number, run in enumerate(asked, 1)}
    names = _names(cast)
    followed = cast.facts["withdrawal"]
    found = [noor.run(run) for run in asked]
    tried = set(report["attacks"]["names"])
    return {
        "report": dict(report),
        "subject": (ada.subject or b"").hex(),
        "steps": [_told(step, names) for step in steps],
        "runs": [_run(run, label[run["run"]]) for run in found],
        "road": _road(
            cast, steps, next(run for run in found if run["run"] == cast.facts["second"])
        ),
        "accesses": [
            {**one, "run": label[one["run"]], "analyst": names.get(one["analyst"], "somebody")}
            for one in ada.accesses()
        ],
        "withdrawal": {
            "block": followed["block"],
            "settled": followed["settled"],
            "effects": [{**one, "run": label[one["run"]]} for one in followed["effects"]],
        },
        "results": cast.facts["results"],
        "attacks": [
            {
                "name": one.name,
                "attacker": one.attacker,
                "expected": rule(one.expected),
                "refused": one.name in tried,
                "at": "contracts" if isinstance(one, attacks.Attack) else "endpoints",
            }
            for one in attacks.made()
        ],
        "tampers": cast.facts["tampers"],
        "gas": _gas(steps, Node(cast.parts.urls["chain"])),
    }


def write(home: Path, material: Mapping[str, Any]) -> Path:
    """report.html in the demo's folder."""
    path = home / "report.html"
    path.write_text(render(material), encoding="utf-8")
    return path


def render(material: Mapping[str, Any]) -> str:
    """The whole page."""
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
        verdict=_verdict(material["report"]),
        held=_held(material["report"]),
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
            (name, _kept_back(one["disclosure"]["withheld"])) for name, one in results.items()
        ],
    )


def _names(cast: Cast) -> dict[str, str]:
    """Names by address: of the staff, and of the broker, who signed the identity beside the founders."""
    names = {cast.client(name).wallet.address: name.capitalize() for name in STAFF}
    return {address: "the broker" for address in cast.identity["signatures"]} | names


def _told(step: Step, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "count": step.count,
        "block": step.block,
        "time": step.time,
        "tx": step.tx,
        "head": step.head,
        "sentence": sentences.sentence(step, names),
        "refused": sentences.is_refusal(step),
        "run": next((one.run for one in step.events if one.run), ""),
    }


def _run(run: Mapping[str, Any], label: str) -> dict[str, Any]:
    """What the report says of a run; `released` is the block, absent where nothing was."""
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
    """The blocks at which one released run passed each gate; of the keys, the block whose head the broker asked."""
    blocks = {event.name: step.block for step in reversed(steps) for event in step.events}
    attempt = run["attempts"][-1]
    lines = (cast.home / "broker" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    keys = [
        one["block"]
        for one in map(json.loads, lines)
        if one["kind"] == "pieces"
        and one["run"] == run["run"]
        and one["attempt"] == attempt["attempt"]
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


def _gas(steps: Iterable[Step], node: Node) -> list[dict[str, Any]]:
    """Gas a person of each kind of call, over all calls of the demo."""
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
    """(what, figure, whether it is as it must be, the test that proves it)."""
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


def _held(report: Mapping[str, Any]) -> bool:
    return (
        all(one["holds"] for one in report["story"])
        and all(good for _, _, good, _ in _verdict(report))
        and report["phi"]["hits"] == 0
    )


def _groups(material: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """The trail by what it is about: everything around the runs first, then run by run."""
    label = {run["id"]: f"{run['label']}, {words.state(run['state'])}" for run in material["runs"]}
    order = {"": 0} | {run: place for place, run in enumerate(label, 1)}
    ordered = sorted(material["steps"], key=lambda step: (order[step["run"]], step["count"]))
    return [
        (label.get(run, "People, roles, records, permits"), list(own))
        for run, own in groupby(ordered, key=lambda step: step["run"])
    ]


def _by(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[str, list[Mapping[str, Any]]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return list(found.items())


def _kept_back(withheld: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """(what, why) with what has the same kind and reason in one line: "model file: cnn, forest"."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in withheld:
        kind, _, which = one["what"].partition(": ")
        found.setdefault((kind, one["why"]), []).extend([which] if which else [])
    return [
        (f"{kind}: {', '.join(which)}" if which else kind, why)
        for (kind, why), which in found.items()
    ]


def _phases(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Seconds of each phase by run, of the attempts that came to an end."""
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
    places = {name: place for place, name in enumerate(science.ORDER)}

    def place(one: Mapping[str, Any]) -> int:
        return places.get(f"{one['model']}/{one['feature_set']}", len(places))

    return {
        **result,
        "rows": sorted(result["rows"], key=place),
        "curves": sorted(result["curves"], key=place),
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
    """(what the figures show, what they do not), each a sentence that the figures themselves decide."""
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
    if "baseline" in report:  # a figure printed in steps may be half a step less
        better = sum(
            row["accuracy"] - row["step"] / 2 > report["baseline"]
            for row in rows
            if "accuracy" in row
        )
        say(
            better > 0,
            f"{better} of {len(rows)} rows are, beyond rounding, right more often than saying "
            f"“nobody relapses”, which is right for {report['baseline']} %.",
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
    """The curves by model on genes and findings, and the one that is drawn: the first of the result, not the best."""
    chosen = [one for one in result["curves"] if one["feature_set"] == "combined"]
    roc = [one for one in chosen if "roc" in one]
    grouped = [one for one in chosen if "calibration" in one]
    return {
        "roc": roc,
        "calibrated": grouped[0] if grouped else None,
        "drawn": roc[0] if roc else None,
    }


def _plots(material: Mapping[str, Any], research: Mapping[str, Any]) -> dict[str, Markup]:
    """The drawn figures by name; one whose figures are not there is absent."""
    report, results = material["report"], material["results"]
    revocation = report["revocation"]
    curves = _curves(research)
    stopped = float(revocation["stop_seconds"])
    mined = float(revocation.get("mined_seconds", "0"))
    found = {
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
        found["roc"] = plots.roc_curve(curves["drawn"]["roc"], "roc")
    if curves["calibrated"]:
        found["calibration"] = plots.calibration(
            curves["calibrated"]["calibration"]["groups"], "calibration"
        )
    if "noise" in report:
        noise = report["noise"]
        found["noise"] = plots.bars(
            [
                ("chance", 50.0),
                ("our code", 100 * float(noise["accuracy"])),
                ("selected outside the fold", 100 * float(noise["outside"])),
            ],
            "noise",
            "accuracy on pure noise, percent",
        )
    if material["gas"]:
        found["gas"] = plots.bars(
            [(one["what"], one["each"]) for one in material["gas"]], "gas", "gas a person"
        )
    if "association" in results:
        scan = results["association"]["result"]
        found["manhattan"] = plots.manhattan(scan["rows"], "manhattan")
        found["qq"] = plots.qq(scan["quantiles"], "qq")
    return {name: Markup(drawn) for name, drawn in found.items()}  # noqa: S704 (our own drawings, escaped there)
