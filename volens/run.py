"""One run: follow it to its end, cancel it, open its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from api.client import runs
from api.client.results import open_released
from api.errors import NotThere, RefusedByPolicy
from volens import markup
from volens.progress import progress as show_progress
from volens.result import Result

if TYPE_CHECKING:
    from api.client.client import Client
    from governance.objects.broker_client import BrokerClient


class Run:
    """A run as the service last described it (`raw`); `refresh` asks again."""

    def __init__(
        self,
        client: Client,
        raw: Mapping[str, Any],
        broker: Callable[[], BrokerClient],
        folders: Callable[[], tuple[Path, Path]],
    ) -> None:
        self._client, self._broker, self._folders = client, broker, folders
        self.raw = dict(raw)

    @property
    def id(self) -> str:
        return str(self.raw["run"])

    @property
    def state(self) -> str:
        """As last seen: queued, computing, sealed (output checkers view it), or an end."""
        return str(self.raw["state"])

    @property
    def reason(self) -> str | None:
        """Why it was refused, or why no worker computes it."""
        reason = self.raw["reason"]
        return str(reason["sentence"]) if reason else self.raw["failure"] or self.raw["waiting"]

    def refresh(self) -> Run:
        self.raw = self._client.run(self.id)
        return self

    def wait(
        self,
        progress: bool = True,
        seconds: float = 600,
        until: Literal["sealed", "released"] = "sealed",
    ) -> Run:
        """Wait until its output is sealed, or until the output checkers released it.

        Raises RefusedByPolicy where it was denied, refused or cancelled, or failed; NotServing
        after so many seconds.
        """
        ends = runs.ENDS if until == runs.RELEASED else (runs.SEALED, *runs.ENDS)
        with show_progress(progress) as tell:
            for state in runs.follow(self._client, self.id, seconds, ends):
                self.raw = state
                tell(*_step(state))
        runs.check_outcome(self.raw)
        if self.state == "withdrawn":
            raise RefusedByPolicy(409, "The run was cancelled.", "Request another.", "cancelled")
        if self.state not in ends:
            raise runs.still_on_its_way(self.raw, seconds)
        return self

    def cancel(self) -> Run:
        """Cancel it; a worker that computes it stops."""
        self._client.cancel(self.id)
        return self.refresh()

    def result(self) -> Result:
        """Open the released result with the key made at its request, and keep the run's receipt.

        Raises NotThere without a released result or without the key; VerificationFailed where it
        is not what was sealed.
        """
        state = self.refresh().state
        runs.check_outcome(self.raw)
        if state != runs.RELEASED:
            raise NotThere(
                404,
                f"The run has no released result: it is {state}.",
                'Wait for the output checkers: run.wait(until="released").',
            )
        keys, receipts = self._folders()
        key_file = keys / f"{self.id}.key"
        return Result(open_released(self._client, self._broker(), self.raw, key_file, receipts))

    def __repr__(self) -> str:
        return f"<Run {self.id[:8]}…: {self.state}>"

    def _repr_html_(self) -> str:
        step = runs.last_step(self.raw)
        shown = {"run": self.id, "state": self.state, "attempt": self.raw["attempt"]}
        reason = {"reason": self.reason} if self.reason else {}
        return markup.facts(shown | reason) + (markup.bar(*step) if step else "")


def _step(state: Mapping[str, Any]) -> tuple[str, float | None]:
    """What to show of a state: its name and step, and how far it is."""
    step = runs.last_step(state)
    if step is not None:
        return f"{state['state']}: {step[0]}", step[1]
    if state["state"] in (runs.SEALED, *runs.ENDS):
        return state["state"], 1.0
    return " · ".join(filter(None, (state["state"], state["waiting"]))), None
