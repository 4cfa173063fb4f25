"""One script for each change; `VERSIONS` in governance/readmodel/schema.py lists them in order.

It does not know when it is run.
"""
