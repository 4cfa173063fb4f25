"""One module a noun: routes parse, hand on to governance and answer; no rule stands here."""
