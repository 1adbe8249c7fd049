"""Helpers that know nothing about models: threads, files, import hooks, text, lazy imports."""

__all__: list[str] = []
