"""Processes that use one cache at random, for minutes, and a model of what they may see."""
