"""Fuzzing of everything that reads data of others: ``python -m tests.fuzz [--seconds N] [TARGET...]``."""
