"""Labels: the ledger's names in plain words, and readable times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from analytics.catalogue import SHOWN
from analytics.clusterings import REGISTERED as CLUSTERINGS
from analytics.explanations import REGISTERED as EXPLANATIONS
from api.pages.diagnoses import diagnoses
from chain.vocabulary import PermitStatus, Role
from governance.consent import CATEGORIES, PURPOSES, names_of
from governance.permits import OUTPUT_NAMES
from governance.rules.encoding import Malformed, strict_json

DAY = 86_400
LAST_SECOND = 253_402_300_799  # of the year 9999: the ledger's times go on, calendars do not
ROLES: dict[int, str] = {
    Role.COMMITTEE: "committee member",
    Role.CUSTODIAN: "custodian",
    Role.REGISTRAR: "registrar",
    Role.ANALYST: "analyst",
    Role.CHECKER: "output checker",
    Role.CLINICIAN: "clinician",
    Role.PROTECTION: "data-protection officer",
    Role.AUDITOR: "auditor",
    Role.BROKER: "key broker",
    Role.WORKER: "worker",
}
_PURPOSES = {
    "any-research": "any research",
    "general-research": "general research",
    "health-research": "health research",
    "ancestry": "research on ancestry",
    "for-profit": "use by companies for profit",
    "methods": "making research methods better",
    "care": "your own care",
    "cancer-research": "cancer research",
}
_RECIPIENTS = {
    "outside-recipient": "researchers outside the place that keeps your data",
    "company-recipient": "companies",
}
_CATEGORIES = {
    "demographics": "age, sex and the like",
    "conditions": "diagnoses",
    "observations": "findings and lab values",
    "medications": "medicines",
    "procedures": "operations and treatments",
    "germline-variants": "your genome and genetic test results",
    "expression": "gene activity and other molecules of the tumour",
    "imaging": "images",
    "wearables": "data of wearables",
    "lifestyle": "lifestyle",
    "mental-health": "mental health",
    "substance-use": "alcohol and drugs",
    "sexual-health": "sexual health",
    "hiv": "HIV",
}
_OUTPUTS = {
    "metrics": "metrics of models",
    "table": "tables of counts and survival curves",
    "genomic": "results about genetic variants",
    "individual": "a plan of one patient's care, for her clinician and her",
}
_PERMIT_STATES = {
    PermitStatus.REQUESTED: "waits for votes",
    PermitStatus.APPROVED: "approved",
    PermitStatus.SUSPENDED: "suspended",
    PermitStatus.REJECTED: "rejected",
}
_STATES = {
    "queued": "waiting",
    "authorised": "allowed, not begun",
    "computing": "computing",
    "sealed": "waits for checkers",
    "released": "released",
    "denied": "refused by the ledger",
    "withdrawn": "cancelled by the analyst",
    "refused": "held back by a checker",
    "failed": "failed",
}
_PLAN_STATES = {
    "queued": "being drawn up",
    "computing": "being drawn up",
    "sealed": "drawn, waits for its clinician",
    "countersigned": "signed by the clinician",
    "refused": "refused by the ledger",
    "ended": "ended",
    "failed": "failed",
}
_STEPS = {
    "asking the ledger": "asking the ledger who is willing",
    "fetching": "fetching encrypted records and their keys",
    "decrypted": "opened in memory",
    "read": "reading the records",
    "compute": "beginning to compute",
    "evaluate": "testing the model",
    "permute": "comparing with shuffled outcomes",
    "cox": "testing Cox regression",
    "bootstrap": "repeating everything on people drawn again",
    "cluster": "looking for clusters, also where there are none",
    "components": "looking for ancestry",
    "scan": "testing each variant",
    "count": "counting carriers",
    "filter": "holding back what could tell of one person",
    "disclose": "writing down what was held back",
    "sealed": "the output is sealed",
    "stopped": "stopped",
}
_FEATURE_SETS = {
    "clinical": "clinical data",
    "series": "measurements over time",
    "combined": "all data in one model",
    "fused": "all data, a model each",
}


def purposes(mask: int) -> str:
    """What for, as one phrase: "cancer research or health research"."""
    return _joined(
        [_PURPOSES.get(name, name) for name in names_of(mask, PURPOSES) if name not in _RECIPIENTS],
        "or",
    )


def needed_purposes(mask: int) -> str:
    """What for, where a consent must allow all of it: "cancer research and health research"."""
    return _joined(
        [_PURPOSES.get(name, name) for name in names_of(mask, PURPOSES) if name not in _RECIPIENTS],
        "and",
    )


def recipients(mask: int) -> str:
    """Who may get results besides the organisation that holds the data."""
    names = [_RECIPIENTS[name] for name in names_of(mask, PURPOSES) if name in _RECIPIENTS]
    return _joined(names, "and") or "nobody outside the place that keeps your data"


def categories(mask: int) -> str:
    """Which kinds of data."""
    return _joined([_CATEGORIES.get(name, name) for name in names_of(mask, CATEGORIES)], "and")


def purpose_label(name: str) -> str:
    """A purpose or recipient by its name in the vocabulary."""
    return _PURPOSES.get(name) or f"results to {_RECIPIENTS.get(name, name)}"


def category_label(name: str) -> str:
    return _CATEGORIES.get(name, name)


def output_label(name: str) -> str:
    return _OUTPUTS.get(name, name)


def outputs(mask: int) -> str:
    """Which kinds of results."""
    return _joined([_OUTPUTS.get(name, name) for name in names_of(mask, OUTPUT_NAMES)], "and")


def permit_state(status: int) -> str:
    return _PERMIT_STATES[PermitStatus(status)]


def state(name: str) -> str:
    return _STATES.get(name, name)


def plan_state(name: str) -> str:
    """The state of a plan of somebody's own care."""
    return _PLAN_STATES[name]


