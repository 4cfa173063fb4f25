"""Confinement of the two processes that see plaintext: the computing child and the parser.

Four layers, each sufficient for its purpose:

- NETWORK: a network namespace without an interface (and no System V or POSIX queues of others).
- PROCESSES: a pid namespace in which the child is the first process, so no other one can be named.
- FILES: a read-only root with only the interpreter's files, and Landlock; one of them is enough.
- CALLS: a seccomp list of the system calls that models and parsers make; all others are refused.
  The command line is emptied too, because the kernel shows that memory to everybody.

`launching` starts a program in namespaces, `inside` confines the calling process, `outside` checks
a child's confinement for its supervisor: an unconfined child gets no data. Only the standard
library is used. Does not know runs, files of people, keys or the ledger.
"""

from api.confinement.layers import ALL, Confinement, Layer, NotConfined

__all__ = ["ALL", "Confinement", "Layer", "NotConfined"]
