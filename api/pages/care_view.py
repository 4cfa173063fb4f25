"""An opened plan of one patient's care as values for the pages: of its clinician, and of herself.

A plan is out of date after its last day, and then shows no option in words: no dose, no proposal
and no note, which could name one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from analytics.care.days import date_of
from analytics.care.drawn import (
    A_RESULT,
    FROM_HER_CLINICIAN,
    GENETIC,
    changes_since,
    dose_in_words,
    is_out_of_date,
    items_of,
    plain_label,
    to_be_known_first,
    warns,
)
from analytics.care.facts import FACTS, Kind, Reason
from analytics.care.interpreter import State
from analytics.care.medicine_table import names_by_code
from analytics.care.rule_set import Rule, RuleSet, facts_of, leaves
from api.pages import plots, run_text
from api.pages.labels import day, duration

# How each derived fact is computed (analytics/care/formulas.py), in words.
FORMULAS: Mapping[str, str] = {
    "creatinine_clearance": (
        "(140 − age) × weight in kg ÷ (72 × creatinine in mg/dL), for women × 0.85 (Cockcroft and "
        "Gault 1976); never from an estimated filtration rate"
    ),
    "dpyd_score": (
        "the two lowest activity values added (CPIC); different variants are presumed to be on "
        "different copies of the gene: a test of their phase can confirm it"
    ),
    "cyp2d6_score": "the activity values of both alleles added (CPIC)",
    "hormone_receptor": "oestrogen receptor or progesterone receptor",
    "liver": "the worse of the recorded impairment and of what the Child-Pugh class says",
    "pregnancy_excluded": "recorded as absent, or impossible by sex or menopause",
    "breast_feeding_excluded": "recorded as absent, or impossible by sex or menopause",
}
UNITS: Mapping[str, str] = {"1": "", "a": "years", "10*9/L": "× 10⁹ per litre"}
DECISIONS: Mapping[str, str] = {
    "accept": "agrees with this and will speak with you about it",
    "decline": "decided not to use this suggestion",
    "defer": "decides about it later, with you",
}
_NO_WAITING = "agrees with this: do not wait for a talk, call {}"
# When who takes a medicine calls, before any further dose.
_CALLS: Mapping[object, str] = {
    True: "now, at night too, also if a pump is running",
    "today": "today",
}
# Of a warning: a suggestion is "used", a warning is followed.
_ABOUT_A_WARNING: Mapping[str, str] = {**DECISIONS, "decline": "does not follow this warning"}
DOES_NOT_APPLY = "does not apply to this record now"
_PLACES = 2  # of a value over time; the facts have it as exactly as a dose takes it
# What a value does not say by itself, in words.
_MEANINGS: Mapping[str, str] = {
    "tested variant not found": "the tested variant was not found, which does not exclude others",
    "uncertain significance": "a variant whose meaning is not known, from which nothing follows",
}
# The same for a patient: categories of T and N (AJCC, 8th edition, breast).
_PLAIN_VALUES: Mapping[str, str] = {
    "T0": "no tumour seen (T0)",
    "Tis": "in its place of origin alone (Tis)",
    "T1": "up to 2 cm (T1)",
    "T2": "more than 2 and up to 5 cm (T2)",
    "T3": "more than 5 cm (T3)",
    "T4": "grown into skin or chest wall (T4)",
    "N0": "none (N0)",
    "N1": "in a few (N1)",
    "N2": "in several (N2)",
    "N3": "in many (N3)",
    "adjuvant": "given, after an operation",
    "neoadjuvant": "given, before an operation",
    "metastatic": "given",
    "setting not said": "given",
}
_PLAIN_BY_FACT: Mapping[tuple[str, str], str] = {
    **{
        (f"{hormone}_receptor", value): words
        for hormone in ("oestrogen", "progesterone")
        for value, words in (("positive", "it does"), ("negative", "it does not"))
    },
    ("hepatic_impairment", "none"): "not impaired",
}
# Concluded from a list of medicines in which there is none, not asked.
_FROM_THE_LIST = frozenset({"chemotherapy", "endocrine_therapy", "earlier_parp_inhibitor"})
# What the prognosis says to the patient, for the clinician who reads it.
_OF_THE_PATIENT: Mapping[str, str] = {
    "You are": "The patient is",
    "You had": "The patient had",
    "you belong": "the patient belongs",
    "your course": "the patient's course",
    "like you": "like the patient",
    "for you": "for the patient",
}
# By it a rule says how long a medicine is taken and what goes on beside it.
_SETTING = "metastatic"
_OF_HERSELF = ("sex", "age")
_NOT_JUDGED = "not judged"  # so begins what a gate of a rule says of a medicine that was given
_STAGE = frozenset({"nodes", "positive_nodes", "tumour_size"})
_FULL_SCORE = 2  # of DPYD (CPIC): two copies of full function
_COMPUTED_FOR_A_DOSE = frozenset(FACTS[name].label for name in ("creatinine_clearance", "liver"))
_FOR_A_DOSE = frozenset({"creatinine", "weight", "reported_clearance"})
_UNNAMED = re.compile(r"code (?:rxnorm:[0-9]+|atc:[A-Z0-9]+)")
_CODE = re.compile(r"\b(?:rxnorm:[0-9]+|atc:[A-Z0-9]+)\b")


@dataclass(frozen=True, slots=True)
class Item:
    """An option of the plan with its clinician's decision, "" before his countersignature or where
    he made none.
    """

    rule: str
    option: Mapping[str, Any]
    dose: str
    computed: list[tuple[str, str, str]]  # what, its value, how it is computed
    warnings: list[str]  # by something in her record
    general: list[str]  # of everybody to whom the rule applies
    decision: str
    note: str
    for_patient: str
    stopped: str  # why the rule is not in force any more, "" if it is
    warns: bool  # it advises against a medicine
    title: str  # for herself: a point about her genes has none before her clinician agreed with it
    inputs: list[str]  # the measured values that its row of the rule rests on, each with its day
    because: list[str]  # the medicines that its row asks for, then what the row computes
    pill: str  # what it is, in a word or two
    statement: str  # what is countersigned, in a sentence
    agree: str  # the same beside the choice to accept
    seen: list[str]  # medicines on a list of its rule, with the list
    decline: str  # the choice not to follow it
    decided: str  # the decision, in words to the patient
    medicine: str  # what the rule is about, in words; "" if it is about none
    no_next_dose: str  # when to call, before any further dose; "" if that may wait
    outlives: str  # the statement that holds also when the plan is out of date; "" for none
    calls: bool  # who takes the medicine calls before the next dose, whatever was decided
    meant: list[str]  # the medicines of the record that its row asks for
    signs: str  # what who takes the medicine calls for at once; "" if the rule names none


def describe(
    plan: Mapping[str, Any], notes: Mapping[str, Any], today: int, rules: RuleSet
) -> dict[str, Any]:
    """The values for the templates. notes: `{}` before the countersignature; today: in days."""
    decided: Mapping[str, Any] = notes.get("items", {})
    about_her = {entry["rule"]: entry["text"] for entry in plan["for_patient"]}
    changes = list(changes_since(plan, rules, today))
    stopped = {change.rule: change.why for change in changes if not change.newer}
    items = [
        _item(option, plan, decided.get(option["rule"], {}), about_her, stopped, rules, today)
        for option in sorted(items_of(plan), key=warns, reverse=True)
    ]
    wanted = {item.rule for item in items if item.decision == "accept" and not item.stopped}
    prognosis = _prognosis(notes.get("prognosis"))
    refused = _refused(plan, rules)
    return {
        "plan": plan,
        "out_of_date": is_out_of_date(plan, today),
        "aged": _aged(plan, rules),
        "before": plan["rule_set"] != rules.digest,
        "changed": [f"{change.title}: {change.why}" for change in changes],
        "stopped": any(item.stopped for item in items),
        "days_ago": max(0, today - plan["today"]),
        "items": items,
        "wanted": wanted,
        "titles": {item["rule"]: item["title"] for item in items_of(plan)},
        "medicines": {item.rule: item.medicine for item in items},
        "warned": any(item.no_next_dose and item.decision and not item.stopped for item in items)
        or any(part["taken"] and part["matters"] for part in refused["not_judged"]),
        "comment": notes.get("comment", ""),
        "scores": list(_scores(plan, today)),
        **_known(plan, items),
        **refused,
        "not_known": [
            _not_known(refusal, about_her[refusal["rule"]], items)
            for refusal in plan["refused"]
            if refusal["rule"] in about_her
        ],
        **_dates(plan, wanted, stopped, today),
        "prognosis": prognosis,
        "clinicians_prognosis": prognosis
        and prognosis | {"sentences": [about_the_patient(line) for line in prognosis["sentences"]]},
        "decisions": DECISIONS,
        "a_result": A_RESULT,
        "in_words": fact_in_words,
        "known_of": known_of,
        "plain_label": plain_label,
    }


def _known(plan: Mapping[str, Any], items: Iterable[Item]) -> dict[str, Any]:
    """What the record says of the patient, and whether anything is lacking."""
    used = plan["facts"]["used"]
    return {
        "person": [
            fact_in_words(fact) for name in _OF_HERSELF for fact in used if fact["fact"] == name
        ],
        "her_facts": _her_facts(plan, items),
        "lacking": bool(plan["facts"]["missing"]),
        "hardly_known": all(fact["fact"] in _OF_HERSELF for fact in used),
    }


def _refused(plan: Mapping[str, Any], rules: RuleSet) -> dict[str, Any]:
    """What is no option and why; of medicines that she takes, which were seen and which are not
    judged.
    """
    refused = plan["refused"]
    return {
        "refused": [
            refusal
            | {
                "computed": _computed(refusal),
                "verdict": _verdict(refusal),
                "change": [line for line in refusal["change"] if not line.startswith("Nothing")],
            }
            for refusal in refused
        ],
        "seen": [
            refusal | {"reasons": _matters(refusal) if _is_not_judged(refusal) else []}
            for refusal in refused
            if refusal["medicines"]
            and (
                refusal["state"] == State.UNKNOWN
                or (_is_not_judged(refusal) and _taken(refusal, rules))
            )
        ],
        "not_judged": [
            _not_judged(refusal, rules) for refusal in refused if _is_not_judged(refusal)
        ],
    }


def _dates(
    plan: Mapping[str, Any], wanted: Collection[str], stopped: Collection[str], today: int
) -> dict[str, Any]:
    """Tests and visits, of hers those of the rules that her clinician follows; and her
    measurements.
    """
    schedule = [entry | {"every": _every(entry)} for entry in plan["schedule"]]
    out_of_date = is_out_of_date(plan, today)
    return {
        "schedule": [entry for entry in schedule if entry["rule"] not in stopped],
        "her_schedule": [entry for entry in schedule if entry["rule"] in wanted],
        "measured": [
            _measured(measurement, out_of_date) for measurement in plan.get("monitoring", ())
        ],
    }


def _measured(entry: Mapping[str, Any], out_of_date: bool) -> dict[str, Any]:
    """One measurement over time, with its plot if there are two values or more; the next day only
    while the plan is in force.
    """
    unit = UNITS.get(entry["unit"], entry["unit"])
    what = f"{entry['label']}, {unit}" if unit else entry["label"]
    due = None if out_of_date else entry.get("next")
    values = [(value["day"], round(float(value["value"]), _PLACES)) for value in entry["values"]]
    name = f"measured-{entry['fact']}"
    return {
        **entry,
        "unit": unit,
        "values": [{"day": day, "value": f"{value:g}"} for day, value in values],
        "next": due,
        "plot": plots.over_time(values, due and due["day"], name, what) if len(values) > 1 else "",
    }


def _prognosis(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the clinician put beside the plan about a group of people, with the curve of its rows
    as they were released.
    """
    if given is None:
        return None
    group = run_text.group(given.get("stratum", ""))
    points = [
        (round(row["days"] / 365.25, 1), row["survival"], *row["interval"])
        for row in given.get("points", ())
    ]
    plot = plots.survival_curves({group: points}, "prognosis", "years") if points else ""
    return {**given, "group": group, "plot": plot}


