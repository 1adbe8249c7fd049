"""Signatures of models: whom a user believes, whether a model is signed by them, and how a model is signed."""

__all__: list[str] = []
