"""Benchmarks: the cost of governance as ratios or counts of one run (`make bench`, `make
science`)."""
