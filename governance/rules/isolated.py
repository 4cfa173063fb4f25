"""Checks an exported trail: executes the ledger's rules again, step by step, and reports the first
difference.

`python verify.py TRAIL --head COUNT:HEX` prints consistent, signed, anchored. The events that a
call must leave are compared byte for byte, and every head covers the block's number and time. Only
`load_crypto` needs packages. No head covers block and transaction hashes: they are labels, and are
printed as such. Only a head that somebody else holds reveals a trail that was cut short. The caller
MUST pass every log of a transaction to `ReplayedState.apply`, in order.
"""

import os
import sys

# A file in this folder could be imported in place of the standard library and decide what is
# printed. So the program starts itself again in isolated mode: without this folder, the
# environment's paths and the user's packages (python -I). Before that it imports only what Python
# has loaded already: `from __future__` would load a file, too.
if __name__ == "__main__" and not sys.flags.isolated:
    os.execv(  # noqa: S606 (this interpreter, with this file)
        sys.executable, [sys.executable, "-I", os.path.abspath(__file__), *sys.argv[1:]]
    )
