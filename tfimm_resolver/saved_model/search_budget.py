"""Limits the cost of one search for operations, in all graphs of a model together."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver.saved_model.entry_points import ON_CALL, ON_LOAD, UNKNOWN
from tfimm_resolver.saved_model.messages import Span
from tfimm_resolver.saved_model.wire import WireError

STEPS_MAX = 2_000_000
"""Limit on the values and texts that are followed in one model."""

INNER_NODES_MAX = 1_000_000
"""Limit on the nodes of all graphs that are texts in others."""

_STEPS_BETWEEN = 4096
"""How many steps are taken before the next look at the cancellation token; what parses looks at it, too."""

_RANKS = {ON_CALL: 1, UNKNOWN: 2, ON_LOAD: 3}


@dataclass(slots=True)
class SearchBudget:
    """What is left for a search, and the texts that were searched for graphs.

    Attributes:
        steps: how many more values and texts may be followed.
        inner_nodes: how many more nodes the graphs in texts may have.
        searched: how early a text runs for which it was searched, as a number; a worse time needs another search.
    """

    steps: int = STEPS_MAX
    inner_nodes: int = INNER_NODES_MAX
    searched: dict[Span, int] = field(default_factory=dict)

    def take_steps(self, count: int) -> None:
        """Count values that are followed; raises WireError if they are too many, CancelledError if the work has to stop."""
        before, self.steps = self.steps, self.steps - count
        if self.steps < 0:
            raise WireError("following its paths takes too long")
        if before // _STEPS_BETWEEN != self.steps // _STEPS_BETWEEN:
            get_current_token().raise_if_cancelled()

    def take_inner_nodes(self, count: int) -> None:
        """Count the nodes of a graph in a text; raises WireError if they are too many."""
        self.inner_nodes -= count
        if self.inner_nodes < 0:
            raise WireError("the graphs in its constants have too many nodes")

    def claim(self, text: Span, when: str) -> bool:
        """Whether a text has to be searched for a graph that runs then; it is not asked for again, as often as it is used."""
        if self.searched.get(text, 0) >= _RANKS[when]:
            return False
        self.searched[text] = _RANKS[when]
        return True
