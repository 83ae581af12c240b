"""The voices on one model: who has spoken last on it, and what each source says of each variant. Pure.

A voice is what one source says of one variant: the mean of its last few ratings. However often a source speaks, it has
one voice, and makes the voices of others older by one at most.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Share = Annotated[float, Field(ge=0, le=1)]


class Voice(BaseModel):
    """What one source says of one variant; the lists hold its last few ratings, newest last.

    Args:
        source: who speaks.
        peer: address that it speaks from, empty where it is not known or does not matter.
        turn: number of the model's rating with which it spoke last.
        at_s: wall clock of that, in seconds.
        scores: 0 to 1.
        labels: whether replies were right.
        latencies_s: seconds that its requests took.
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    source: str
    peer: str
    turn: int
    at_s: float
    scores: list[_Share]
    labels: list[bool]
    latencies_s: list[Annotated[float, Field(ge=0)]]

    @property
    def score(self) -> float:
        """The mean of its scores; it must have some."""
        return sum(self.scores) / len(self.scores)


class Turns:
    """Who spoke last on a model, in order; from it comes how old a voice is.

    Args:
        sources: sources that are remembered.
        per_peer: sources of one peer address that are remembered.
    """

    def __init__(self, sources: int, per_peer: int) -> None:
        self._sources = sources
        self._per_peer = per_peer
        self._last: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self.count = 0

    def take(self, source: str, peer: str) -> int:
        """Let a source speak; return the number of its turn."""
        self.count += 1
        self._last.pop(source, None)
        if peer:
            same = [other for other, (_, theirs) in self._last.items() if theirs == peer]
            for other in same[: max(0, len(same) - self._per_peer + 1)]:
                del self._last[other]
        self._last[source] = (self.count, peer)
        while len(self._last) > self._sources:
            self._last.popitem(last=False)
        return self.count

    def ages(self, voices: Sequence[Voice]) -> list[int]:
        """Return for each voice how many other sources have spoken after it."""
        turns = [turn for turn, _ in self._last.values()]
        ages = []
        for voice in voices:
            own_turn, _ = self._last.get(voice.source, (0, ""))
            ages.append(len(turns) - bisect_right(turns, voice.turn) - (own_turn > voice.turn))
        return ages

    def dump(self) -> list[tuple[str, int, str]]:
        """Return (source, turn, peer), oldest first."""
        return [(source, turn, peer) for source, (turn, peer) in self._last.items()]

    def load(self, dumped: Sequence[tuple[str, int, str]], count: int) -> None:
        """Take over what was dumped, as much as is kept."""
        ordered = sorted(dumped, key=lambda entry: entry[1])[-self._sources :]
        self._last = OrderedDict((source, (turn, peer)) for source, turn, peer in ordered)
        self.count = max([count, *(turn for turn, _ in self._last.values())])


class VariantVoices:
    """The voices on one file of a variant, oldest first.

    Args:
        sha256: digest of the file.
        most: voices that are kept.
        per_peer: voices of one peer address that are kept.
    """

    def __init__(self, sha256: str, most: int, per_peer: int) -> None:
        self.sha256 = sha256
        self._most = most
        self._per_peer = per_peer
        self._voices: OrderedDict[str, Voice] = OrderedDict()

    def __iter__(self) -> Iterator[Voice]:
        return iter(self._voices.values())

    def __len__(self) -> int:
        return len(self._voices)

    def of(self, source: str) -> Voice | None:
        """Return the voice of a source."""
        return self._voices.get(source)

    def put(self, voice: Voice) -> None:
        """Let a voice be the newest; it replaces the source's own, and beyond the bounds the oldest."""
        self._voices.pop(voice.source, None)
        if voice.peer:
            same = [other.source for other in self if other.peer == voice.peer]
            for source in same[: max(0, len(same) - self._per_peer + 1)]:
                del self._voices[source]
        self._voices[voice.source] = voice
        while len(self._voices) > self._most:
            self._voices.popitem(last=False)


@dataclass(frozen=True, slots=True)
class WeighedVoice:
    """A voice and how much it counts, 0 to 1."""

    voice: Voice
    weight: float
