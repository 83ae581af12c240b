"""From weighed voices to what is reported of a variant, and when it is worth a report. Pure."""

from collections.abc import Sequence

from fleetfit_api.model_status import RatingSummary

from fleetfit_runtime.ratings.voices import WeighedVoice

_PERCENTILE = 0.95
# Said of a variant on which there are labels but no scores; with no voices it weighs nothing.
_NEUTRAL_SCORE = 0.5
# What is less than this changes no decision, and is not worth a write to the API server.
_VOICES_MOVE = 1.0
_SCORE_MOVE = 0.02


def summarize(variant: str, sha256: str, voices: Sequence[WeighedVoice]) -> RatingSummary:
    """Return the summary: the weighted mean of the voices' scores, and the same of their labels."""
    scored = [each for each in voices if each.voice.scores]
    labelled = [each for each in voices if each.voice.labels]
    weight = sum(each.weight for each in scored)
    label_weight = sum(each.weight for each in labelled)
    score = _NEUTRAL_SCORE
    if weight:
        score = _share(sum(each.weight * each.voice.score for each in scored) / weight)
    accuracy = None
    if label_weight:
        right = sum(each.weight * _mean(each.voice.labels) for each in labelled)
        accuracy = _share(right / label_weight)
    return RatingSummary(
        variant=variant,
        sha256=sha256,
        voices=weight,
        score=score,
        latency_p95_seconds=_latency_p95_s(voices),
        accuracy=accuracy,
        labels=sum(len(each.voice.labels) for each in labelled),
    )


def ratings_moved(before: Sequence[RatingSummary], after: Sequence[RatingSummary]) -> bool:
    """Tell whether summaries say something new: another file, a voice more or less, or another mean."""
    if [_file(each) for each in before] != [_file(each) for each in after]:
        return True
    return any(_moved(old, new) for old, new in zip(before, after, strict=True))


def _file(summary: RatingSummary) -> tuple[str, str]:
    return summary.variant, summary.sha256


def _moved(old: RatingSummary, new: RatingSummary) -> bool:
    if abs(new.voices - old.voices) >= _VOICES_MOVE or abs(new.score - old.score) >= _SCORE_MOVE:
        return True
    if old.accuracy is None or new.accuracy is None:
        return old.accuracy is not new.accuracy
    return abs(new.accuracy - old.accuracy) >= _SCORE_MOVE


def _mean(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))  # a sum of rounded parts can be a last digit beyond the whole


def _latency_p95_s(voices: Sequence[WeighedVoice]) -> float:
    """Return the latency that 95 % of the weight stays at or below; each voice spreads its weight over its requests."""
    met = sorted(
        (latency_s, each.weight / len(each.voice.latencies_s))
        for each in voices
        for latency_s in each.voice.latencies_s
    )
    below = _PERCENTILE * sum(weight for _, weight in met)
    so_far = 0.0
    for latency_s, weight in met:
        so_far += weight
        if so_far >= below:
            return latency_s
    return met[-1][0] if met else 0.0
