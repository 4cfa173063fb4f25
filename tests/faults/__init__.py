"""Fault injection: operations on real services, kills and failures at their boundaries, and an independent check.

Knows the product from outside and in one process (tests/rig.py); no test is defined here.
"""
