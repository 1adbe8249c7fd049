"""Follows symbolic links between the members of one archive, by their names alone: nothing on the disk is looked at."""

from __future__ import annotations

from collections.abc import Container, Mapping

_STEPS_MAX = 1000
_LINKS_MAX = 40


def resolve_link(path: str, links: Mapping[str, str], files: Container[str]) -> str | None:
    """Return the file that a link leads to, through other links as well; None if that is not a file of the archive.

    Args:
        path: the path of the link in the archive.
        links: the targets of all links, by their paths.
        files: the paths of all regular files.
    """
    todo, at, followed = path.split("/")[::-1], list[str](), 0
    for _ in range(_STEPS_MAX):
        if not todo:
            return found if (found := "/".join(at)) in files else None
        step = todo.pop()
        if step == "..":
            if not at:
                return None  # it leaves the archive
            at.pop()
        elif step not in ("", "."):
            here = "/".join((*at, step))
            target = links.get(here)
            if target is None:
                at.append(step)
                continue
            followed += 1
            if followed > _LINKS_MAX or not target or target.startswith("/"):
                return None
            todo.extend(target.split("/")[::-1])
    return None