def about_the_patient(sentence: str) -> str:
    """A sentence of a prognosis, which speaks to the patient, for the clinician."""
    for hers, his in _OF_THE_PATIENT.items():
        sentence = sentence.replace(hers, his)
    return sentence


def fact_in_words(fact: Mapping[str, Any]) -> str:
    """The value of a known fact with its unit; medicines by their names where the table of
    medicines has one.
    """
    value, unit = str(fact["value"]), fact.get("unit", "")
    if fact["fact"] in ("medicines", "medicines_ever", "allergies"):
        named = names_by_code()
        value = ", ".join(named.get(code, f"code {code}") for code in value.split(", ") if code)
    if fact["fact"] == "medicines_complete":
        value = (
            "no entry of this record that could be a medicine is missing; medicines from "
            "elsewhere, or without a prescription, are not in it"
        )
    if fact["fact"] in _FROM_THE_LIST and value in ("no", "none"):
        value = "none in this record"
    value = _MEANINGS.get(value, value)
    return " ".join([value or "none recorded", UNITS.get(unit, unit)]).strip()


def known_of(*parts: Mapping[str, Any]) -> list[str]:
    """The known facts of an option or its conditions, each once with its day."""
    known = {
        fact["fact"]: fact_with_day(fact)
        for part in parts
        for fact in part["facts"]
        if "value" in fact and fact["fact"] != "medicines_complete"
    }
    return list(known.values())


