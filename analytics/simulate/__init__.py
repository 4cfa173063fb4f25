"""People and data whose truth is known: synthetic people, noise, twins, known-truth cohorts and their files.

Does not know real records.
"""
