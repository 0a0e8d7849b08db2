"""Benchmarks: every figure with the baseline it is compared with and the command that gives it."""