def _her_facts(plan: Mapping[str, Any], items: Iterable[Item]) -> list[dict[str, Any]]:
    """The facts that were used, for herself: one of `FROM_HER_CLINICIAN` only where her clinician
    agreed with an option by which she hears of it.
    """
    agreed = _agreed(items)
    return [
        {
            "label": plain_label(fact["fact"]),
            "day": fact.get("day"),
            "words": A_RESULT
            if fact["fact"].startswith(FROM_HER_CLINICIAN) and fact["fact"] not in agreed
            else _plainly(fact),
        }
        for fact in plan["facts"]["used"]
        if fact["fact"] != "medicines_complete"
    ]


def _agreed(items: Iterable[Item]) -> set[str]:
    """The facts of which she hears with an option that her clinician agreed with: the stage that it
    rests on, and of a gene what an option is about, which is no test of it."""
    agreed = [item for item in items if item.decision == "accept"]
    return {
        fact["fact"]
        for item in agreed
        for part in (item.option, *item.option["gates"])
        for fact in part["facts"]
        if fact["fact"] in _STAGE
        or any(
            fact["fact"].startswith(gene)
            and gene.upper() in item.for_patient
            and item.option["category"] != "test"
            for gene in GENETIC
        )
    }


def _plainly(fact: Mapping[str, Any]) -> str:
    """A value for a patient."""
    value = str(fact["value"])
    by_fact = _PLAIN_BY_FACT.get((fact["fact"], value))
    words = by_fact or _PLAIN_VALUES.get(value) or fact_in_words(fact)
    return _UNNAMED.sub("a medicine that this page cannot name", words)


