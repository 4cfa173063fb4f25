"""One module a noun: routes parse, hand on to governance and answer.

A route does not know rules or pages.
"""
