"""The read model: database tables, the projection that fills them from the ledger, and the queries
of pages and routes.

Does not know objects, keys or HTTP.
"""
