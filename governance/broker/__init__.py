"""The key broker: releases pieces of keys only against a mined, still valid receipt.

It is independent, so that another institution can read it in an afternoon: of this project it
imports the rules that auditors use (`governance.rules`), the formats
(`governance.objects.envelope`), keys at rest (`governance.objects.keys`), signatures, names, paging
and the bounded HTTP server of `chain`, and both rooms' errors. It does not know people, models,
policy beyond the ledger's, or the database.
"""
