"""What may leave a computation: withheld figures, curves, scans, differences, and the record of what was held back.

Does not know models, files or people's names.
"""
