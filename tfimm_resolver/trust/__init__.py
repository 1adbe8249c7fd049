"""Signatures of models: which signers a user trusts, whether a model is signed by one, and how a model is signed."""

__all__: list[str] = []
