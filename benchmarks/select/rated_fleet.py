"""A simulated fleet whose users rate: requests, books of ratings on the nodes, and the operator's passes."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from fleetfit_runtime.ratings.book import Outcome, Rating, RatingBook, RatingTerms

from benchmarks.select.devices import Devices, FloatArray
from benchmarks.select.fleet import FleetState, SimulatedFleet, variant_name
from benchmarks.select.users import Taste, Users, draw_users

SECONDS_PER_RATING: Final = 60.0
_LATENCY_SPREAD, _P95_SIGMAS = 0.05, 1.645


@dataclass(frozen=True, slots=True)
class Settled:
    """A state to come back to: time, fleet, and the book of one node."""

    now_s: float
    fleet: FleetState
    book: object


class RatedFleet:
    """Nodes with users who rate what they are served.

    Args:
        devices: The devices and variants.
        taste: What the users like.
        seed: Decides everything that is drawn.
        ask_share: Largest share of replies in which users are asked; None leaves ratings out.
        explores: Whether nodes try variants for what is learnt from them.
    """

    def __init__(
        self,
        devices: Devices,
        taste: Taste,
        seed: int,
        ask_share: float | None = 1.0,
        explores: bool = True,
    ) -> None:
        self._users_rng, self._errors_rng, self.rng = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)
        )
        self.devices = devices
        self.fleet = SimulatedFleet(devices, self._errors_rng, ask_share, explores)
        self.users: Users = draw_users(devices, taste, self._users_rng)
        self.books = [RatingBook(RatingTerms()) for _ in devices.names]
        self.ratings = 0
        self.now_s = 0.0
        self._spoken: set[int] = set()
        self.fleet.run_pass(self.now_s)

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.books)

    def change_taste(self, taste: Taste) -> None:
        """Let all users like something else from now on."""
        self.users = draw_users(self.devices, taste, self._users_rng)

    def rate(self, node: int, seconds: float = SECONDS_PER_RATING) -> None:
        """Let a user of a node, drawn at random, rate what the node runs; then time passes."""
        user = int(self.rng.integers(self.users.bias.shape[1]))
        variant = self.fleet.chosen()[node]
        score = self.users.rating(node, user, variant, self.rng)
        self.speak(node, f"user-{user}", variant, score)
        self.now_s += seconds

    def speak(
        self,
        node: int,
        source: str,
        variant: int,
        score: float,
        *,
        age_s: float = 0.0,
        rating_id: str = "",
    ) -> Outcome:
        """Put a rating into a node's book now.

        Args:
            node: The node.
            source: Who rates.
            variant: What is rated.
            score: The rating.
            age_s: Age of the rated request in seconds.
            rating_id: Id of the rating; a new one when empty.
        """
        # The device's latency is the 95th percentile of what requests take.
        spread = float(np.exp(self.rng.normal(-_P95_SIGMAS * _LATENCY_SPREAD, _LATENCY_SPREAD)))
        self.ratings += 1
        self._spoken.add(node)
        return self.books[node].add(
            Rating(
                id=rating_id or f"rating-{self.ratings}",
                source=source,
                score=score,
                variant=variant_name(variant),
                sha256=self.fleet.digest(variant),
                at_s=self.now_s - age_s,
                latency_s=float(self.devices.latency_s[node, variant]) * spread,
            ),
            self.now_s,
        )

    def run_pass(self) -> None:
        """Let nodes report what has changed, and the operator decide."""
        for node in sorted(self._spoken):
            self.fleet.report(node, self.books[node].summaries(self.now_s))
        self._spoken.clear()
        self.fleet.run_pass(self.now_s)

    def report_all(self) -> None:
        """Let all nodes report what their users say now."""
        for node, book in enumerate(self.books):
            self.fleet.report(node, book.summaries(self.now_s))
        self._spoken.clear()

    def remember(self, node: int) -> Settled:
        """Return the fleet, and one node's book, to come back to."""
        return Settled(self.now_s, self.fleet.remember(), self.books[node].dump())

    def forget(self, node: int, settled: Settled) -> None:
        """Empty one node's book of what came after, and leave time and fleet as they are."""
        self.books[node].load(settled.book)

    def restore(self, node: int, settled: Settled) -> None:
        """Come back."""
        self.forget(node, settled)
        self.fleet.restore(settled.fleet)
        self.now_s = settled.now_s

    def losses(self) -> FloatArray:
        """Return what each node's users miss now: best true mean QoE minus that of the chosen variant."""
        true = self.users.mean_qoe
        return np.asarray(true.max(axis=1) - true[np.arange(self.nodes), self.fleet.chosen()])

    def mean_qoe(self) -> float:
        """Return the true mean QoE over nodes now."""
        true = self.users.mean_qoe
        return float(true[np.arange(self.nodes), self.fleet.chosen()].mean())
