"""The doors: HTTP, command line, worker process; the one place where the other rooms are put together.

This room does not know rules: what is allowed is decided by the contracts and by `governance`, a door only asks.
"""
