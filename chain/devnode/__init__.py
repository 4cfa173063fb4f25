"""The development chain: anvil with a gateway, a journal, snapshots and limits. Not for production
deployments.

Does not know contracts, people or files.
"""
