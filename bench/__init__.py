"""Benchmarks: the cost of governance, as ratios or counts (`make bench`, `make science`)."""
