"""Says among machines, by an object that only one can create, who fills a model; what it says may be ignored.

Nothing correct depends on it: whoever takes over from one who only seemed dead makes a second tree, and no mixture.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

from tfimm_resolver import settings
from tfimm_resolver._util.threads import start_thread
from tfimm_resolver.errors import FetchError
from tfimm_resolver.object_store.client import ObjectStoreClient, Version

log = logging.getLogger("tfimm_resolver")

LEASE_SUFFIX = ".claim"

_EXPIRES_S = 20.0
_BEATS = 4
_TELL_S, _TELL_AGAIN_S = 2.0, 60.0
_POLL_S, _POLL_MOST_S = 0.1, 1.0
_FAREWELL_S = 2.0
_GAPS_MAX = 20
_NO_CONDITIONS = 501
"""What some stores of S3's protocol answer to a condition: there, several machines may do the same work."""


def expires_s() -> float:
    """Seconds after which a claim that was not renewed is taken over."""
    return min(_EXPIRES_S, settings.lock_timeout_s())


@contextlib.contextmanager
def hold_lease(
    objects: ObjectStoreClient, name: str, what: str, is_needless: Callable[[], bool], beat: Callable[[], None] = lambda: None
) -> Iterator[bool]:
    """Hold the claim on ``name`` and renew it meanwhile; gives False, and does not hold it, once it is needless.

    Its age is counted by this machine's clock from when its text was last seen to change, so no two clocks are compared.
    ``beat`` is called now and then, as long as the wait gets on, or the claim is held.
    """
    path = name + LEASE_SUFFIX
    try:
        version = _acquire(objects, path, what, is_needless, beat)
    except FetchError as error:
        if error.status != _NO_CONDITIONS:
            raise
        yield True
        return
    if version is None:
        yield False
        return
    ended = threading.Event()
    # Without a thread the claim expires meanwhile: others may then do the same work.
    keeping = start_thread(_renew_until, "tfimm_resolver claim", objects, path, version, ended, beat)
    try:
        yield True
    finally:
        ended.set()
        if keeping is not None:
            keeping.join(_FAREWELL_S)  # a store that does not answer is no reason to stay: the claim expires


def _acquire(
    objects: ObjectStoreClient, path: str, what: str, is_needless: Callable[[], bool], beat: Callable[[], None]
) -> Version | None:
    """The version of our claim; None once it is needless."""
    seen: Version | None = None
    seen_s = began_s = time.monotonic()
    tell_s, poll_s, gaps = began_s + _TELL_S, _POLL_S, 0
    while True:
        mine = _text()
        failed = None
        # Who waits reads: Google takes one write a second to an object, and the holder's own must come through.
        found = objects.read(path) if seen else None
        if found is None:
            try:
                if made := objects.create(path, mine):
                    return made
            except FetchError as error:  # it may have been made nevertheless
                failed = error
            found = objects.read(path)
        now_s = time.monotonic()
        if found is None:
            if failed is not None:
                raise failed
            gaps += 1
            if gaps > _GAPS_MAX:
                raise FetchError(f"{path} can neither be made nor read", status=_NO_CONDITIONS)
            time.sleep(poll_s * random.uniform(0.5, 1))
            if is_needless():
                return None
            continue
        gaps = 0
        text, version = found
        if text == mine:
            return version
        if version != seen:
            seen, seen_s = version, now_s
        elif now_s - seen_s > expires_s():
            if taken := _replace_expired(objects, path, mine, version):
                log.warning("took over %s from %s, which has gone silent", what or path, _holder(text))
                return taken
            continue
        if now_s >= tell_s:
            tell_s = now_s + _TELL_AGAIN_S
            log.warning("waiting for %s, which has been fetching %s for %.0f s at least", _holder(text), what, now_s - began_s)
        beat()
        time.sleep(poll_s * random.uniform(0.5, 1))
        poll_s = min(_POLL_MOST_S, poll_s * 1.5)
        if is_needless():
            return None


def _renew_until(
    objects: ObjectStoreClient, path: str, version: Version, ended: threading.Event, beat: Callable[[], None]
) -> None:
    """Change the text from time to time; at the end remove it, unless somebody else has taken over."""
    mine: Version | None = version
    while mine is not None and not ended.wait(expires_s() / _BEATS):
        with contextlib.suppress(FetchError):  # a beat may fail; several make others take over
            mine = _replace_expired(objects, path, _text(), mine)
            beat()
    with contextlib.suppress(FetchError):  # it expires
        if _ours(objects, path):
            objects.delete([path])


def _replace_expired(objects: ObjectStoreClient, path: str, text: bytes, version: Version) -> Version | None:
    """The version of our text, if it stands where that version stood; also if an answer that said so was lost."""
    try:
        return objects.replace(path, text, version) or _ours(objects, path)
    except FetchError:
        if made := _ours(objects, path):
            return made
        raise


def _ours(objects: ObjectStoreClient, path: str) -> Version | None:
    """The version of a claim that names this process."""
    found = objects.read(path)
    return found[1] if found is not None and _holder(found[0]) == _holder(_text()) else None


def _text() -> bytes:
    return f"{socket.gethostname()}.{os.getpid()}.{time.time_ns()}".encode()


def _holder(text: bytes) -> str:
    host, _, pid = text.decode("utf-8", "replace").rpartition(".")[0].rpartition(".")
    return f"process {pid} on {host}" if pid.isdecimal() and host.isprintable() else "an unknown process"
