"""Metrics of users' ratings: how many came and what became of them, and what they say of each variant.

The labels are bounded: models that are assigned, the outcomes of a rating, and the variants that a book keeps.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.ratings.desk import RatingDesk

RATINGS: Final = "fleetfit_runtime_ratings"
RATING_ASKS: Final = "fleetfit_runtime_rating_asks"
RATING_SCORE: Final = "fleetfit_runtime_rating_score"
RATING_VOICES: Final = "fleetfit_runtime_rating_voices"


class RatingCollector(Collector):
    """Turns counts and summaries into metrics.

    Args:
        desk: what takes the ratings.
        models: what serves.
    """

    def __init__(self, desk: RatingDesk, models: ModelTable) -> None:
        self._desk = desk
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        ratings = CounterMetricFamily(RATINGS, "Ratings by what became of them.", labels=["model", "outcome"])
        for (model, outcome), count in list(self._desk.outcomes.items()):
            ratings.add_metric([model, outcome], float(count))
        yield ratings
        asks = CounterMetricFamily(RATING_ASKS, "Replies that asked for a rating.", labels=["model"])
        for model, count in list(self._desk.asks.items()):
            asks.add_metric([model], float(count))
        yield asks
        labels = ["model", "variant"]
        score = GaugeMetricFamily(RATING_SCORE, "Mean of the users' scores, 0 to 1.", labels=labels)
        voices = GaugeMetricFamily(RATING_VOICES, "Users that the mean rests on, by weight.", labels=labels)
        for model in self._models.names():
            for summary in self._desk.summaries(model):
                score.add_metric([model, summary.variant], summary.score)
                voices.add_metric([model, summary.variant], summary.voices)
        yield score
        yield voices
