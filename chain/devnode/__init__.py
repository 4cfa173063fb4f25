"""The development chain, for development only: anvil with a gateway, a journal, snapshots, limits.

It is not extended: a deployment with patients runs on a node of its own.

Does not know contracts, people or files.
"""
