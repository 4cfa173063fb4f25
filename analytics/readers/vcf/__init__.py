"""Checks a cohort's VCF and splits it by person.

Does not know other formats.
"""
