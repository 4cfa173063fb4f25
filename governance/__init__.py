"""Governance of data access: consent, permits, records, keys, runs, releases, audit.

This room does not know routes, pages or models: it reaches the ledger through `chain`, is asked by
`api`, and never meets `analytics`.
"""
