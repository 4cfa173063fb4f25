"""The contracts as Python calls, their events as dataclasses, signatures, and the dev chain.

Does not know policy, storage or HTTP routes.
"""