def _not_known(refusal: Mapping[str, Any], text: str, items: Iterable[Item]) -> str:
    """What is to be known first about a rule. That it is about a change of her genes she hears from
    her clinician: where one is known, and no option about it was agreed with, it is not named."""
    known = {
        fact["fact"]
        for gate in refusal["gates"]
        for fact in gate["facts"]
        if fact["fact"].startswith(GENETIC) and "value" in fact
    }
    if known <= _agreed(items):
        return text
    about = "A point that your clinician speaks with you about cannot be judged yet."
    return f"{about} {to_be_known_first(refusal['missing'])}"


def _closed_as(part: Mapping[str, Any]) -> str:
    """What a closed gate says instead of "refused", or nothing."""
    return next(
        (
            gate["closed_as"]
            for gate in part["gates"]
            if gate["id"] in part["closed"] and "closed_as" in gate
        ),
        "",
    )


def _scores(plan: Mapping[str, Any], today: int) -> Iterator[str]:
    """What is known of DPYD and CYP2D6 and gives no advice now, since it counts for a next
    prescription; genes do not age with a plan.
    """
    options = [] if is_out_of_date(plan, today) else items_of(plan)
    used = {fact["fact"]: fact for fact in plan["facts"]["used"]}
    computed = [
        gate["computed"]["dpyd_score"]
        for refusal in plan["refused"]
        for gate in refusal["gates"]
        if "dpyd_score" in gate["computed"]
    ]
    offered = any("dpyd_score" in item["computed"] for item in options)
    variants = str(used.get("dpyd_variants", {}).get("value", ""))
    if computed and not offered and Decimal(computed[0]) < _FULL_SCORE:
        yield (
            f"DPYD activity score {computed[0]}: it counts as soon as fluorouracil, capecitabine "
            "or tegafur is taken or planned. Below 1 they are to be avoided, below 2 the first "
            "dose is lower."
        )
    elif variants and not computed and not offered:
        yield (
            f"DPYD {variants} is reported, and not every position was tested: there is no score, and "
            "none of the full activity is left to assume. No full dose of fluorouracil or capecitabine "
            "before it is known."
        )
    diplotype = used.get("cyp2d6_diplotype", {}).get("value")
    if diplotype and not any("cyp2d6_score" in item["computed"] for item in options):
        yield f"CYP2D6 {diplotype} is reported: it counts as soon as tamoxifen is taken or planned."


