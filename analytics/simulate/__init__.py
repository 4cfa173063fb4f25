"""Simulated people: noise, synthetic data for rehearsals, known-truth cohorts and their files.

Does not know real records.
"""
