"""What carries out a run: the supervisor, one attempt, the sandboxed child and what it may say.

Does not know who asks over HTTP, pages or the command line.
"""
