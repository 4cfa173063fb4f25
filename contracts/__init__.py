"""The rules: who may do what, and what is recorded. Solidity sources, typed data, reasons, committed
artifacts.

Does not know people or files.
"""
