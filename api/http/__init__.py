"""The HTTP service: sessions, requests and responses, problems, rate limits, timeouts, metrics,
routes.

Does not know pages, command line or demo.
"""
