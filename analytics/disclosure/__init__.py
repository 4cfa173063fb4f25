"""Statistical disclosure control for metrics, curves, scans, differences; disclosure records.

Does not know models, files or people's names.
"""
