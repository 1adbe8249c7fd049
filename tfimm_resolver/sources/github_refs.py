"""Branches and tags of a repository: read from git's advertisement, and one of them chosen by what a person wrote."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfimm_resolver.errors import FetchError, UnknownRefError
from tfimm_resolver.handles.git import COMMIT

log = logging.getLogger("tfimm_resolver")

_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,63}")
_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_SYMREF = "symref=HEAD:"
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Tip:
    """A commit, and the branch or tag at whose tip it stands, in full: ``refs/heads/main``; empty where nobody looked."""

    ref: str
    commit: str

    @property
    def name(self) -> str:
        """The branch or tag as people write it."""
        return self.ref.removeprefix(_HEADS).removeprefix(_TAGS)


@dataclass(frozen=True, slots=True)
class Refs:
    """The commit of every branch and tag, by its full name, and the default branch's name; empty where there is none.

    What else a host advertises, such as ``refs/pull/1/head``, is not among them: anybody can put a commit there.
    """

    commits: Mapping[str, str]
    default: str = ""

    @classmethod
    def parse(cls, data: bytes, place: str) -> Refs:
        """Read the advertisement of git's smart HTTP protocol (https://git-scm.com/docs/http-protocol).

        Raises:
            FetchError: if it is none.
        """
        commits: dict[str, str] = {}
        default, lines = "", _lines(data, place)
        if next(lines, "") != "# service=git-upload-pack":
            raise _no_advertisement(place, "it does not begin as one")
        for line in lines:
            told, _, abilities = line.partition("\0")
            commit, _, ref = told.partition(" ")
            for ability in abilities.split():
                default = ability.removeprefix(_SYMREF) if ability.startswith(_SYMREF + _HEADS) else default
            if not COMMIT.fullmatch(commit):
                raise _no_advertisement(place, f"it holds the line {line[:80]!r}")
            if ref.startswith((_HEADS, _TAGS)):
                commits[ref.removesuffix("^{}")] = commit  # of an annotated tag the commit comes after the tag itself
        return cls(commits, default)

    def tip(self, ref: str, place: str) -> Tip:
        """What is meant: the default branch by an empty text, else a branch, a tag, or the commit of one.

        Raises:
            UnknownRefError: if it is the tip of none, or of several.
        """
        if not ref:
            return self._default_tip(place)
        if COMMIT.fullmatch(ref):
            found = [Tip(name, commit) for name, commit in self.commits.items() if commit == ref]
        else:
            found = [Tip(name, self.commits[name]) for name in (ref, _HEADS + ref, _TAGS + ref) if name in self.commits]
            if len(found) > 1:
                log.warning("%s has several refs %s: %s is taken", place, ref, found[0].ref)
        if not found and _SHORT_COMMIT.fullmatch(ref):
            found = [Tip(name, commit) for name, commit in self.commits.items() if commit.startswith(ref)]
            if len({tip.commit for tip in found}) > 1:
                several = ", ".join(f"{tip.commit} ({tip.name})" for tip in found[:_SHOWN])
                raise UnknownRefError(f"{ref} may mean several commits of {place}: {several}", fix="Write more digits.")
        if not found:
            raise self._unknown(ref, place)
        return found[0]

    def _default_tip(self, place: str) -> Tip:
        if self.default not in self.commits:
            known = self._shown()
            fix = f"Name one: {known}." if known else ""
            raise UnknownRefError(f"{place} has no default branch" if known else f"{place} is empty", fix=fix)
        return Tip(self.default, self.commits[self.default])

    def _unknown(self, ref: str, place: str) -> UnknownRefError:
        # torch.hub's words, which its users look for.
        return UnknownRefError(
            f"Cannot find {ref} in {place}. If it's a commit from a forked repo, please call hub.load() with forked repo "
            f"directly.\n  it has: {self._shown() or 'nothing'}",
            fix="Name a branch, a tag or the commit at the tip of one; skip_validation=True takes what is given for it.",
        )

    def _shown(self) -> str:
        names = sorted({Tip(ref, "").name for ref in self.commits})
        return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _lines(data: bytes, place: str) -> Iterator[str]:
    """The pkt-lines, without those that only part sections (https://git-scm.com/docs/protocol-common)."""
    start = 0
    while start < len(data):
        try:
            length = int(data[start : start + 4], 16)
        except ValueError as error:
            raise _no_advertisement(place, f"it begins with {data[start : start + 60]!r}" if not start else "") from error
        if 0 < length < 4 or start + max(length, 4) > len(data):
            raise _no_advertisement(place, "it is cut short")
        if length > 4:
            yield data[start + 4 : start + length].decode("utf-8", "replace").removesuffix("\n")
        start += max(length, 4)
    if not data.endswith(b"0000"):
        raise _no_advertisement(place, "it is cut short")


def _no_advertisement(place: str, reason: str) -> FetchError:
    return FetchError(
        f"{place} does not list its refs as git does: {reason or 'it is damaged'}",
        fix="Check that a git repository is served there by its smart HTTP protocol.",
    )
