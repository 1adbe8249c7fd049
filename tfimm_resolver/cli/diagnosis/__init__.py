"""What ``doctor`` and ``env`` report: facts about this environment and its caches, and the problems in them."""

__all__: list[str] = []
