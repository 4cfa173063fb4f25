"""Anvil made durable for development: gateway, journal, snapshots, who may write. Not part of a production deployment.

Does not know contracts, people or files.
"""
