"""A cohort's VCF, checked and split by person.

Does not know other formats.
"""
