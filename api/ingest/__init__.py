"""How a custodian's files become records: cohort files, the sandboxed parser and what it may say.

Does not know runs, the HTTP service or pages.
"""
