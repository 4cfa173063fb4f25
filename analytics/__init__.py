"""Bytes in, results out: reads decrypted records, evaluates models, filters what may leave.

This room does not know who asked, why, when, or under which consent. It has no network, no keys, no clock, no
ledger, no environment, and opens no file beyond its own package and a path handed to it. It imports nothing
of the other rooms.
"""
