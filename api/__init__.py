"""The interfaces (HTTP, pages, command line, worker process), which compose the other packages.

This package contains no rules: the contracts and `governance` decide what is allowed.
"""
