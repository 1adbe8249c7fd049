"""Fits this package into libraries that already ask for resolvers: one file a library."""