def _matters(part: Mapping[str, Any]) -> list[str]:
    """Why a rule is closed: what matters for who takes the medicine first, that it is given last;
    and what a dose would hang on, with its day.
    """
    given = [gate["id"] for gate in part["gates"] if _is_of_given(gate)]
    reasons = sorted(
        zip(part["closed"], part["reasons"], strict=False), key=lambda pair: pair[0] in given
    )
    measured = {
        fact_with_day(fact) if "value" in fact else f"{fact['label']} not known ({_why(fact)})"
        for gate in part["gates"]
        for fact in gate["facts"]
        if fact["fact"] in _FOR_A_DOSE and fact.get("reason") != Reason.NOT_RECORDED.value
    }
    computed = {
        f"{what} {value}" for what, value, _ in _computed(part) if what in _COMPUTED_FOR_A_DOSE
    }
    if not any("creatinine_clearance" in gate["computed"] for gate in part["gates"]):
        computed.add(f"{FACTS['creatinine_clearance'].label} not known")
    return [
        *(reason for _, reason in reasons),
        f"{'; '.join(sorted(computed) + sorted(measured))}.",
    ]


def _why(fact: Mapping[str, Any]) -> str:
    """Why a fact is not known."""
    return ", ".join(filter(None, (fact["reason"], fact["detail"])))


def _not_judged(part: Mapping[str, Any], rules: RuleSet) -> dict[str, Any]:
    """For the patient: a medicine that is not judged, and whether anything of her record matters
    for it: another closed gate, a medicine beside it, or that another dose than the usual is hers.
    """
    lists, taken = _given_lists(part, rules), _taken(part, rules)
    rows = [
        option["id"]
        for rule in rules.rules
        if rule.id == part["rule"]
        for option in rule.content["options"]
    ]
    others = [seen["name"] for seen in part["medicines"] if seen["is_one_of"] not in lists]
    unusual = part.get("row", "") not in ("", *rows[:1])
    return {
        "medicine": part["medicine_in_words"],
        "taken": " and ".join(dict.fromkeys(taken)),
        "others": " and ".join(dict.fromkeys(others)),
        "matters": bool(len(part["closed"]) > 1 or others or unusual),
    }


def _taken(part: Mapping[str, Any], rules: RuleSet) -> list[str]:
    """The names of the medicines that a rule does not judge, of those that are taken now."""
    lists = _given_lists(part, rules)
    return [seen["name"] for seen in part["medicines"] if seen["is_one_of"] in lists]


def _given_lists(part: Mapping[str, Any], rules: RuleSet) -> set[str]:
    """The lists by which a rule sees that its medicine is given already."""
    return {
        rules.titles[leaf["value"]]
        for rule in rules.rules
        if rule.id == part["rule"]
        for gate in rule.content["gates"]
        if _is_of_given(gate)
        for leaf in leaves(gate["when"])
        if leaf["op"] == "any of"
    }


def _is_not_judged(part: Mapping[str, Any]) -> bool:
    """Whether a rule says nothing of a medicine because it is or was given already."""
    return _closed_as(part).startswith(_NOT_JUDGED)


