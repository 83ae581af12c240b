"""The ratings of one model on one node: what counts, how much, and what comes of it. Pure: times come in.

Ratings come from anybody who can reach the node, so the rules are made for those who lie:

- A rating's id counts once; repeating it changes nothing.
- Scores are clipped to 0..1, and what is not a number is 0.
- A source has one voice per variant, the mean of its last three ratings of it. A thousand ratings of one source are
  one voice.
- A source may place 6 ratings an hour and 24 a day; further ones are not counted and their ids not remembered.
- Users are declared, and a declaration can be forged: the sources of one peer address have at most 4 voices together,
  of which a new one replaces the oldest, and four times the ratings of a source. An empty peer is not bounded.
- A rating of a request that is more than an hour old comes too late, as does one of a file that has been replaced.
- Voices age: weight = 0.5 ^ (other sources that have spoken on the model since / 25) x 0.5 ^ (days / 14). The first
  lets some thirty users turn the verdict of any number before them, the second lets it fade where nobody speaks. Who
  speaks last ages all others alike, so a newcomer moves a mean by no more than its share of the weight.
- Everything is bounded: ids, sources, peers, variants, voices per variant. The oldest goes first.
"""

import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fleetfit_api.model_status import RatingSummary
from pydantic import BaseModel, ConfigDict, ValidationError

from fleetfit_runtime.ratings.allowance import Allowances
from fleetfit_runtime.ratings.summary import summarize
from fleetfit_runtime.ratings.voices import Turns, VariantVoices, Voice, WeighedVoice

_DAY_S = 86_400.0
# A voice that counts less is left out: two hundred of them would make two voices.
_LEAST_WEIGHT = 0.01


