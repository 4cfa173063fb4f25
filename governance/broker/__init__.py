"""The key broker: lets a piece of a key out only against a mined, still valid receipt.

It stands alone, so that another institution can read it in an afternoon: of this project it imports the auditor's fold
(`governance.verify`), the formats (`governance.objects.envelope`), keys at rest (`governance.objects.keys`),
`chain.signatures` and the names of `chain.vocabulary`. It does not know people, models, policy beyond the ledger's, or
the database.
"""
