"""Errors of loading a model that was resolved, and of models that are refused."""

from __future__ import annotations

from tfimm_resolver.errors.base import ResolverError


class PolicyError(ResolverError, PermissionError):
    """The model has operations that a policy refuses, or cannot be searched for them.

    Example:
        >>> issubclass(tfimm_resolver.errors.PolicyError, PermissionError)
        True
    """

    exit_code = 9


class LoadError(ResolverError):
    """The handle was resolved, but the model cannot be loaded.

    Example:
        >>> issubclass(tfimm_resolver.errors.LoadError, tfimm_resolver.errors.ResolverError)
        True
    """

    exit_code = 5


class NotASavedModelError(LoadError, ValueError):
    """The directory does not contain a saved_model.pb, .pbtxt or .cpb.

    Example:
        >>> tfimm_resolver.load(".")
        Traceback (most recent call last):
        tfimm_resolver.errors.NotASavedModelError: ...
    """


class DamagedModelError(LoadError, ValueError):
    """The graph of a SavedModel is damaged, or files of the model are missing or cut.

    Example:
        >>> with open("saved_model.pb", "wb") as file:
        ...     _ = file.write(b"not a SavedModel")
        >>> tfimm_resolver.inspect(".")
        Traceback (most recent call last):
        tfimm_resolver.errors.DamagedModelError: ...
    """


class MissingOpError(LoadError, NotImplementedError):
    """The model uses TensorFlow ops that another package has to register, such as tensorflow_text.

    Example:
        >>> issubclass(tfimm_resolver.errors.MissingOpError, NotImplementedError)
        True
    """


class UnseenFilesError(LoadError, FileNotFoundError):
    """A remote worker cannot see the model files it has to read.

    Example:
        >>> issubclass(tfimm_resolver.errors.UnseenFilesError, FileNotFoundError)
        True
    """


class TensorTooLargeError(LoadError, ValueError):
    """A tensor is larger than TensorFlow can send from one process to another.

    Example:
        >>> issubclass(tfimm_resolver.errors.TensorTooLargeError, ValueError)
        True
    """


class TensorFlowMissingError(LoadError, ImportError):
    """Loading needs TensorFlow, which is not installed.

    Example:
        >>> issubclass(tfimm_resolver.errors.TensorFlowMissingError, ImportError)
        True
    """


class EntryPointError(LoadError, RuntimeError):
    """A hubconf.py cannot be imported, it has no such entry point, or the entry point raised an exception.

    Example:
        >>> with open("hubconf.py", "w") as file:
        ...     _ = file.write("def lion(): return 1 / 0")
        >>> tfimm_resolver.hub.load(".", "lion", source="local")
        Traceback (most recent call last):
        tfimm_resolver.errors.EntryPointError: ...
    """


class MissingDependencyError(LoadError, RuntimeError):
    """A hubconf.py depends on packages that are not installed.

    Example:
        >>> with open("hubconf.py", "w") as file:
        ...     _ = file.write("dependencies = ['no_such_package']")
        >>> tfimm_resolver.hub.load(".", "lion", source="local")
        Traceback (most recent call last):
        tfimm_resolver.errors.MissingDependencyError: ...
    """


class UntrustedError(LoadError, PermissionError):
    """The user has not agreed to run the code of this repository.

    Example:
        >>> issubclass(tfimm_resolver.errors.UntrustedError, PermissionError)
        True
    """


class WeightsError(LoadError, ValueError):
    """A file of weights cannot be read.

    Example:
        >>> tfimm_resolver.hub.load_state_dict_from_url(
        ...     "https://models.example/half_plus_two/1.tar.gz", file_name="weights.npz", progress=False
        ... )
        Traceback (most recent call last):
        tfimm_resolver.errors.WeightsError: ...
    """

    _usual_fix = "Download or copy the file again; if the error persists, ask its publisher for one that is not damaged."
