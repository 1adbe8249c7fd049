"""Imports tfimm_resolver when Python starts, then the sitecustomize that this file hides, if there is one.

Any Python may run this file, also Python 2: it defines nothing with annotations, and prints nothing.
"""

import os
import sys

_folder = os.path.dirname(os.path.abspath(__file__))
# Child processes find this file through PYTHONPATH; programs should not see the directory.
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != _folder]

if sys.version_info >= (3, 10):  # noqa: UP036
    try:  # noqa: SIM105  # contextlib need not be imported in every process
        __import__("tfimm_resolver")
    except Exception:
        pass  # not installed for this Python, or broken there: the program must run as without this file

_this = sys.modules.pop("sitecustomize", None)
try:
    __import__("sitecustomize")
except ImportError as _error:
    if getattr(_error, "name", "sitecustomize") != "sitecustomize":
        raise  # Python reports it, as it would have without this file
finally:
    if _this is not None:
        sys.modules.setdefault("sitecustomize", _this)
