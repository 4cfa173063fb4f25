"""The ledger's rules in Python: an auditor checks a trail with them; broker and read model use them
too.

Standard library only; `signatures.load_crypto` alone loads packages. Does not know databases,
network, clock or any other package of the project. `make fix` joins these modules into the one file
`governance/verify.py` that lies beside each export (docs/join_verifier.py).
"""
