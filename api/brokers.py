"""A key broker as its callers see it: JSON over HTTP, every failure one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from api.errors import BrokerRefused
from governance.errors import BrokerUnavailable, reason_of
from governance.verify import Malformed, strict_json

_LIMIT = 16 << 20
_DOWN = BrokerUnavailable("the key broker does not answer as it should", "start it: volens serve, then try again")


class Broker:
    """One broker at `url`; safe for threads."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._client = httpx.Client(base_url=url, timeout=timeout)

    def ask(self, door: str, question: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """GET a door, or POST a question to it. Raises BrokerUnavailable, BrokerRefused."""
        try:
            answer = self._client.get(door) if question is None else self._client.post(door, json=dict(question))
            body: Any = strict_json(answer.content, _LIMIT)
        except (httpx.HTTPError, Malformed):
            raise _DOWN from None
        if answer.status_code == httpx.codes.OK and isinstance(body, dict):
            return body
        if isinstance(body, dict) and isinstance(body.get("reason"), int):
            reason = reason_of(body["reason"])
            raise BrokerRefused(reason.sentence, "the ledger's record decides; look at it first", reason.slug)
        raise _DOWN

    def witness(self) -> dict[str, Any] | None:
        """The trail's head under the broker's signature, or None while the broker is away."""
        try:
            return self.ask("/witness")
        except (BrokerUnavailable, BrokerRefused):
            return None

    def close(self) -> None:
        self._client.close()
