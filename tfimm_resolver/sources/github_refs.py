"""Branches and tags of a repository: parses git's ref advertisement, and finds the ref that a handle names."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import FetchError, UnknownRefError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.handles.git import COMMIT, is_ref

log = logging.getLogger("tfimm_resolver")

_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,63}")
_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_SYMREF = "symref=HEAD:"
_MAX_NAMES = 10
_NAME_CHARACTERS_MAX = 200
_LINES_MAX = 2_000_000
_NAMES_BYTES_MAX = 128 << 20
"""Limit on the memory for the names of branches and tags, of some 400,000 usual ones."""
_ENTRY_BYTES = 250  # of a dict, for a commit and a name besides its characters

_TIP = "Name a branch, a tag or the commit at the tip of one;"
_REF_FIX = Advice(
    python=f"{_TIP} skip_validation=True accepts what the host returns.",
    command=f"{_TIP} --skip-validation accepts what the host returns.",
)


@dataclass(frozen=True, slots=True)
class Tip:
    """A commit, and the full name (``refs/heads/main``) of the branch or tag at whose tip it is; empty if not looked up."""

    ref: str
    commit: str

    @property
    def name(self) -> str:
        """The short name of the branch or tag."""
        return self.ref.removeprefix(_HEADS).removeprefix(_TAGS)


@dataclass(frozen=True, slots=True)
class Refs:
    """The commit of every branch and tag by its full name, and the default branch's full name, empty if there is none.

    Other advertised refs, such as ``refs/pull/1/head``, are left out: anyone can put a commit there.
    """

    commits: Mapping[str, str]
    default: str = ""

    @classmethod
    def parse(cls, data: bytes, url: str) -> Refs:
        """Parse the ref advertisement of git's smart HTTP protocol (https://git-scm.com/docs/http-protocol).

        Raises:
            FetchError: if the data is not one.
        """
        commits: dict[str, str] = {}
        default, lines, used_bytes = "", _parse_pkt_lines(data, url), 0
        if next(lines, "") != "# service=git-upload-pack":
            raise _make_parse_error(url, "it does not begin as one")
        for line in lines:
            entry, _, capabilities = line.partition("\0")
            commit, _, ref = entry.partition(" ")
            for capability in capabilities.split():
                default = capability.removeprefix(_SYMREF) if capability.startswith(_SYMREF + _HEADS) else default
            if not COMMIT.fullmatch(commit):
                raise _make_parse_error(url, f"it holds the line {line[:80]!r}")
            if ref.startswith((_HEADS, _TAGS)):
                used_bytes += sys.getsizeof(ref) + _ENTRY_BYTES
                if used_bytes > _NAMES_BYTES_MAX:
                    raise _make_parse_error(url, "it has too many branches and tags, or too long names")
                commits[ref.removesuffix("^{}")] = commit  # an annotated tag is followed by its commit
        return cls(commits, default)

    def find_tip(self, ref: str, url: str) -> Tip:
        """Return the tip of the default branch for an empty ``ref``, else of the branch, the tag or the commit that it names.

        Raises:
            UnknownRefError: if nothing matches, or an abbreviated commit is ambiguous.
            FetchError: if the host names a default branch that git would refuse.
        """
        if not ref:
            return self._default_tip(url)
        if COMMIT.fullmatch(ref):
            found = [Tip(name, commit) for name, commit in self.commits.items() if commit == ref]
        else:
            found = [Tip(name, self.commits[name]) for name in (ref, _HEADS + ref, _TAGS + ref) if name in self.commits]
            if len(found) > 1:
                log.warning("%s has several refs named %s: using %s", url, ref, found[0].ref)
        if not found and _SHORT_COMMIT.fullmatch(ref):
            found = [Tip(name, commit) for name, commit in self.commits.items() if commit.startswith(ref)]
            if len({tip.commit for tip in found}) > 1:
                several = ", ".join(f"{tip.commit} ({show(tip.name)})" for tip in found[:_MAX_NAMES])
                raise UnknownRefError(f"{ref} is ambiguous in {url}: {several}", fix="Give more digits of the commit.")
        if not found:
            raise self._make_unknown_error(ref, url)
        return found[0]

    def _default_tip(self, url: str) -> Tip:
        name = Tip(self.default, "").name
        if self.default and not is_ref(name):  # no handle can hold it, which is not the caller's mistake
            raise FetchError(
                f"{url} sent an invalid name for its default branch: {show(repr(name[:_NAME_CHARACTERS_MAX]))}",
                fix="Name a branch, a tag or a commit yourself, and tell the administrator of that host.",
            )
        if self.default not in self.commits:
            known = self._format_names()
            fix = f"Name one: {known}." if known else ""
            raise UnknownRefError(f"{url} has no default branch" if known else f"{url} is empty", fix=fix)
        return Tip(self.default, self.commits[self.default])

    def _make_unknown_error(self, ref: str, url: str) -> UnknownRefError:
        # torch.hub's wording, which its users search for.
        return UnknownRefError(
            f"Cannot find {ref} in {url}. If it's a commit from a forked repo, please call hub.load() with forked repo "
            f"directly.\n  it has: {self._format_names() or 'nothing'}",
            fix=_REF_FIX,
        )

    def _format_names(self) -> str:
        names = sorted({Tip(ref, "").name for ref in self.commits})
        return ", ".join(map(show, names[:_MAX_NAMES])) + (
            f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        )


def _parse_pkt_lines(data: bytes, url: str) -> Iterator[str]:
    """Yield the pkt-lines, without those that only separate sections (https://git-scm.com/docs/protocol-common)."""
    start = count = 0
    while start < len(data):
        count += 1
        if count > _LINES_MAX:
            raise _make_parse_error(url, f"it has over {_LINES_MAX} lines")
        try:
            length = int(data[start : start + 4], 16)
        except ValueError as error:
            raise _make_parse_error(url, f"it begins with {data[start : start + 60]!r}" if not start else "") from error
        if 0 < length < 4 or start + max(length, 4) > len(data):
            raise _make_parse_error(url, "it is cut short")
        if length > 4:
            yield data[start + 4 : start + length].decode("utf-8", "replace").removesuffix("\n")
        start += max(length, 4)
    if not data.endswith(b"0000"):
        raise _make_parse_error(url, "it is cut short")


def _make_parse_error(url: str, reason: str) -> FetchError:
    return FetchError(
        f"{url} does not list its refs as git does: {show(reason or 'it is damaged')}",
        fix="Check that a git repository is served there by its smart HTTP protocol.",
    )
