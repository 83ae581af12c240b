"""Benchmarks: each package prints a table with baselines and writes `build/bench/NAME.json`.

A benchmark reports what it measured. It does not fail by a figure; the bars are stated beside the figures.
"""
