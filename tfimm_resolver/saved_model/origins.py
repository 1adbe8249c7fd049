"""The constants, files and arguments from which a value in a graph is computed."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfimm_resolver.saved_model.entry_points import ASSET, ON_CALL, ON_LOAD, SIGNATURE, UNKNOWN
from tfimm_resolver.saved_model.messages import Span
from tfimm_resolver.saved_model.operation_rules import READ

Text = tuple[Span, bool]
"""Where a constant text is, and whether it may be the beginning of the value."""


@dataclass(slots=True)
class Origin:
    """What a value is made of.

    Attributes:
        texts: the constant texts in it, in the order in which they are joined, if they are.
        fed: what TensorFlow or a caller may feed to a part of it, and the texts that it has where nothing is fed.
        passed: what each caller passes for it where there are several, without what others pass for a part of that.
        is_argument: a caller of the model may pass a part of it.
        is_asset: a part of it is the path of an asset of the model.
        is_variable: a part of it is in the weights.
        is_computed: a part of it is made while the graph runs, from neither of these.
        is_joined: the texts are joined.
        is_changed: the texts may not be as they are in it.
        is_obscure: its beginning, or a part of it, is made of constants that cannot be read as they will be.
    """

    texts: list[Text] = field(default_factory=list)
    fed: list[tuple[str, list[Text]]] = field(default_factory=list)
    passed: list[Origin] = field(default_factory=list)
    is_argument: bool = False
    is_asset: bool = False
    is_variable: bool = False
    is_computed: bool = False
    is_joined: bool = False
    is_changed: bool = False
    is_obscure: bool = False

    @property
    def is_from_outside(self) -> bool:
        """Whether a part of it is not in the graph."""
        return self.is_argument or self.is_asset or self.is_variable or bool(self.fed)

    @property
    def is_supplied_alone(self) -> bool:
        """Whether it is exactly what a caller passes, or the path of an asset."""
        is_pure = not (self.texts or self.is_computed or self.is_variable or self.is_changed or self.is_joined)
        return is_pure and (self.is_argument or self.is_asset or bool(self.fed))

    def is_supplied(self, kind: str, when: str, *, is_called: bool) -> bool:
        """Whether a path comes from the caller, from an asset that is read, or from weights; on load, not from those.

        A function that TensorFlow calls while it loads a model receives no path from a user, except for that of the
        checkpoint; and what a caller inside of the model passes to a function counts though a user may call that, too.
        ``is_called`` says whether the node runs on a call, possibly also on load.
        """
        if not all(one._is_unremarkable(kind, when, is_called=is_called) for one in self.passed):
            return False
        if ((self.is_argument or self.is_variable) and when == ON_CALL) or (self.is_asset and kind == READ):
            return True
        if self.is_argument and when == UNKNOWN:
            return not (self.is_variable or self.is_asset)
        return any(_is_fed(what, kind, when, is_called=is_called) for what, _ in self.fed)

    def _is_unremarkable(self, kind: str, when: str, *, is_called: bool) -> bool:
        """Whether one caller's value need not be reported: supplied, or on a call no text, but a number for one."""
        is_own = bool(self.texts or self.is_asset or self.fed) or when != ON_CALL
        return not is_own or self.is_supplied(kind, when, is_called=is_called)

    def list_unfed(self, kind: str, when: str, *, is_called: bool) -> list[Text]:
        """Return the texts that the value may have because nothing is fed to a tensor in one of its uses."""
        found = []
        for what, texts in self.fed:
            if what == SIGNATURE or not _is_fed(what, kind, when, is_called=is_called):
                found += texts
        return found


def _is_fed(what: str, kind: str, when: str, *, is_called: bool) -> bool:
    """Whether a value is fed each time that a node runs: assets are on load alone, and the checkpoint's path to be read."""
    if what == SIGNATURE:
        return when == ON_CALL
    if what == ASSET:
        return kind == READ and not is_called
    return not is_called and (kind == READ or when != ON_LOAD)