def step(name: str) -> str:
    """A worker's step in words: "testing the model: SVM on genes"."""
    what, _, which = name.partition(":")
    text = _STEPS.get(what, what)
    named, _, data = which.partition("/")
    if not which:
        return text
    return f"{text}: {model(named)}" + (f" on {feature_set(data)}" if data else "")


def model(name: str) -> str:
    return SHOWN.get(name, name)


def feature_set(name: str) -> str:
    """A feature set in words."""
    return _FEATURE_SETS.get(name, name)


def question(params: str) -> str:
    """The question of a run, from its parameters; "" for unknown parameters."""
    try:
        asked: Any = strict_json(params.encode())
        if asked["analysis"] == "frequencies":
            return "How common are some genetic variants?"
        what = outcome_in_full(asked["outcome"])
        return {
            "evaluate": f"How well can one predict {what}?",
            "survival": f"How does the risk grow over time, and who has more of it: {what}?",
            "clusters": f"Are there groups of people whose data is alike, and do they differ in {what}?",
            "associate": f"Which genetic variants go together with {what}?",
        }.get(asked["analysis"], "")
    except (KeyError, TypeError, Malformed):
        return ""


_CENSORING = {
    "exclude": "people whose follow-up ends earlier are left out",
    "event-free": "people whose follow-up ends earlier count as without it",
}


def study(document: Mapping[str, Any]) -> str:
    """The people and the outcome of a study (analytics/study.py) in words."""
    return f"{people_of(document['cohort'])}; {outcome_defined(document['outcome'])}"


def people_of(cohort: Mapping[str, Any]) -> str:
    """Who is in: "people aged 40 to 70 with breast cancer (C50)"."""
    youngest, oldest = cohort["age"]
    people = (
        "people of any age"
        if (youngest, oldest) == (0, 130)
        else (f"people aged {youngest} to {oldest}")
    )
    if cohort["with"]:
        people += f" with {diagnoses(cohort['with'])}"
    if cohort["without"]:
        people += f" without {diagnoses(cohort['without'])}"
    return people


def outcome_in_full(outcome: Mapping[str, Any]) -> str:
    """What is predicted, a diagnosis by its name."""
    what = outcome_of(outcome)
    if outcome["kind"] == "diagnosis" and {"event", "index"} <= outcome.keys():
        after = f"{diagnoses(outcome['event'])} follows {diagnoses(outcome['index'])}"
        what = what.replace("a named diagnosis follows", after)
    return what


def why_circular(outcome: Mapping[str, Any]) -> str:
    """Why an outcome is no test of some data, since it was defined by them; "" for another one."""
    return _DEFINED_BY.get(outcome.get("variable", ""), "")


def outcome_defined(outcome: Mapping[str, Any]) -> str:
    """What is predicted, who is left out, and from when it counts: the outcome as a committee votes
    on it.
    """
    conditions = [outcome_in_full(outcome)]
    if washout := outcome.get("washout_days"):
        conditions.append(f"the record reaches back {duration(washout)} before that diagnosis")
    if lookback := outcome.get("lookback_days"):
        conditions.append(f"nobody with the outcome in the {duration(lookback)} until then")
    if start := outcome.get("risk_start_days"):
        conditions.append(f"it counts from day {start} on")
    if outcome.get("censoring") in _CENSORING:
        conditions.append(_CENSORING[outcome["censoring"]])
    return "; ".join(conditions)


