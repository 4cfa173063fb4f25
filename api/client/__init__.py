"""Code for a person's own machine: HTTP client, opening of results, receipts, kept heads, committee
orders.

Does not know the server's parts.
"""
