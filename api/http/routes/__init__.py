"""The routes, one module for each noun: they parse requests, call governance and answer.

A route does not know rules or pages.
"""
