"""Reads the numbers of an .npz file, without unpickling, and no more than its members have (numpy.org/neps/nep-0001)."""

from __future__ import annotations

from math import prod
from typing import IO, TYPE_CHECKING, Any

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import ArchiveError, WeightsError
from tfimm_resolver.hub.h5_weights import NUMBERS
from tfimm_resolver.hub.size_budget import SizeBudget

if TYPE_CHECKING:
    import zipfile

    import numpy as np


def read(path: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a file by name.

    Raises:
        WeightsError: if it is a damaged zip, has too many members, or unpacks to too much, or if a member does not have the
            size of its shape. zipfile and numpy raise errors of other kinds, also for an array of objects.
    """
    import zipfile  # which `import tfimm_resolver.hub` should not import

    from tfimm_resolver.archives import zip_reader

    with open(path, "rb", opener=fs.open_regular_target) as file:
        try:
            zip_reader.check_member_count(file, settings.unpack_limits()[0])
        except ArchiveError as error:
            raise WeightsError(f"{show(path)} cannot be read: {error.text}", fix=error.advice) from error
        with zipfile.ZipFile(file) as archive:
            return _read_members(archive, path)


def _read_members(archive: zipfile.ZipFile, path: str) -> dict[str, np.ndarray[Any, Any]]:
    import numpy as np

    budget, arrays = SizeBudget(path), {}
    members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    for info in members:
        budget.add(info.file_size)
    for info in members:
        name = info.filename.removesuffix(".npy")
        with archive.open(info) as member:
            is_number = _check_size(member, info.file_size, f"{show(path)}: {show(name)}")
        if is_number:
            with archive.open(info) as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
    return arrays


def _check_size(member: IO[bytes], size_bytes: int, label: str) -> bool:
    """Check that a member has as many bytes as its header says, before memory is allocated; return whether it has numbers."""
    import numpy as np

    version = np.lib.format.read_magic(member)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:  # 3.0 is for names of fields that are not Latin
        return False
    shape, _, kind = readers[version](member)
    if kind.hasobject:
        raise WeightsError(f"{label} holds Python objects, which are not read")
    if member.tell() + prod(shape) * kind.itemsize != size_bytes or any(size < 0 for size in shape):
        raise WeightsError(f"{label} has {size_bytes} bytes, which is not the size of its shape {shape}")
    return kind.kind in NUMBERS
