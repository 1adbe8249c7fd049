"""Reads and writes the pins of a project's models, for the commands ``add``, ``lock`` and ``sync``."""

__all__: list[str] = []
