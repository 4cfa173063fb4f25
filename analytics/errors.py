"""Errors of this package: each states a fact and what to do next, never a data value."""

from __future__ import annotations


class AnalyticsError(Exception):
    """Base of every error of this package. `hint` is one plain sentence: what to do next."""

    hint = "Read the message; nothing was computed."

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class JsonRefused(AnalyticsError):
    """The bytes are not one strict JSON document."""

    hint = "Send UTF-8 JSON without duplicate keys, NaN or deep nesting, within the size limit."


class ParamsError(AnalyticsError):
    """The run parameters are not what params-schema.json allows."""

    hint = "Compare the parameters with analytics/params-schema.json; they must be canonical JSON."


class PayloadError(AnalyticsError):
    """A record's payload is not in its declared format."""

    hint = "Correct the record at the custodian and ingest it again."


class InputsError(AnalyticsError):
    """The set of records handed to a run does not fit together."""

    hint = "Hand over each subject's records once, and only of categories that analytics reads."


class CohortTooSmall(AnalyticsError):
    """Fewer people than the minimum, or than ten of each outcome, remain after filtering."""

    hint = (
        "Ask for a larger cohort: the permit's minimum, and ten people of each outcome, must "
        "remain; the remaining number is deliberately not given."
    )


class NoiseKeyMissing(AnalyticsError):
    """A run was given no key for the noise in its result: without it exact numbers would leave."""

    hint = "Ask the broker for the keys of this attempt again; it sends the key of the noise with them."


class PredictionError(AnalyticsError):
    """A model predicted something that is not a number."""

    hint = (
        "Leave the model out, or choose other parameters for it: "
        "without numbers there are no metrics."
    )


class SourceError(AnalyticsError):
    """A data file of published research data is absent or not the expected one."""

    hint = "Install the demo extra (scikit-survival 0.28), whose wheel carries the data file."


class CodeError(AnalyticsError):
    """The package's own files or libraries cannot be listed for the code hash."""

    hint = (
        "Reinstall volens; the package must hold plain files only, "
        "and its libraries must be installed."
    )


class CatalogueError(AnalyticsError):
    """A module of a catalogue (models, explanations) does not register exactly one item."""

    hint = "Let each module of the package call register once, with an item of its own name."


class RuleSetError(AnalyticsError):
    """A rule set of care plans is not what its schema or its index says."""

    hint = "Reinstall volens; after a change of a rule, generate the index again with `make fix`."
