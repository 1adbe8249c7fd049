"""Tests with engines that distribute work, each in an environment of its own: ``make test-engines``."""
