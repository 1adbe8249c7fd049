"""Links between the members of one archive: each must lead to a regular file in it, whose bytes are copied."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tfimm_resolver.archives.member_policy import quote_name, safe_parts
from tfimm_resolver.archives.tar_reader import Link
from tfimm_resolver.errors import ArchiveError

Parts = tuple[str, ...]

_TARGET_LENGTH_MAX = 4096
_FIX = (
    "Only links to regular files inside the archive are followed. Pack it with files instead of links, as "
    "`tar --dereference --hard-dereference` does."
)


def find_target(name: str, parts: Parts, link: Link) -> Parts:
    """Return the path that a link at ``parts`` points to, relative to the top of the archive.

    Raises:
        ArchiveError: if it leaves the archive, or is spelled as a directory.
    """
    if not link.target or len(link.target) > _TARGET_LENGTH_MAX:
        raise _make_error(name, link, "which is not a path")
    if link.target.startswith("/"):
        raise _make_error(name, link, "which is outside of the archive")
    steps = link.target.split("/")
    if steps[-1] in ("", ".", ".."):
        raise _make_error(name, link, "which is a directory")
    path = [] if link.is_hard else list(parts[:-1])
    for step in steps:
        if step == "..":
            if not path:
                raise _make_error(name, link, "which is outside of the archive")
            path.pop()
        elif step not in ("", "."):
            path.append(step)
    try:
        return safe_parts("/".join(path))
    except ArchiveError as error:
        raise _make_error(name, link, "which is not a path inside the archive") from error


class PendingLinks:
    """The links whose targets are not written yet; a later member of the same path replaces one."""

    def __init__(self) -> None:
        self._links: dict[Parts, tuple[str, Link, Parts]] = {}

    def __contains__(self, parts: object) -> bool:
        """Whether there is a link at a path."""
        return parts in self._links

    def add(self, name: str, parts: Parts, link: Link, target: Parts, *, is_directory: bool = False) -> None:
        """Note a link; ``is_directory`` tells that its target was unpacked as one. Raises ArchiveError then."""
        if is_directory:
            raise _make_error(name, link, "which is a directory")
        self._links[parts] = name, link, target

    def discard(self, parts: Parts) -> None:
        """Forget the link at a path, if there is one."""
        self._links.pop(parts, None)

    def resolve(self, files: Collection[Parts], directories: Collection[Parts]) -> Iterator[tuple[str, Parts, Parts]]:
        """Yield name, path and file of each link, after links to links were followed.

        Raises:
            ArchiveError: if one leads to anything but a file, or back to itself.
        """
        final: dict[Parts, Parts] = {}
        for first, (name, link, _) in self._links.items():
            followed, at = dict[Parts, None](), first
            while at in self._links and at not in final:
                if at in followed:
                    raise _make_error(name, link, "which leads back to itself")
                followed[at] = None
                at = self._links[at][2]
            at = final.get(at, at)
            if at not in files:
                what = "which is a directory" if at in directories else "which the archive does not contain"
                raise _make_error(name, link, what)
            final.update(dict.fromkeys(followed, at))
            yield name, first, at


def _make_error(name: str, link: Link, what: str) -> ArchiveError:
    return ArchiveError(f"member {quote_name(name)} is {link.kind} to {quote_name(link.target)}, {what}", fix=_FIX)
