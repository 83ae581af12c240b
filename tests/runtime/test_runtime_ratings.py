"""Ratings over real HTTP: taken once, limited, kept over a restart, asked for by contract, and reported."""

from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import orjson
import pytest
from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import NodeInferenceStatus
from fleetfit_api.node_telemetry import NodeTelemetry
from fleetfit_runtime.agent.status import NodeState, build_status
from fleetfit_runtime.ratings.given import parse_rating
from fleetfit_runtime.telemetry.metrics import metrics_page
from fleetfit_runtime.telemetry.rating_metrics import RatingCollector
from prometheus_client import CollectorRegistry
from runtime_models import assignment, saved, scale_model, two_input_model
from runtime_node import MakeNode, Node

RATINGS = "/v2/models/digits/ratings"
TRUSTED = [ip_network("127.0.0.0/8")]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_serving(make_node: MakeNode, tmp_path: Path, clock: Clock) -> Callable[..., object]:
    async def make(**over: object) -> Node:
        node = await make_node(clock=clock, trusted=over.pop("trusted", TRUSTED))
        node.assign(assignment(saved(tmp_path, "a", scale_model(2.0)), "two", **over))
        await node.until_phase(ModelPhase.READY)
        return node

    return make


@pytest.fixture
async def serving(make_serving: MakeNode) -> Node:
    return await make_serving()


async def post(node: Node, document: object, path: str = RATINGS) -> tuple[int, dict[str, object]]:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    async with node.client.post(node.url(path), data=body) as response:
        return response.status, await response.json()


async def shown(node: Node) -> list[dict[str, object]]:
    async with node.client.get(node.url(RATINGS)) as response:
        assert response.status == 200
        found = (await response.json())["ratings"]
        assert isinstance(found, list)
        return found


async def infer(node: Node, **members: object) -> tuple[dict[str, object], str | None]:
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 3, 2]}
    async with node.client.post(
        node.url("/v2/models/digits/infer"), json={"inputs": [tensor]} | members
    ) as response:
        assert response.status == 200
        head_bytes = response.headers.get("Inference-Header-Content-Length")
        document = orjson.loads((await response.read())[: int(head_bytes) if head_bytes else None])
        return document, response.headers.get("fleetfit-rate")


async def test_a_rating_counts_once(serving: Node) -> None:
    rating = {"id": "r1", "score": 0.75}
    assert await post(serving, rating) == (200, _counts(accepted=1))
    assert await post(serving, rating) == (200, _counts(duplicate=1))
    (summary,) = await shown(serving)
    assert (summary["variant"], summary["voices"], summary["score"]) == ("two", 1.0, 0.75)


def _counts(**over: object) -> dict[str, object]:
    return {"accepted": 0, "duplicate": 0, "limited": 0, "late": 0, "errors": []} | over


async def test_scores_beyond_the_scale_are_clipped(serving: Node) -> None:
    for index, score in enumerate([7, -3.5]):
        assert (await post(serving, {"id": str(index), "score": score, "user": str(index)}))[0] == 200
    assert (await shown(serving))[0]["score"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"id": "r", "score": NaN}', "not valid JSON"),
        ([], "must be a JSON object"),
        ("rating", "must be a JSON object"),
        ({}, "id"),
        ({"id": "r"}, "needs a score"),
        ({"score": 0.5}, "id"),
        ({"id": "r", "score": "good"}, "score"),
        ({"id": "r" * 129, "score": 0.5}, "id"),
        ({"id": "r", "score": 0.5, "variant": "other"}, "no variant 'other'; it has 'two'"),
        ({"id": "r", "label": 3}, "needs the request_id"),
        ({"id": "r", "score": 0.5, "context": {"deep": {}}}, "context"),
        ({"ratings": []}, "1 to 100"),
        ({"ratings": [{"id": str(index), "score": 1} for index in range(101)]}, "1 to 100"),
        ({"ratings": {"id": "r", "score": 0.5}}, "1 to 100"),
        ({"ratings": [{"id": "r", "score": 0.5}], "user": "u"}, "only member"),
        ({"ratings": ["r"]}, "must be an object"),
    ],
)
async def test_wrong_input_gets_a_sentence_and_changes_nothing(
    serving: Node, document: object, sentence: str
) -> None:
    status, answer = await post(serving, document)
    assert status == 400
    assert sentence in str(answer["error"])
    assert await shown(serving) == []


async def test_in_a_batch_each_rating_stands_for_itself(serving: Node, clock: Clock) -> None:
    await post(serving, {"id": "old", "score": 1, "user": "u0"})
    batch = [
        {"id": "new", "score": 1, "user": "u1"},
        {"id": "old", "score": 1, "user": "u1"},
        {"id": "late", "score": 1, "user": "u2", "at": clock.now_s - 7200},
        {"id": "wrong", "score": "1"},
        7,
    ]
    status, answer = await post(serving, {"ratings": batch})
    assert status == 200
    errors = answer.pop("errors")
    assert answer == {"accepted": 1, "duplicate": 1, "limited": 0, "late": 1}
    assert isinstance(errors, list)
    assert [error["index"] for error in errors] == [3, 4]


