"""What a caller asks for, and the plan for it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tfimm_resolver.archives.member_policy import check_subdirectory
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.pin import NO_PIN, Pin
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import Plan

if TYPE_CHECKING:
    from tfimm_resolver.models_file.schema import ModelEntry


@dataclass(frozen=True, slots=True)
class Request:
    """A handle to resolve.

    Attributes:
        handle: with the pin that was asked for, if any; the rules replace it by the handle that it stands for.
        refresh: fetch the model again, even if it is cached.
        pin: what the archive has to be.
        upstream: ask the sources only, not the overrides, the models file and the directory of names.
        subdirectory: the directory to use of the model that the handle stands for, in canonical form; empty for no choice.
        former: the handles that this one was put in the place of, the first one first.
    """

    handle: Handle
    refresh: bool = False
    pin: Pin = NO_PIN
    upstream: bool = False
    subdirectory: str = ""
    former: tuple[Handle, ...] = ()

    @classmethod
    def parse(cls, text: str | os.PathLike[str], *, refresh: bool = False, sha256: str | None = None) -> Request:
        """Return the request for a handle as a user writes it; raises HandleError as ``Handle.parse`` does."""
        return cls.for_handle(Handle.parse(text, sha256=sha256), refresh=refresh)

    @classmethod
    def for_handle(cls, handle: Handle, *, refresh: bool = False, upstream: bool = False) -> Request:
        """Return the request for a handle, with its pin and subdirectory; raises HandleError if the latter is not valid."""
        subdirectory = check_subdirectory(handle.subdirectory) if handle.subdirectory else ""
        return cls(handle, refresh, Pin(handle.sha256), upstream, subdirectory)

    def stand_for(self, handle: Handle, pin: Pin | None = None) -> Request:
        """Return the request for another handle that this one stands for; the subdirectories are joined, its own first.

        ``pin`` replaces that of this request.
        """
        joined = "/".join(filter(None, (handle.subdirectory, self.subdirectory)))
        subdirectory = check_subdirectory(joined) if joined else ""
        former = (*self.former, self.handle)
        return Request(handle, self.refresh, self.pin if pin is None else pin, self.upstream, subdirectory, former)

    def with_handle(self, handle: Handle) -> Request:
        """Return the same request for another handle; the one that it had is remembered, for rules about it."""
        return replace(self, handle=handle, former=(*self.former, self.handle))


@dataclass(frozen=True, slots=True)
class ResolvedPlan:
    """The plan for a handle, and the rule that made it.

    Attributes:
        rule: the key in ``RULES`` of the rule that matched.
        request: with the handle to fetch, and the pin that its archive must match.
        plan: where the model is, or how to fetch it.
        model: the entry of the models file that the handle came from, if any; also where its handle is overridden.
    """

    rule: str
    request: Request
    plan: Plan
    model: ModelEntry | None = None

    @property
    def handle(self) -> Handle:
        """The handle to fetch."""
        return self.request.handle

    @property
    def label(self) -> str:
        """The handle as it is recorded and shown: without secrets; a path is absolute."""
        return self.handle.redacted if self.handle.scheme else local.find_path(self.handle)

    @property
    def mirrors(self) -> tuple[Handle, ...]:
        """The mirrors that the models file lists for this handle, each with the pin.

        Empty once a mutable handle was followed: the archive pinned under one key must not be cached under another.
        """
        if self.model is None or self.model.parse_handle().key != self.handle.key:
            return ()
        return self.model.parse_mirrors(self.handle.sha256)

    def redirect(self, handle: Handle, plan: Plan) -> ResolvedPlan:
        """Return the same request for another handle, whose plan is given."""
        return replace(self, request=self.request.with_handle(handle), plan=plan)
