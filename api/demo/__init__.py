"""The demo: one story with demo accounts, told through the public endpoints, with its attackers and
tampers.

It does not know how the worker computes, nor any rule: it asks as anybody would.
"""
