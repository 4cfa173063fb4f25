"""Carries out runs: the supervisor, one attempt, the sandboxed child and the messages it may send.

Does not know who asks over HTTP, pages or the command line.
"""
