"""Changes of the tables that cannot be derived from the ledger, release by release (alembic).

It does not know the code's own tables: a script says what was so at its time.
"""