def duration(days: int) -> str:
    """A number of days in years where it is one: "5 years", "90 days"."""
    years = round(days / 365.25)
    if years and (abs(days - years * 365.25) < 2 or days == 365 * years):
        return f"{years} year{'s' * (years != 1)}"
    return f"{days} day{'s' * (days != 1)}"


def outcome_of(outcome: Mapping[str, Any]) -> str:
    """What is predicted, with its time: "whether a tumour spreads within 5 years"."""
    kind = outcome["kind"]
    if kind == "finding":
        return f"who has the finding “{variable(outcome['variable'])}”"
    text = {
        "distant-metastasis": "whether a tumour spreads",
        "diagnosis": "whether a named diagnosis follows",
    }
    return f"{text.get(kind, kind)} within {duration(outcome['horizon_days'])}"


def sentence(text: str) -> str:
    """A message as a sentence: a capital letter first, and one full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def role(number: int) -> str:
    return ROLES.get(number, "somebody without a role")


def short(text: str) -> str:
    """An id or address, shortened to its first and last characters."""
    return text if len(text) < 16 else f"{text[:8]}…{text[-4:]}"


def day(number: int) -> str:
    """A whole UTC day since 1970 as a date; one beyond the calendar as "without end"."""
    try:
        date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)
    except OverflowError:
        return "without end"
    return f"{date.day} {date:%B %Y}"


def is_better_than_chance(row: Mapping[str, Any]) -> bool:
    """Whether a row's whole interval is above 50 and its p at most 0.05: both are required."""
    return row.get("auc_interval", [0])[0] > 50 and float(row["p"]) <= 0.05


def moment(seconds: int) -> str:
    """A time, absolute: 24 November 2026, 14:02 UTC."""
    return f"{day(seconds // DAY)}, {minute(seconds)}"


def seconds(spent: float) -> str:
    """A duration, as exact as it means something: 4 s, below two seconds 0.6 s."""
    return f"{spent:.1f} s" if spent < 2 else f"{spent:.0f} s"


def clock(seconds: int) -> str:
    """A time without its day: 14:02:31 UTC."""
    return f"{seconds % DAY // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02} UTC"


def minute(seconds: int) -> str:
    """A time to the minute, without its day: 14:02 UTC."""
    return f"{seconds % DAY // 3600:02}:{seconds % 3600 // 60:02} UTC"


def iso(seconds: int) -> str:
    """A time for programs; one beyond the calendar is its last second."""
    seconds = min(seconds, LAST_SECOND)
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def ago(seconds: int, now: int) -> str:
    """The distance of a time from now, in one unit."""
    gap = abs(now - seconds)
    for size, unit in (
        (365 * DAY, "year"),
        (30 * DAY, "month"),
        (DAY, "day"),
        (3600, "hour"),
        (60, "minute"),
    ):
        if gap >= size:
            count = gap // size
            text = f"{count} {unit}{'s' * (count > 1)}"
            return f"{text} ago" if seconds <= now else f"in {text}"
    return "just now" if seconds <= now else "in less than a minute"


