"""The items of TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378), filled from what is recorded.

52 sub-items, each in short words of ours: what the record of a run, its permit and its released
result say, or nothing, which means that the authors must say it. Nothing is computed from the
result but the least sample size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics.catalogue import CALIBRATED, PCA
from analytics.explanations import REGISTERED as EXPLANATIONS
from analytics.sample_size import LEAST_TO_EVALUATE, least_to_develop
from api.pages import labels as words
from api.pages.diagnoses import diagnoses
from governance.readmodel.tables import Permit

PREDICTS = ("evaluate", "survival")  # analyses that develop and evaluate prediction models
_NOT_UPDATED = "Does not apply: no existing model is updated."
_SAME_DATA = "Does not apply: the models are evaluated on the people they are developed on."


@dataclass(frozen=True, slots=True)
class Item:
    """A sub-item. answer: what is recorded, "" where the authors must say. opened: whether more of
    it stands in the result, which has not been opened.
    """

    number: str
    part: str
    asks: str
    answer: str
    opened: bool = True


@dataclass(frozen=True, slots=True)
class Study:
    """What is known of one run. run: as the API describes it; params: its parameters; plan and
    data: titles of the permit's and the dataset's documents, "" without one; result: released and
    opened here, None before.
    """

    run: Mapping[str, Any]
    params: Mapping[str, Any]
    permit: Permit
    plan: str
    data: str
    result: Mapping[str, Any] | None

    @property
    def question(self) -> str:
        return words.question(self.run["params"])

    @property
    def is_survival(self) -> bool:
        return bool(self.params["analysis"] == "survival")


def fill(study: Study) -> list[Item]:
    """All sub-items in their order."""
    return [
        Item(
            number,
            part,
            asks,
            answer(study) if answer else "",
            study.result is not None or number not in _OF_THE_RESULT,
        )
        for number, part, asks, answer in _ITEMS
    ]


def _title(study: Study) -> str:
    models = "Cox regression" if study.is_survival else _models(study)
    return f"Models are developed and evaluated on the same people ({models}). {study.question}"


def _objectives(study: Study) -> str:
    return (
        f"{study.question} Development and internal evaluation. The plan that was voted on"
        f"{f' ({study.plan})' if study.plan else ''} is public, sha256 {study.permit.document}."
    )


def _source(study: Study) -> str:
    attempt = released_attempt(study)
    opened = f" Records of {attempt['granted']} people were opened" if attempt else ""
    block = f", in block {attempt['block']} of the ledger." if attempt else ""
    named = study.data or "A dataset without a description"
    return (
        f"{named} (dataset {study.permit.dataset}): {words.categories(study.permit.categories)}."
        f"{opened}{block} Each of them had agreed to this purpose, signed."
    )


def _follow_up(study: Study) -> str:
    if "horizon_days" not in study.params["outcome"]:
        return "Nobody is followed: the outcome is a finding. When people were recruited, the authors must say."
    return (
        f"Follow-up ends after {study.params['outcome']['horizon_days']} days at the latest. When people "
        "were recruited and when follow-up ended, the authors must say."
    )


def _eligibility(study: Study) -> str:
    cohort = study.params["cohort"]
    youngest, oldest = cohort["age"]
    age = "any age" if (youngest, oldest) == (0, 130) else f"age {youngest} to {oldest}"
    rules = [age]
    if cohort["with"]:
        rules.append(f"with {diagnoses(cohort['with'])}")
    if cohort["without"]:
        rules.append(f"without {diagnoses(cohort['without'])}")
    return (
        f"People of {', '.join(rules)} who had agreed to {words.purposes(study.permit.need)} when the run "
        f"began; at least {study.permit.minimum} of them."
    )


def _preparation(study: Study) -> str:
    params, steps = study.params, []
    if "scale" in params:
        steps.append(f"Columns are scaled ({params['scale']}) by the training people of each fold.")
    if params["genes"]["source"] != "none":
        chosen = words.parameter_value(params["genes"]["select"])
        steps.append(
            f"Of the {params['genes']['source']} columns, {params['genes']['keep']} are chosen within each fold "
            f"by {chosen}."
        )
    if "sets" in params["genes"]:
        steps.append(
            f"A gene set's value is the mean z of its genes, by the training people of each fold; the sets are the "
            f"file with the sha256 {params['genes']['sets']}."
        )
    if "assays" in params:
        steps.append(
            f"Of each assay ({', '.join(params['assays'])}) so many columns are chosen in the same way."
        )
    if params["genes"]["source"] == "variants":
        steps.append(
            "Copies of a genome are left out; variants are filtered as the parameters say."
        )
    return " ".join(steps)


def _outcome(study: Study) -> str:
    outcome = study.params["outcome"]
    text = f"{words.sentence(words.outcome_of(outcome))}"
    if outcome["kind"] != "diagnosis":
        return f"{text} {words.why_circular(outcome)}".strip()
    return (
        f"{text} Day 0 is the first of {_coded(outcome['index'])}; the event is {_coded(outcome['event'])}, from "
        f"day {outcome['risk_start_days']} on. The record must reach back {outcome['washout_days']} days; an "
        f"event in the {outcome['lookback_days']} days until day 0 leaves a person out."
    )


def _coded(codes: Sequence[str]) -> str:
    return f"{', '.join(codes)} ({diagnoses(codes)})"


def _choice(study: Study) -> str:
    requested = study.run["requested"]
    return (
        "Named in the parameters, which the analyst signed and the ledger has since block "
        f"{requested}, before any record was opened. Why these, the authors must say."
    )


def _predictors(study: Study) -> str:
    named = [words.variable(name) for name in study.params["clinical"]]
    genes = study.params["genes"]
    if genes["source"] != "none":
        named.append(f"{genes['keep']} {genes['source']} columns")
        if genes["components"]:
            made_by = words.parameter_value(genes.get("encoder", PCA))
            named.append(f"{genes['components']} components of them, by {made_by}")
    if series := study.params.get("series"):
        measured = ", ".join(map(words.variable, series["variables"]))
        named.append(
            f"{measured} over the {series['days']} days until day 0, as means of {series['step']} days"
        )
    return f"{words.sentence(', '.join(named))} How each was measured, the authors must say."


def _sample_size(study: Study) -> str:
    result = study.result or {}
    people, events = result.get("people", result.get("granted")), result.get("events")
    if study.is_survival or not people or not events or events >= people:
        return ""
    genes = study.params["genes"]
    columns = len(study.params["clinical"])
    if genes["source"] != "none":
        columns += genes["keep"] + genes["components"]
    if series := study.params.get("series"):
        columns += 2 * len(series["variables"])  # mean and slope of each
    least = least_to_develop(events / people, columns)
    return (
        f"There were about {people} people, {events} with the outcome. To develop a regression of "
        f"{columns} columns takes about {least} (Riley et al. 2020; a Nagelkerke R² of 0.15 expected). To "
        f"evaluate one takes at least {LEAST_TO_EVALUATE} with and {LEAST_TO_EVALUATE} without the outcome "
        "(Collins et al. 2016)."
    )


def _missing(study: Study) -> str:
    if "impute" not in study.params:
        return "Curves are of everybody; people who lack a value of the regression are not in it."
    filled = words.parameter_value(study.params["impute"])
    return (
        f"Missing predictors are filled in ({filled}), by the training people of each fold. People whose "
        "outcome is not known are left out."
    )


def _partition(study: Study) -> str:
    params = study.params
    relatives = (
        "Relatives, as far as variants tell them, stay in one fold. "
        if params["genes"]["source"] == "variants"
        else ""
    )
    return (
        f"Cross-validation in {params['folds']} folds, {params['repeats']} times. {relatives}"
        "Everybody is predicted by models that were trained on others. No people are kept apart for a final test."
    )


def _handling(study: Study) -> str:
    return (
        "Numbers enter as they are, scaled; yes or no as 1 or 0; a genotype as its number of alternative "
        "alleles."
    )


def _building(study: Study) -> str:
    params = study.params
    if study.is_survival:
        kind = "Cox regression (Efron's ties); Kaplan-Meier curves."
    else:
        chosen = (
            "chosen within each fold"
            if params["tune"]
            else "fixed beforehand, the same in each fold"
        )
        kind = f"{words.sentence(_models(study))} Their settings are {chosen}."
    drawn = params["bootstraps"]
    again = (
        f" {drawn} bootstrap samples repeat the whole procedure for the intervals." if drawn else ""
    )
    return f"{kind} Internal evaluation by cross-validation.{again}"


def _differences(study: Study) -> str:
    compared = study.params.get("fairness") or study.params.get("strata")
    if not compared:
        return ""
    groups = ", ".join(words.variable(split.partition(":")[0]) for split in compared)
    return f"Compared between groups by {groups}."


def _measures(study: Study) -> str:
    if study.is_survival:
        return "Concordance (Harrell's C) with interval and permutation p; calibration of the risk at the horizon."
    return (
        "AUC with interval and permutation p, balanced accuracy, accuracy, precision, recall, F1, net benefit, "
        "scaled Brier score; ROC curve; calibration in groups, with slope and intercept. "
        "The gain from more data is the difference of two AUCs on the same people."
    )


def _calculated(study: Study) -> str:
    return "Each person's prediction is the mean over the repeats of those by models trained without her."


def _imbalance(study: Study) -> str:
    if study.is_survival:
        return "Does not apply to Cox regression."
    others = [words.model(name) for name in study.params["models"] if not CALIBRATED[name]]
    boundary = (
        f" Where a model estimates no probability ({', '.join(others)}), its own boundary decides."
        if others
        else ""
    )
    return (
        "Nobody is drawn twice or left out for it. A prediction counts as a yes above the share with the outcome "
        f"among the training people.{boundary}"
    )


def _fairness_method(study: Study) -> str:
    groups = _differences(study)
    return (
        f"{groups} AUC, found and false alarms within each group, with intervals; too few to tell is said."
        if study.params.get("fairness")
        else ""
    )


def _output(study: Study) -> str:
    if study.is_survival:
        return "A risk until the horizon. No model leaves the service."
    return (
        "A probability, or a margin where the model has none; above the share with the outcome among the "
        "training people it counts as a yes. No model leaves the service."
    )


def _approval(study: Study) -> str:
    return (
        f"The data access committee approved the permit ({study.permit.yes} votes for, {study.permit.no} against); "
        "everybody in the data had signed her own consent. The ethics approval, the authors must say."
    )


def _protocol(study: Study) -> str:
    return (
        f"The plan is public: its sha256 {study.permit.document} is on the ledger with the permit."
    )


def _registration(study: Study) -> str:
    return (
        f"Permit {study.permit.permit} and the request of the run are on the ledger before the first access. "
        "A register of studies, the authors must say."
    )


def _data_sharing(study: Study) -> str:
    return "Records are not shared. Who has a permit may run analyses on the people who agree."


def _code_sharing(study: Study) -> str:
    return (
        f"The code is named by its hash {study.run['codeHash']}, the parameters by {study.run['paramsHash']}; "
        "the same code and parameters give the same result on the same data."
    )


def _flow(study: Study) -> str:
    if study.result is None:
        return ""
    steps = [f"{step['step']}: {step['people']}" for step in study.result.get("flow", [])]
    return (
        f"{'; '.join(steps)}. Numbers have noise and are rounded."
        if steps
        else f"Of {study.result['granted']} people whose data was opened, fewer than 10 were left out."
    )


def _numbers(study: Study) -> str:
    result = study.result
    if result is None:
        return ""
    people = (
        f"About {result['people']} people"
        if "people" in result
        else f"Almost all of the {result['granted']} people whose data was opened"
    )
    events = f", {result['events']} with the outcome" if "events" in result else ""
    return f"{people}{events}, in every row alike. Numbers have noise and are rounded."


def _specification(study: Study) -> str:
    asked = [EXPLANATIONS[name].shown for name in study.params.get("explain", [])]
    explained = f" Explained by {', '.join(asked)}." if asked else ""
    return f"Coefficients are not released: they could tell about a person.{explained}"


def _performance(study: Study) -> str:
    if study.result is None:
        return ""
    if study.is_survival:
        shown = study.result.get("concordance", {})
        return _rated(
            "Cox regression",
            "concordance",
            shown.get("c_index"),
            shown.get("c_interval"),
            shown.get("p"),
        )
    return " ".join(
        _rated(
            f"{words.model(row['model'])} on {words.feature_set(row['feature_set'])}",
            "AUC",
            row.get("auc"),
            row.get("auc_interval"),
            row.get("p"),
        )
        for row in study.result["rows"]
    )


def _rated(
    what: str, measure: str, value: object, interval: Sequence[object] | None, p: object
) -> str:
    if value is None:
        return f"{what}: withheld."
    within = f" (95 %: {interval[0]} to {interval[1]})" if interval else ""
    return f"{what}: {measure} {value} %{within}, p {p}."


def _groups(study: Study) -> str:
    compared = (study.result or {}).get("fairness")
    return "In the result: differences between groups with their intervals." if compared else ""


def _models(study: Study) -> str:
    return ", ".join(words.model(name) for name in study.params["models"])


def released_attempt(study: Study) -> Mapping[str, Any] | None:
    """The attempt whose output was released."""
    for output in study.run["outputs"]:
        if output["release"]:
            for attempt in study.run["attempts"]:
                if attempt["attempt"] == output["attempt"]:
                    return dict(attempt)
    return None


# Items of which more is known once the result is opened.
_OF_THE_RESULT = frozenset({"10", "20a", "21", "23a", "23b"})
_Answer = Callable[[Study], str] | None
_ITEMS: tuple[tuple[str, str, str, _Answer], ...] = (
    ("1", "Title", "What is predicted, for whom, developed or evaluated", _title),
    ("2", "Abstract", "TRIPOD+AI for abstracts", None),
    ("3a", "Introduction", "Where in health care, and which models there are", None),
    ("3b", "Introduction", "For whom and for whose use", None),
    ("3c", "Introduction", "Known inequalities between groups", None),
    ("4", "Introduction", "Objectives", _objectives),
    ("5a", "Methods", "Sources of data", _source),
    ("5b", "Methods", "Dates of recruitment and of follow-up", _follow_up),
    ("6a", "Methods", "Setting and places", None),
    ("6b", "Methods", "Who is eligible", _eligibility),
    ("6c", "Methods", "Treatments", None),
    ("7", "Methods", "Preparation of the data", _preparation),
    ("8a", "Methods", "Outcome and time horizon", _outcome),
    ("8b", "Methods", "Who judged the outcome, where it takes a judgement", None),
    ("8c", "Methods", "Whether they knew the predictors", None),
    ("9a", "Methods", "Choice of predictors", _choice),
    ("9b", "Methods", "Definition of all predictors", _predictors),
    ("9c", "Methods", "Who judged predictors, where it takes a judgement", None),
    ("10", "Methods", "Sample size", _sample_size),
    ("11", "Methods", "Missing data", _missing),
    ("12a", "Methods", "Use of the data for training and evaluation", _partition),
    ("12b", "Methods", "Handling of predictors", _handling),
    ("12c", "Methods", "Type of model, how it was built and evaluated internally", _building),
    ("12d", "Methods", "Differences between groups or places", _differences),
    ("12e", "Methods", "Measures and plots of performance", _measures),
    ("12f", "Methods", "Updating of a model", lambda _: _NOT_UPDATED),
    ("12g", "Methods", "How predictions were calculated", _calculated),
    ("13", "Methods", "Outcomes of unlike frequency", _imbalance),
    ("14", "Methods", "Fairness", _fairness_method),
    ("15", "Methods", "Output of the model, and its threshold", _output),
    ("16", "Methods", "Training beside evaluation data", lambda _: _SAME_DATA),
    ("17", "Methods", "Ethical approval and consent", _approval),
    ("18a", "Open science", "Funding", None),
    ("18b", "Open science", "Conflicts of interest", None),
    ("18c", "Open science", "Protocol", _protocol),
    ("18d", "Open science", "Registration", _registration),
    ("18e", "Open science", "Sharing of the data", _data_sharing),
    ("18f", "Open science", "Sharing of the code", _code_sharing),
    ("19", "Patients and public", "How they were involved", None),
    ("20a", "Results", "Flow of people", _flow),
    ("20b", "Results", "Characteristics of the people", None),
    ("20c", "Results", "Comparison with the development data", lambda _: _SAME_DATA),
    ("21", "Results", "People and events in each analysis", _numbers),
    ("22", "Results", "The model itself", _specification),
    ("23a", "Results", "Performance with intervals", _performance),
    ("23b", "Results", "Differences of performance between groups", _groups),
    ("24", "Results", "Results of updating", lambda _: _NOT_UPDATED),
    ("25", "Discussion", "Interpretation, fairness included", None),
    ("26", "Discussion", "Limitations", None),
    ("27a", "Discussion", "Input of poor quality, at use", None),
    ("27b", "Discussion", "What users must know and do", None),
    ("27c", "Discussion", "Next steps, and for whom else", None),
)
