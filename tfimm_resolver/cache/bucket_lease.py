"""Advisory leases between machines: an object created with if-none-match says which process is filling an entry.

Correctness does not depend on leases: if one is taken over from a process that is alive after all, the entry is uploaded
twice, to different prefixes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.threads import start_thread
from tfimm_resolver.errors import FetchError
from tfimm_resolver.object_store.client import ObjectStoreClient, Version
from tfimm_resolver.progress.events import report_wait

log = logging.getLogger("tfimm_resolver")

LEASE_SUFFIX = ".claim"
"""Suffix of lease objects, after the entry's name."""

_TTL_S = 20.0
_RENEWALS_PER_TTL = 4
_FIRST_WARNING_S, _WARNING_INTERVAL_S = 2.0, 60.0
_POLL_S, _MAX_POLL_S = 0.1, 1.0
_JOIN_TIMEOUT_S = 2.0
_MAX_CREATE_READ_RACES = 20
_CONDITIONAL_PUT_UNSUPPORTED = 501
"""Status with which some S3-compatible stores reject conditional writes: there, several machines may do the same work."""


def ttl_s() -> float:
    """Return the seconds after which a lease that was not renewed is taken over."""
    return min(_TTL_S, settings.lock_timeout_s())


@contextlib.contextmanager
def hold_lease(
    objects: ObjectStoreClient,
    name: str,
    what: str,
    is_already_done: Callable[[], bool],
    heartbeat: Callable[[], None] = lambda: None,
) -> Iterator[bool]:
    """Wait for the lease on ``name``, then hold and renew it; yields True, or False without the lease if ``is_already_done``.

    A lease's age is measured by this machine's clock from when its text was last seen to change, so clocks of different
    machines are never compared. ``heartbeat`` is called regularly while waiting for a live owner, or holding the lease.
    """
    path = name + LEASE_SUFFIX
    try:
        version = _acquire(objects, path, what, is_already_done, heartbeat)
    except FetchError as error:
        if error.status != _CONDITIONAL_PUT_UNSUPPORTED:
            raise
        yield True
        return
    if version is None:
        yield False
        return
    ended = threading.Event()
    # Without a thread the lease expires while it is held: another process may then do the same work.
    renewing = start_thread(_renew_until, "tfimm_resolver lease", objects, path, version, ended, heartbeat)
    try:
        yield True
    finally:
        ended.set()
        if renewing is not None:
            renewing.join(_JOIN_TIMEOUT_S)  # do not wait for an unresponsive store: the lease expires by itself


def _acquire(
    objects: ObjectStoreClient, path: str, what: str, is_already_done: Callable[[], bool], heartbeat: Callable[[], None]
) -> Version | None:
    """Acquire the lease and return its version, or None once the work is done."""
    seen: Version | None = None
    changed_s = began_s = clock.get_monotonic_s()
    next_warning_s, poll_s, races = began_s + _FIRST_WARNING_S, _POLL_S, 0
    while True:
        own_text, create_error = _make_text(), None
        # Waiters read: Google accepts one write per second to an object, and the owner's renewals must get through.
        found = objects.read(path) if seen else None
        if found is None:
            try:
                if created := objects.create(path, own_text):
                    return created
            except FetchError as error:  # the object may have been created nevertheless
                create_error = error
            found = objects.read(path)
        now_s = clock.get_monotonic_s()
        if found is None:
            if create_error is not None:
                raise create_error
            races += 1
            if races > _MAX_CREATE_READ_RACES:
                raise FetchError(f"{show(path)} can neither be created nor read", status=_CONDITIONAL_PUT_UNSUPPORTED)
            get_current_token().sleep(poll_s * random.uniform(0.5, 1))
            if is_already_done():
                return None
            continue
        (text, version), races = found, 0
        if text == own_text:
            return version
        owner = _describe_owner(text)
        if seen is None:
            report_wait(owner)
        if version != seen:
            seen, changed_s = version, now_s
        elif now_s - changed_s > ttl_s():
            if replaced := _replace(objects, path, own_text, version):
                log.warning("took over the lease on %s from %s, which stopped renewing it", what or path, owner)
                return replaced
            continue
        if now_s >= next_warning_s:
            next_warning_s = now_s + _WARNING_INTERVAL_S
            log.warning("waiting for %s, which has been fetching %s for at least %.0f s", owner, what, now_s - began_s)
        heartbeat()
        get_current_token().sleep(poll_s * random.uniform(0.5, 1))
        poll_s = min(_MAX_POLL_S, poll_s * 1.5)
        if is_already_done():
            return None


def _renew_until(
    objects: ObjectStoreClient, path: str, version: Version, ended: threading.Event, heartbeat: Callable[[], None]
) -> None:
    """Renew the lease until ``ended``, then delete it, unless another process has taken it over."""
    current: Version | None = version
    while current is not None and not ended.wait(ttl_s() / _RENEWALS_PER_TTL):
        with contextlib.suppress(FetchError):  # one renewal may fail; the lease expires after several
            current = _replace(objects, path, _make_text(), current)
            heartbeat()
    with contextlib.suppress(FetchError):  # the lease expires by itself
        if _find_own_version(objects, path):
            objects.delete([path])


def _replace(objects: ObjectStoreClient, path: str, text: bytes, version: Version) -> Version | None:
    """Replace that version of the lease and return the new version; return None if the lease has another version.

    If the write failed, reads the lease to see whether it was written nevertheless.
    """
    try:
        return objects.replace(path, text, version) or _find_own_version(objects, path)
    except FetchError:
        if created := _find_own_version(objects, path):
            return created
        raise


def _find_own_version(objects: ObjectStoreClient, path: str) -> Version | None:
    """Return the version of the lease if it names this process, else None."""
    found = objects.read(path)
    return found[1] if found is not None and _describe_owner(found[0]) == _describe_owner(_make_text()) else None


def _make_text() -> bytes:
    return f"{socket.gethostname()}.{os.getpid()}.{clock.get_time_ns()}".encode()


def _describe_owner(text: bytes) -> str:
    host, _, pid = text.decode("utf-8", "replace").rpartition(".")[0].rpartition(".")
    return f"process {pid} on {host}" if pid.isdecimal() and host.isprintable() else "an unknown process"