def _joined(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


_PARAMETERS = {
    "cohort": "Who is in",
    "cohort.age": "Age in whole years, both included",
    "cohort.with": "Codes that a person must have",
    "cohort.without": "Codes that a person must not have",
    "outcome": "What is predicted",
    "genes": "Genes",
    "genes.source": "Gene columns from",
    "genes.sets": "File of gene sets",
    "assays": "Assays, each a kind of data of its own",
    "genes.select": "Chosen inside each fold by",
    "genes.keep": "How many are kept",
    "genes.components": "Components added to them",
    "genes.encoder": "Components from",
    "variants": "Which variants and genotypes are used",
    "variants.min_maf": "Least frequency of the rarer allele",
    "variants.min_call_rate": "Least call rate",
    "variants.min_hwe": "Least p of Hardy-Weinberg",
    "variants.min_depth": "Least depth of a call",
    "variants.min_quality": "Least quality of a call",
    "variants.passed_only": "Only variants that passed the filter of every file",
    "clinical": "Clinical variables",
    "series": "Measurements over time",
    "series.variables": "Of these variables",
    "series.days": "In so many days until the index diagnosis",
    "series.step": "Days of a step, whose values become one mean",
    "strata": "Curves of groups, by",
    "impute": "Missing values are filled by",
    "scale": "Columns are scaled by",
    "models": "Models, and the data that each is given",
    "folds": "Folds of the cross-validation",
    "repeats": "Repeats of the cross-validation",
    "permutations": "Permutations of the outcome",
    "primary": "The model whose intervals count the training",
    "bootstraps": "Bootstrap samples for intervals: 0 for none, else 25 and more (survival: 50)",
    "tune": "Choose the settings of the models within each fold",
    "fairness": "Compare that model between groups of people, by",
    "explain": "Explanations of the model whose intervals count the training",
    "seed": "Seed of the random numbers",
    "method": "Clusters are drawn by",
    "clusters": "How many clusters: 2 to 6, 0 for as many as have the largest silhouette",
    "resamples": "Bootstrap samples for the stability of each cluster",
    "references": "Draws of people without groups, to compare with",
    "components": "Ancestry components as covariates",
    "statistics": "How many variants may be reported",
    "sites": "Variants",
}
_PARAMETER_NAMES = {
    "variable": "The finding",
    "horizon_days": "Within how many days",
    "index": "Codes that begin the follow-up",
    "event": "Codes that are the outcome",
    "censoring": "People whose follow-up ends before",
    "washout_days": "Days that the record must reach back before it begins",
    "lookback_days": "The outcome in so many days before leaves a person out",
    "risk_start_days": "The first day after it that counts",
}
_PARAMETER_VALUES = {
    "distant-metastasis": "whether a tumour spreads",
    "diagnosis": "whether a diagnosis follows another",
    "finding": "a finding that is yes or no",
    "exclude": "are left out",
    "event-free": "count as without the outcome",
    "expression": "gene activity",
    "gene-sets": "gene activity, as means of gene sets",
    "variants": "genetic variants",
    "chi2": "chi-square",
    "f": "F test",
    "mutual-information": "mutual information",
    "score": "score test",
    "knn": "nearest neighbours",
    "regression": "regression on the other variables",
    "multiple": "five draws from such regressions, models of all averaged",
    "genes": "genes",
    "clinical": "clinical data",
    "series": "measurements over time",
    "combined": "all in one model",
    "fused": "all, a model each, weighed",
    "pca": "principal component analysis",
    "autoencoder": "an autoencoder",
    **{name: clustering.shown for name, clustering in CLUSTERINGS.items()},
    **{name: explanation.shown for name, explanation in EXPLANATIONS.items()},
}
# Findings that were not seen but computed, from data that a run may predict them by.
_DEFINED_BY = {
    "luminal_a": "PAM50 subtypes are defined by the expression of 50 genes in RNA. How well RNA predicts them "
    "is circular: it shows that the computation works, and nothing about a new test. Other assays are no part "
    "of the definition."
}
_VARIABLES = {
    "age_years": "age at diagnosis (years)",
    "size_mm": "tumour size (mm)",
    "grade": "histological grade (1 to 3)",
    "er_positive": "oestrogen receptor positive",
    "lobular": "lobular histology",
    "luminal_a": "subtype luminal A (PAM50)",
    "female": "female",
    "smoker": "smoker",
    "bmi": "body-mass index (kg/m²)",
    "height_cm": "height (cm)",
    "weight_kg": "weight (kg)",
    "systolic_mmhg": "systolic blood pressure (mm Hg)",
    "diastolic_mmhg": "diastolic blood pressure (mm Hg)",
    "heart_rate": "heart rate (per minute)",
    "glucose_mmol_l": "blood glucose (mmol/L)",
    "hba1c_percent": "HbA1c (%)",
    "ldl_mmol_l": "LDL cholesterol (mmol/L)",
    "hdl_mmol_l": "HDL cholesterol (mmol/L)",
    "cholesterol_mmol_l": "total cholesterol (mmol/L)",
    "triglycerides_mmol_l": "triglycerides (mmol/L)",
    "creatinine_umol_l": "creatinine (µmol/L)",
    "egfr": "estimated glomerular filtration rate (mL/min per 1.73 m²)",
    "steps_per_day": "steps a day",
    "sleep_hours": "hours of sleep",
    "activity_minutes_per_week": "minutes of activity a week",
    "diet_score": "diet score",
}


def parameter(path: str, name: str) -> str:
    """A parameter by its path in the document, in words."""
    if path in _PARAMETERS:
        return _PARAMETERS[path]
    if path.startswith("models."):
        return model(name)
    return _PARAMETER_NAMES.get(name, name.replace("_", " "))


def parameter_value(value: str) -> str:
    return _PARAMETER_VALUES.get(value, value)


def variable(name: str) -> str:
    """A clinical variable in words."""
    return _VARIABLES.get(name, name.replace("_", " "))
