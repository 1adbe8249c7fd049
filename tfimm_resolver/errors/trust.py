"""The error for a model without a signature that is required."""

from __future__ import annotations

from tfimm_resolver.errors.base import IntegrityError


class SignatureError(IntegrityError, PermissionError):
    """A signature that is required is missing, is by another key, or does not match the files of the model.

    Example:
        >>> with open("tfimm-models.toml", "w") as file:
        ...     _ = file.write('''
        ... [models.half]
        ... handle = "https://models.example/half_plus_two/1.tar.gz"
        ... signer = { key = "team.pub" }
        ... ''')
        >>> with open("team.pub", "w") as file:
        ...     _ = file.write("-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----\\n")
        >>> tfimm_resolver.resolve("half")
        Traceback (most recent call last):
        tfimm_resolver.errors.SignatureError: ...
    """

    exit_code = 10
    _usual_fix = "Get the model from its publisher again; if the signer has a new key, correct the signer."
