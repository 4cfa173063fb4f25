"""Measurements: what governance costs, each figure a ratio or a count of one run (`make bench`, `make science`)."""
