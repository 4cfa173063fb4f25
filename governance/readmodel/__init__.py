"""The ledger as rows: tables, the projection that fills them, and the questions that pages and routes ask.

Does not know objects, keys or HTTP.
"""
