"""Analysis: reads decrypted records, evaluates models, and applies disclosure control.

This package does not know who asked, why, when, or under which consent. It has no network, no keys,
no clock, no ledger, no environment, and opens no file outside its own package except a path passed
to it. It imports nothing from the other packages.
"""
