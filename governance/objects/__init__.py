"""Encrypted objects: envelopes, keys, the vault, ingest, the broker's client, the bucket emulator.

Does not know the read model or who asks.
"""
