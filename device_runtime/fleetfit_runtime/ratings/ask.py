"""Whether to ask the user of a reply for a rating.

The contract: a client that can put the question says so with the request parameter `fleetfit_ask` (true, or the name of
its user) and gives the request an id. In the share of replies that the operator decides, the reply then has the
parameter `fleetfit_rate: true` and the header `fleetfit-rate: 1`, and the client posts a rating with that id as
`request_id`. Nobody is asked more than once an hour, and who does not offer it is never asked.
"""

import random
import threading
from collections import OrderedDict
from collections.abc import Callable

_PAUSE_S = 3600.0
_MOST_SOURCES = 4096


class Asker:
    """Draws whom to ask; may be called from any thread.

    Args:
        rng: draws.
        now_s: a clock in seconds that never goes back.
        most_sources: sources of which is remembered when they were asked; the one that was asked first is forgotten.
    """

    def __init__(
        self, rng: random.Random, now_s: Callable[[], float], most_sources: int = _MOST_SOURCES
    ) -> None:
        self._rng = rng
        self._now_s = now_s
        self._most = most_sources
        self._asked_s: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def wants(self, name_source: Callable[[], str], share: float) -> bool:
        """Tell whether to ask now, with the share as the chance; the answer yes is remembered as asked.

        Args:
            name_source: says whom; called for the few who are drawn, because a name is costlier than a draw.
            share: 0 to 1.
        """
        with self._lock:
            if share <= 0.0 or self._rng.random() >= share:
                return False
            source, now_s = name_source(), self._now_s()
            before_s = self._asked_s.get(source)
            if before_s is not None and now_s - before_s < _PAUSE_S:
                return False
            self._asked_s[source] = now_s
            self._asked_s.move_to_end(source)
            while len(self._asked_s) > self._most:
                self._asked_s.popitem(last=False)
            return True