async def test_paths_and_methods(serving: Node) -> None:
    rating = {"id": "r1", "score": 1}
    assert (await post(serving, rating, "/v2/models/none/ratings"))[0] == 404
    assert (await post(serving, rating, "/v2/models/digits/versions/other/ratings"))[0] == 400
    assert (await post(serving, rating, "/v2/models/digits/versions/two/ratings"))[0] == 200
    async with serving.client.delete(serving.url(RATINGS)) as response:
        assert response.status == 405
    async with serving.client.get(serving.url("/v2")) as response:
        assert "fleetfit_ratings" in (await response.json())["extensions"]
    assert (await post(serving, b" " * (257 << 10)))[0] == 413


async def test_a_model_that_is_not_ready_takes_ratings_later(node: Node, tmp_path: Path) -> None:
    node.assign(assignment(tmp_path / "absent.onnx"))
    await node.until_phase(ModelPhase.FAILED)
    status, answer = await post(node, {"id": "r", "score": 1})
    assert status == 503
    assert "not ready" in str(answer["error"])


async def test_who_rates_too_often_is_told_when_to_come_back(serving: Node, clock: Clock) -> None:
    for index in range(6):
        assert (await post(serving, {"id": f"r{index}", "score": 1, "user": "u"}))[0] == 200
    clock.now_s += 600
    body = orjson.dumps({"id": "r6", "score": 1, "user": "u"})
    async with serving.client.post(serving.url(RATINGS), data=body) as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "3000"
        assert (await response.json())["limited"] == 1
    clock.now_s += 3000
    assert await post(serving, {"id": "r6", "score": 1, "user": "u"}) == (200, _counts(accepted=1))


@pytest.mark.parametrize("forge", ["one user", "no user", "many users", "one id"])
async def test_a_thousand_forged_ratings_move_no_more_than_their_voices(
    make_serving: MakeNode, clock: Clock, forge: str
) -> None:
    node = await make_serving(trusted=[])
    for index in range(40):  # honest users elsewhere: written as the journal of a former run would have them
        _rate_from(node, f"10.0.{index}.1", {"id": f"honest-{index}", "score": 0.9})
    before = (await shown(node))[0]
    for index in range(10):
        forged = [_forged(forge, index * 100 + number) for number in range(100)]
        status, _ = await post(node, {"ratings": forged})
        assert status in (200, 429)
        clock.now_s += 360
    after = (await shown(node))[0]
    most = 4 if forge == "many users" else 1
    honest = float(str(before["voices"])) * 0.5 ** (most / 25)
    assert 0.99 * honest < float(str(after["voices"])) <= float(str(before["voices"])) + most
    assert float(str(after["score"])) >= 0.9 * 0.99 * honest / (honest + most)


def _forged(forge: str, number: int) -> dict[str, object]:
    rating: dict[str, object] = {"id": "same" if forge == "one id" else f"f{number}", "score": 0}
    if forge == "one user":
        rating["user"] = "forger"
    elif forge != "no user":
        rating["user"] = f"made-up-{number}"
    return rating


def _rate_from(node: Node, address: str, document: dict[str, object]) -> None:
    model = node.table.get("digits")
    assert model is not None
    node.desk.rate(model, parse_rating(document), address)


async def test_a_restart_keeps_what_was_said(make_serving: MakeNode) -> None:
    before = await make_serving()
    for index in range(5):
        await post(before, {"id": f"r{index}", "score": 0.5, "user": f"u{index}"})
    said = await shown(before)
    await before.stop()
    after = await make_serving()
    assert await shown(after) == said
    assert await post(after, {"id": "r0", "score": 0.5}) == (200, _counts(duplicate=1))


async def test_ratings_stay_with_the_variant_that_was_rated(
    make_serving: MakeNode, tmp_path: Path, clock: Clock
) -> None:
    node = await make_serving()
    await infer(node, id="req-two")
    await infer(node, id="old")
    node.assign(assignment(saved(tmp_path, "b", scale_model(3.0)), "three"))
    await node.until_phase(ModelPhase.READY, "three")
    await infer(node, id="req-three")
    batch = [
        {"id": "r2", "score": 0.2, "request_id": "req-two", "user": "u"},
        {"id": "r3", "score": 0.3, "request_id": "req-three", "user": "u"},
        {"id": "r4", "score": 0.4, "request_id": "unknown", "user": "u"},
        {"id": "r5", "score": 0.4, "variant": "two", "user": "u"},
    ]
    assert await post(node, {"ratings": batch}) == (200, _counts(accepted=2, late=2))
    clock.now_s += 3700
    assert await post(node, {"id": "r6", "score": 1, "request_id": "old"}) == (200, _counts(late=1))
    summaries = {each["variant"]: each for each in await shown(node)}
    assert {variant: each["score"] for variant, each in summaries.items()} == {"two": 0.2, "three": 0.3}
    assert all(0 < float(str(each["latencyP95Seconds"])) < 5 for each in summaries.values())


