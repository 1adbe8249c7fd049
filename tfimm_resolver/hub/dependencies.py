"""The packages that a hubconf.py depends on: whether they are installed, and what pip calls them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.hub.isolation import ModuleNamespace

_PIP_NAMES = {
    "absl": "absl-py",
    "attr": "attrs",
    "Bio": "biopython",
    "bs4": "beautifulsoup4",
    "cairo": "pycairo",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "ffmpeg": "ffmpeg-python",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "google.protobuf": "protobuf",
    "hydra": "hydra-core",
    "jwt": "PyJWT",
    "Levenshtein": "python-Levenshtein",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "nacl": "PyNaCl",
    "OpenSSL": "pyOpenSSL",
    "osgeo": "GDAL",
    "PIL": "Pillow",
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "pywt": "PyWavelets",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "usb": "pyusb",
    "win32api": "pywin32",
    "wx": "wxPython",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}
"""By the name in an import statement, the name of the package for pip, where these differ by more than hyphens."""

_OTHER_PIP_NAMES = {
    "beautifulsoup": "bs4",
    "faiss-gpu": "faiss",
    "opencv-contrib-python": "cv2",
    "opencv-contrib-python-headless": "cv2",
    "opencv-python-headless": "cv2",
    "pillow-simd": "PIL",
    "psycopg2-binary": "psycopg2",
}


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_IMPORT_NAMES = {**{_normalize(pip): name for name, pip in _PIP_NAMES.items()}, **_OTHER_PIP_NAMES}


def find_missing(dependencies: Iterable[str], namespace: ModuleNamespace) -> list[str]:
    """Return the dependencies that are not installed, given by the names of their modules or of their packages for pip."""
    return [name for name in dependencies if not _is_installed(name, namespace)]


def suggest_install(missing: Iterable[str]) -> str:
    """Return how to install missing modules or packages; empty if it is not known what pip calls any of them."""
    known: dict[str, str] = {}
    lines = []
    for name in missing:
        if pip := _PIP_NAMES.get(name):
            lines.append(f"{name} is imported from the package {pip}")
            known[pip] = pip
        elif module := _IMPORT_NAMES.get(_normalize(name)):
            lines.append(f"{name} is imported as {module}")
            known[name] = name
    return show(f"{'; '.join(lines)}: pip install {' '.join(known)}") if known else ""


def _is_installed(name: str, namespace: ModuleNamespace) -> bool:
    bare = re.split(r"[^\w.-]", name, maxsplit=1)[0]  # some are written with a version, as for pip
    modules = dict.fromkeys((bare, bare.replace("-", "_"), _IMPORT_NAMES.get(_normalize(bare), bare)))
    return any(_can_import(module, namespace) for module in modules) or _is_distribution(bare)


def _can_import(name: str, namespace: ModuleNamespace) -> bool:
    try:
        return namespace.owns(name) or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):  # raised by a parent package, or for an imported module without a spec
        return name in sys.modules


def _is_distribution(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution  # 20 ms, if no module has that name

    try:
        return bool(distribution(name).version)
    except (PackageNotFoundError, ValueError):
        return False
