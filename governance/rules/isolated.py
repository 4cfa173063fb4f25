"""The auditor's file: executes the ledger's rules again, step by step, and says where the two part.

`python verify.py TRAIL --head COUNT:HEX` says consistent, signed, anchored. What a call must leave is compared byte for
byte, and every head covers the block's number and time. Only `load_crypto` needs packages. Block and transaction hashes
enter no head: they are labels, and are printed as such. Only a head that somebody else holds shows a cut end.
The caller MUST hand every log of a transaction to the fold, in order.
"""

import os
import sys

# A file beside this one could be imported in place of the standard library and decide what is printed. So the program
# starts itself again, isolated: without this folder, the environment's paths and the user's own packages (python -I).
# Nothing is imported before that but what Python has loaded already: `from __future__` would be a file, too.
if __name__ == "__main__" and not sys.flags.isolated:
    os.execv(  # noqa: S606 (this interpreter, with this file)
        sys.executable, [sys.executable, "-I", os.path.abspath(__file__), *sys.argv[1:]]
    )
