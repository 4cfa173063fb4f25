"""The interfaces (HTTP, pages, command line, worker process), which compose the other packages.

This package does not know rules: the contracts and `governance` decide what is allowed.
"""