class Outcome(StrEnum):
    """What became of a rating."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    LIMITED = "limited"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Rating:
    """One rating.

    Args:
        id: chosen by the client; a repeated one changes nothing.
        source: who rates; a stranger's declaration, so hashed by the caller where it is to be kept secret.
        score: 0 to 1; None where only a label was given.
        variant: name of the variant that is rated.
        sha256: digest of its file.
        at_s: wall clock in seconds of the rated request where it is known, else of the rating's arrival.
        latency_s: seconds that the rated request took; 0 when unknown.
        label_correct: whether the reply was right; None when nothing was said of it.
        peer: address that the rating came from; empty when it is not to bound the voices of its sources.
    """

    id: str
    source: str
    score: float | None
    variant: str
    sha256: str
    at_s: float
    latency_s: float = 0.0
    label_correct: bool | None = None
    peer: str = ""


@dataclass(frozen=True, slots=True)
class RatingTerms:
    """The numbers of the rules.

    Args:
        per_hour: ratings of one source in an hour. Too low loses honest ones; too high lets one source fill the
            journal.
        per_day: the same in a day.
        late_s: largest age of a rated request in seconds.
        ratings_per_voice: last ratings of a source that make its voice. More is steadier and slower to change.
        half_life_voices: other sources after which a voice counts half. Fewer follow a changed taste sooner and hear
            more noise.
        half_life_s: seconds after which a voice counts half.
        voices_per_variant: voices that are kept.
        voices_per_peer: voices of one peer address that are kept per variant.
        variants: variants that are kept.
        sources: sources, and peers, whose limits are remembered.
        ids: ids that are remembered.
    """

    per_hour: int = 6
    per_day: int = 24
    late_s: float = 3600.0
    ratings_per_voice: int = 3
    half_life_voices: float = 25.0
    half_life_s: float = 14 * _DAY_S
    voices_per_variant: int = 64
    voices_per_peer: int = 4
    variants: int = 16
    sources: int = 4096
    ids: int = 10_240


class _VariantDump(BaseModel):
    model_config = ConfigDict(strict=True)

    variant: str
    sha256: str
    voices: list[Voice]


class _Dump(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    ids: list[str]
    turns: list[tuple[str, int, str]]
    turn_count: int
    variants: list[_VariantDump]
    sources: dict[str, list[float]]
    peers: dict[str, list[float]]


class RatingBook:
    """Keeps the ratings of one model.

    Args:
        terms: the numbers of the rules.
    """

    def __init__(self, terms: RatingTerms) -> None:
        self._terms = terms
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._variants: OrderedDict[str, VariantVoices] = OrderedDict()
        # Ten half-lives leave a thousandth of a voice.
        self._turns = Turns(math.ceil(10 * terms.half_life_voices), terms.voices_per_peer)
        self._sources = Allowances(terms.per_hour, terms.per_day, terms.sources)
        per_peer = terms.voices_per_peer
        self._peers = Allowances(per_peer * terms.per_hour, per_peer * terms.per_day, terms.sources)

    def add(self, rating: Rating, now_s: float) -> Outcome:
        """Take a rating, or say why it does not count; only an accepted one changes anything."""
        if _digest(rating.id) in self._ids:
            return Outcome.DUPLICATE
        if now_s - rating.at_s > self._terms.late_s or self._of_replaced_file(rating):
            return Outcome.LATE
        if self.wait_s(rating.source, rating.peer, now_s) > 0:
            return Outcome.LIMITED
        self._remember(rating, now_s)
        self._speak(rating, min(rating.at_s, now_s))
        return Outcome.ACCEPTED

    def wait_s(self, source: str, peer: str, now_s: float) -> float:
        """Return the seconds until a source may place its next rating, 0 when it may now."""
        own_s = self._sources.wait_s(source, now_s)
        return max(own_s, self._peers.wait_s(peer, now_s)) if peer else own_s

    def knows(self, variant: str) -> bool:
        """Tell whether the variant has been rated."""
        return variant in self._variants

    def summaries(self, now_s: float) -> list[RatingSummary]:
        """Return what users say, by variant name; a variant of which nothing is left that counts is left out."""
        found = []
        for variant, voices in sorted(self._variants.items()):
            weighed = self._weighed(voices, now_s)
            if weighed:
                found.append(summarize(variant, voices.sha256, weighed))
        return found

    def dump(self) -> dict[str, Any]:
        """Return everything as values that JSON can carry."""
        return _Dump(
            ids=list(self._ids),
            turns=self._turns.dump(),
            turn_count=self._turns.count,
            variants=[
                _VariantDump(variant=variant, sha256=voices.sha256, voices=list(voices))
                for variant, voices in self._variants.items()
            ],
            sources=self._sources.dump(),
            peers=self._peers.dump(),
        ).model_dump(mode="json")

    def load(self, dumped: object) -> None:
        """Replace everything by what was dumped, as much of it as is kept.

        Raises:
            ValueError: it is no dump; nothing has changed.
        """
        try:
            dump = _Dump.model_validate(dumped)
        except ValidationError as error:
            raise ValueError(f"not a dump of ratings: {error.error_count()} faults") from error
        self._ids = OrderedDict.fromkeys(dump.ids[-self._terms.ids :])
        self._turns.load(dump.turns, dump.turn_count)
        self._sources.load(dump.sources)
        self._peers.load(dump.peers)
        self._variants.clear()
        for each in dump.variants[-self._terms.variants :]:
            self._variants[each.variant] = self._no_voices(each.sha256)
            for voice in sorted(each.voices, key=lambda voice: voice.turn):
                self._variants[each.variant].put(voice)

    def _no_voices(self, sha256: str) -> VariantVoices:
        return VariantVoices(sha256, self._terms.voices_per_variant, self._terms.voices_per_peer)

    def _of_replaced_file(self, rating: Rating) -> bool:
        voices = self._variants.get(rating.variant)
        if voices is None or voices.sha256 == rating.sha256:
            return False
        return any(voice.at_s > rating.at_s for voice in voices)

    def _remember(self, rating: Rating, now_s: float) -> None:
        self._ids[_digest(rating.id)] = None
        while len(self._ids) > self._terms.ids:
            self._ids.popitem(last=False)
        self._sources.use(rating.source, now_s)
        if rating.peer:
            self._peers.use(rating.peer, now_s)

    def _speak(self, rating: Rating, at_s: float) -> None:
        voices = self._variants.pop(rating.variant, None)
        if voices is None or voices.sha256 != rating.sha256:
            voices = self._no_voices(rating.sha256)
        self._variants[rating.variant] = voices
        while len(self._variants) > self._terms.variants:
            self._variants.popitem(last=False)
        before = voices.of(rating.source)
        keep = self._terms.ratings_per_voice
        scores = [] if rating.score is None else [_clipped(rating.score)]
        labels = [] if rating.label_correct is None else [rating.label_correct]
        latencies_s = [rating.latency_s] if 0 < rating.latency_s < math.inf else []
        voices.put(
            Voice(
                source=rating.source,
                peer=rating.peer,
                turn=self._turns.take(rating.source, rating.peer),
                at_s=at_s,
                scores=[*(before.scores if before else ()), *scores][-keep:],
                labels=[*(before.labels if before else ()), *labels][-keep:],
                latencies_s=[*(before.latencies_s if before else ()), *latencies_s][-keep:],
            )
        )

    def _weighed(self, voices: VariantVoices, now_s: float) -> list[WeighedVoice]:
        every = list(voices)
        weighed = []
        for voice, age in zip(every, self._turns.ages(every), strict=True):
            half_lives = age / self._terms.half_life_voices
            half_lives += max(0.0, now_s - voice.at_s) / self._terms.half_life_s
            weight = 0.5**half_lives
            if weight >= _LEAST_WEIGHT:
                weighed.append(WeighedVoice(voice, weight))
        return weighed


def _digest(rating_id: str) -> str:
    # Ids are as long as strangers like; this many bits do not meet by chance.
    return hashlib.blake2b(rating_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _clipped(score: float) -> float:
    return min(1.0, max(0.0, score))  # in this order NaN becomes 0