def _is_of_given(gate: Mapping[str, Any]) -> bool:
    """Whether a gate is closed by a medicine that is or was given, of which nothing is judged."""
    return str(gate.get("closed_as", "")).startswith(_NOT_JUDGED)


def _verdict(part: Mapping[str, Any]) -> str:
    """Why a rule gives no option, in short; its first gate says whom it is for."""
    if part["gates"] and part["gates"][0]["id"] in part["closed"]:
        return DOES_NOT_APPLY
    if words := _closed_as(part):
        return words
    return "refused" if part["state"] in (State.CLOSED, State.REFUSES) else str(part["state"])


def _item(
    option: Mapping[str, Any],
    plan: Mapping[str, Any],
    decided: Mapping[str, str],
    about_her: Mapping[str, str],
    stopped: Mapping[str, str],
    rules: RuleSet,
    today: int,
) -> Item:
    rule, decision = option["rule"], decided.get("decision", "")
    drawn_by = next((entry for entry in rules.rules if entry.id == rule), None)
    meant = list(_asked_for(option, drawn_by, rules)) if drawn_by else []
    against, dose = warns(option), dose_in_words(option.get("dose"))
    of_treatment = _of_treatment(drawn_by) if against and drawn_by else set()
    warnings = [
        warning
        for warning in plan["warnings"]
        if warning["rule"] == rule and warning["text"] not in of_treatment
    ]
    if rule in stopped:
        pill = "not in force"
    elif against:
        pill = "advises against"
    else:
        pill = "out of date" if is_out_of_date(plan, today) else "offered"
    of_row = _computed({**option, "gates": []})
    calls = "signs" in option and (bool(dose) or option["category"] == "test")
    return Item(
        rule=rule,
        option=option,
        dose=dose,
        computed=_computed(option),
        warnings=[_named(warning["text"]) for warning in warnings if not warning.get("general")],
        general=[_named(warning["text"]) for warning in warnings if warning.get("general")],
        decision=decision,
        note=decided.get("note", ""),
        for_patient=about_her.get(rule, ""),
        stopped=stopped.get(rule, ""),
        warns=against,
        title=_title_for_patient(option, decision),
        inputs=[
            fact_with_day(fact)
            for fact in option["facts"]
            if "value" in fact and FACTS[fact["fact"]].kind is Kind.NUMBER
        ],
        because=[*meant, *(f"{what} {value}" for what, value, _ in of_row)],
        pill=pill,
        statement=_statement(option, dose),
        agree=_agreement(option, dose, meant),
        seen=[f"{medicine['name']} ({medicine['is_one_of']})" for medicine in option["medicines"]],
        decline="I do NOT follow this warning for this patient"
        if against
        else "Decline: I do not follow it for this patient",
        decided=_decided(option, decision),
        medicine=option.get("medicine_in_words", ""),
        no_next_dose=_CALLS.get(option.get("no_next_dose"), ""),
        outlives=option["action"] if against or (calls and not dose) else "",
        calls=calls,
        meant=meant,
        signs=option.get("signs", ""),
    )


def _title_for_patient(option: Mapping[str, Any], decision: str) -> str:
    """What she reads above an option: of her genes nothing before her clinician agreed with it."""
    if decision == "accept":
        return str(option["title"])
    whom = {fact["fact"] for fact in option["gates"][0]["facts"]}
    if "medicines" in whom and "medicine_in_words" in option:  # she takes it
        return f"About {option['medicine_in_words']}"
    read = {fact["fact"] for gate in option["gates"] for fact in gate["facts"]}
    if any(name.startswith(GENETIC) for name in read):
        return "A point that your clinician speaks with you about"
    return str(option["title"])


def fact_with_day(fact: Mapping[str, Any]) -> str:
    """A known fact with its label, value and day."""
    dated = f" ({date_of(fact['day'])})" if "day" in fact else ""
    return f"{fact['label']} {fact_in_words(fact)}{dated}"


def _statement(option: Mapping[str, Any], dose: str) -> str:
    """What the clinician decides on: an option that advises against a medicine begins with that."""
    if warns(option):
        return f"ADVISES AGAINST: {option['action']}"
    if not dose:
        return f"Offered: {option['action']}"
    return f"Offered{_first_cycle(option)}: {option['action']} Dose by the rule: {dose}."


