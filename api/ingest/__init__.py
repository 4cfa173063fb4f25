"""Ingest: a custodian's files become records. Cohort files, the parser sandbox and its messages.

Does not know runs, the HTTP service or pages.
"""
