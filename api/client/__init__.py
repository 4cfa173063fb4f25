"""What runs on a person's own machine: the HTTP client, opened results, receipts, held heads, committee orders.

Does not know the server's parts.
"""
