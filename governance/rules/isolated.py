"""Starts the auditor's program again in Python's isolated mode, before it imports anything else.

In the joined file it stands first, below that file's own docstring (docs/join_verifier.py).
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