def _decided(option: Mapping[str, Any], decision: str) -> str:
    """A decision, in words to the patient."""
    if decision == "accept" and "no_next_dose" in option:
        return _NO_WAITING.format(_CALLS[option["no_next_dose"]].partition(",")[0])
    if decision == "accept" and option["category"] == "test" and "signs" in option:
        return _NO_WAITING.format("today if you take it")
    return (_ABOUT_A_WARNING if warns(option) else DECISIONS).get(decision, "")


def _agreement(option: Mapping[str, Any], dose: str, meant: Sequence[str]) -> str:
    """The same beside the choice to accept: the medicine with its dose, and what it depends on."""
    medicine = option.get("medicine_in_words", "this medicine")
    if warns(option):
        return f"ADVISES AGAINST {medicine}"
    if not dose:
        return "the statement above"
    stays = f", only if {' and '.join(meant)} stays" if meant and "mg" in option["dose"] else ""
    return f"{medicine}{_first_cycle(option)}: {dose}{stays}"


def _first_cycle(option: Mapping[str, Any]) -> str:
    return (
        " before a first cycle only" if "percent_of_usual_start" in option.get("dose", {}) else ""
    )


def _asked_for(option: Mapping[str, Any], rule: Rule, rules: RuleSet) -> Iterator[str]:
    """The medicines without which another row of the rule would apply."""
    rows = [row["when"] for row in rule.content["options"] if row["id"] == option["option"]]
    lists = {rules.titles[name] for row in rows for name in _lists_of(row)}
    for medicine in option["medicines"]:
        if medicine["is_one_of"] in lists:
            yield medicine["name"]


def _lists_of(condition: Mapping[str, Any]) -> Iterator[str]:
    """The lists of which a condition asks for a medicine; of a "not" none."""
    for part in (*condition.get("all", ()), *condition.get("any", ())):
        yield from _lists_of(part)
    if condition.get("op") == "any of":
        yield condition["value"]


def _of_treatment(rule: Rule) -> set[str]:
    """The warnings about how long the medicine is taken: nothing for who is advised against it."""
    return {
        warning["text"]
        for warning in rule.content["warnings"]
        if _SETTING in facts_of(warning.get("when", {}))
    }


def _aged(plan: Mapping[str, Any], rules: RuleSet) -> list[str]:
    """What ended on the plan's last day: facts with their day, and rules."""
    last, present = plan["valid_until"], {rule.id: rule for rule in rules.rules}
    ended: list[str] = []
    for item in items_of(plan):
        needs = present[item["rule"]].needs if item["rule"] in present else {}
        for fact in (*plan["facts"]["used"], *plan["facts"]["missing"]):
            days = needs.get(fact["fact"])
            if days is not None and "day" in fact and fact["day"] + days == last:
                ended.append(
                    f"{fact['label']}, as recorded of {day(fact['day'])}, may be {days} days old at "
                    "most"
                )
        if item["expires"] - 1 == last:
            ended.append(f"the rule “{item['title']}” has expired")
    return list(dict.fromkeys(ended))


def _computed(part: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What an option or a refusal computes, with its value and formula, each once."""
    values = dict(part.get("computed", {}))
    for gate in part["gates"]:
        values |= gate["computed"]
    return [
        (
            FACTS[name].label if name in FACTS else name,
            _rounded(name, value),
            FORMULAS.get(name, ""),
        )
        for name, value in sorted(values.items())
    ]


def _named(text: str) -> str:
    """A text with the names of known medicines before their codes."""
    names = names_by_code()
    return _CODE.sub(
        lambda code: f"{names[code[0]]} ({code[0]})" if code[0] in names else code[0], text
    )


def _rounded(name: str, value: str) -> str:
    """A clearance to a tenth, downwards, so that it stays in its class. The plan has it whole."""
    if name != "creatinine_clearance":
        return value
    number, _, unit = value.partition(" ")
    return f"{Decimal(number).quantize(Decimal('0.1'), ROUND_DOWN)} {unit}"


def _every(entry: Mapping[str, Any]) -> str:
    days = entry.get("every_days")
    if days is None:
        return "once"
    return f"every {duration(days)}".replace("every 1 ", "every ")
