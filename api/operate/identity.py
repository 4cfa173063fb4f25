"""The ledger identity that this deployment is pinned to, read from its home folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.errors import NotServing
from api.operate.settings import Settings
from governance.rules.encoding import strict_json


def read_identity(settings: Settings) -> Mapping[str, Any]:
    """The pinned ledger identity. Raises NotServing when there is none."""
    try:
        identity = strict_json(settings.identity_file.read_bytes())
    except FileNotFoundError:
        raise NotServing(
            "there is no ledger identity in the home folder", "set one up: volens serve"
        ) from None
    if not isinstance(identity, dict):
        raise NotServing(
            "the ledger identity cannot be read", "restore identity.json from another machine"
        )
    return identity
