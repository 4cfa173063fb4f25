"""The rules of the ledger, executed again: what an auditor checks a trail by, and what broker and read model go by.

Standard library only; `signatures.load_crypto` alone loads packages. Does not know databases, network, clock or
any other room.
`make fix` joins these modules into the one file `governance/verify.py` that lies beside each export (docs/verifier.py).
"""
