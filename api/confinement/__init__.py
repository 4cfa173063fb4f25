"""Confinement of the two processes that see plaintext: the computing child and the parser.

Four layers, each enough against what it is for:

- NETWORK: a network namespace without an interface (and no System V or POSIX queues of others).
- PROCESSES: a pid namespace in which the child is the first process, so no other one can be named.
- FILES: a root that holds only what the interpreter reads, mounted read-only, and Landlock; one of them is enough.
- CALLS: a seccomp list of the system calls that the models and the parsers make; every other one is refused. Beside it
  the command line is empty: the kernel shows that memory to everybody.

`launching` starts a program in namespaces, `inside` is what a child does to itself, `outside` is how its supervisor
looks at the result: a child that says it is confined and is not gets nothing. Only the standard library is used. Does
not know runs, files of people, keys or the ledger.
"""

from api.confinement.layers import ALL, Confinement, Layer, NotConfined

__all__ = ["ALL", "Confinement", "Layer", "NotConfined"]