async def test_labels_are_compared_with_the_class_that_was_predicted(serving: Node) -> None:
    await infer(serving, id="q")
    for index, label in enumerate([1, 1, 2]):
        rating = {"id": f"r{index}", "label": label, "request_id": "q", "user": f"u{index}"}
        assert await post(serving, rating) == (200, _counts(accepted=1))
    await post(serving, {"id": "said", "correct": True, "user": "u9"})
    (summary,) = await shown(serving)
    assert summary["accuracy"] == pytest.approx(0.75, abs=0.02)
    assert (summary["labels"], summary["voices"]) == (4, 0.0)


async def test_what_is_no_classifier_has_no_class_to_compare(make_node: MakeNode, tmp_path: Path) -> None:
    node = await make_node()
    node.assign(assignment(saved(tmp_path, "a", two_input_model())))
    await node.until_phase(ModelPhase.READY)
    tensors = [
        {"name": name, "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]} for name in ("a", "b")
    ]
    async with node.client.post(
        node.url("/v2/models/digits/infer"), json={"id": "q", "inputs": tensors}
    ) as response:
        assert response.status == 200
    status, answer = await post(node, {"id": "r", "label": 1, "request_id": "q"})
    assert status == 400
    assert "no class is known" in str(answer["error"])
    assert (await post(node, {"id": "r", "correct": True, "request_id": "q"}))[0] == 200


async def test_who_can_put_the_question_is_asked_once_an_hour(make_serving: MakeNode, clock: Clock) -> None:
    node = await make_serving(ask_share=1.0)

    async def asked(**members: object) -> bool:
        document, header = await infer(node, **members)
        please = document["parameters"].get("fleetfit_rate", False)  # type: ignore[attr-defined]  # a JSON object
        assert (header == "1") is please
        return bool(please)

    can = {"parameters": {"fleetfit_ask": "u1"}}
    assert not await asked(id="q0")
    assert not await asked(**can)
    assert not await asked(id="q0", parameters={"fleetfit_ask": False})
    assert await asked(id="q1", **can)
    assert not await asked(id="q2", **can)
    assert await asked(id="q3", parameters={"fleetfit_ask": "u2", "binary_data_output": True})
    assert await asked(id="q4", parameters={"fleetfit_ask": True})
    clock.now_s += 3600
    assert await asked(id="q5", **can)
    assert await post(node, {"id": "r", "score": 1, "request_id": "q5", "user": "u1"}) == (
        200,
        _counts(accepted=1),
    )


async def test_nobody_is_asked_unless_the_operator_says_so(serving: Node) -> None:
    for index in range(20):
        document, header = await infer(serving, id=f"q{index}", parameters={"fleetfit_ask": f"u{index}"})
        assert (header, document["parameters"]) == (None, {"provider": "CPUExecutionProvider"})


@pytest.mark.parametrize("value", [1, "", "x" * 257, [], {}])
async def test_a_wrong_wish_to_be_asked_is_refused(serving: Node, value: object) -> None:
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 3, 2]}
    body = {"inputs": [tensor], "parameters": {"fleetfit_ask": value}}
    status, answer = await post(serving, body, "/v2/models/digits/infer")
    assert status == 400
    assert "fleetfit_ask" in str(answer["error"])


async def test_the_status_says_what_users_say(serving: Node) -> None:
    await post(serving, {"id": "r1", "score": 0.5})
    state = NodeState(1, 1, None, "", (), NodeTelemetry(), ratings=serving.desk.all_summaries())
    status = build_status(
        state, serving.agent.keepers(), NodeInferenceStatus(), datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert status.models[0].ratings == serving.desk.summaries("digits")
    assert status.models[0].ratings[0].score == 0.5


async def test_metrics_count_what_became_of_ratings(serving: Node) -> None:
    await post(serving, {"id": "r1", "score": 0.5})
    await post(serving, {"id": "r1", "score": 0.5})
    await post(serving, {"id": "r2", "score": "x"})
    registry = CollectorRegistry()
    registry.register(RatingCollector(serving.desk, serving.table))
    page = metrics_page(registry)[0].decode()
    for line in (
        'fleetfit_runtime_ratings_total{model="digits",outcome="accepted"} 1.0',
        'fleetfit_runtime_ratings_total{model="digits",outcome="duplicate"} 1.0',
        'fleetfit_runtime_ratings_total{model="digits",outcome="refused"} 1.0',
        'fleetfit_runtime_rating_score{model="digits",variant="two"} 0.5',
        'fleetfit_runtime_rating_voices{model="digits",variant="two"} 1.0',
    ):
        assert line in page
    serving.desk.forget_counts("digits")
    assert "_total{" not in metrics_page(registry)[0].decode()
