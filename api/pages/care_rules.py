"""The rules by which plans of care are drawn, for who votes on them: id, version, sources, expiry."""

from __future__ import annotations

from typing import Any

from analytics.care.rule_set import shipped


def describe_rules() -> dict[str, Any]:
    """The rule set of this service's code: its hash, and each rule as docs/reference/care-rules.md
    lists it.
    """
    rules = shipped()
    return {
        "digest": rules.digest,
        "jurisdiction": rules.jurisdiction,
        "rules": [
            {
                "id": rule.id,
                "version": rule.content["version"],
                "title": rule.content["title"],
                "jurisdiction": rule.content["jurisdiction"],
                "expires": rule.expires,
                "sources": [dict(source) for source in rule.content["sources"]],
            }
            for rule in rules.rules
        ],
    }
