import copy
from collections import deque
from typing import Any, cast

import pytest
from fleetfit_kube import ApiClient
from fleetfit_kube.errors import ApiError, Conflict, ConnectionLost, NotFound
from fleetfit_operator.control.leader import LeaderElector, LeadershipLost, LeaseName, LeaseTerms


class World:
    """One Lease with optimistic locking, a clock that sleeps move, and faults on request."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.now_s = 1000.0
        self.version = 0
        self.faults: deque[ApiError | None] = deque()
        self.on_sleep: list[Any] = []

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for action in list(self.on_sleep):
            action()

    def _fault(self) -> None:
        if self.faults:
            fault = self.faults.popleft()
            if fault is not None:
                raise fault

    def store(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    async def get(self, *_: object) -> dict[str, Any]:
        self._fault()
        if self.lease is None:
            raise NotFound(404, "NotFound", "no lease")
        return copy.deepcopy(self.lease)

    async def create(self, _resource: object, body: dict[str, Any]) -> dict[str, Any]:
        self._fault()
        if self.lease is not None:
            raise Conflict(409, "AlreadyExists", "exists")
        return self.store(body)

    async def replace(self, _resource: object, body: dict[str, Any]) -> dict[str, Any]:
        self._fault()
        if self.lease is None:
            raise NotFound(404, "NotFound", "no lease")
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "changed")
        return self.store(body)

    @property
    def holder(self) -> str:
        assert self.lease is not None
        return str(self.lease["spec"]["holderIdentity"])

    def elector(self, identity: str, first_epoch: int = 0) -> LeaderElector:
        return LeaderElector(
            cast(ApiClient, self),
            LeaseName("ns", "lease", identity),
            LeaseTerms(duration_s=15, deadline_s=10, renew_s=2),
            clock=self.clock,
            first_epoch=lambda: first_epoch,
            sleep=self.sleep,
        )


@pytest.fixture
def world() -> World:
    return World()


def stop_after(world: World, sleeps: int) -> None:
    """End `keep` after some sleeps, as a cancellation would."""
    left = [sleeps]

    def count() -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise StopAsyncIteration

    world.on_sleep.append(count)


async def keep_for(world: World, elector: LeaderElector, sleeps: int) -> None:
    stop_after(world, sleeps)
    with pytest.raises((StopAsyncIteration, RuntimeError)):
        await elector.keep()
    world.on_sleep.clear()


async def test_the_first_epoch_is_above_what_nodes_have_seen(world: World) -> None:
    elector = world.elector("a", first_epoch=7)
    assert await elector.acquire() == 7
    assert elector.is_leader
    assert world.holder == "a"


async def test_a_lease_is_taken_only_after_it_has_not_changed_for_its_duration(world: World) -> None:
    first = world.elector("a")
    await first.acquire()
    began_s = world.now_s
    second = world.elector("b")
    assert await second.acquire() == 1
    assert world.now_s - began_s >= 15
    assert world.holder == "b"
    assert not first.is_leader


async def test_a_renewed_lease_is_not_taken(world: World) -> None:
    first = world.elector("a")
    await first.acquire()
    looks = [0]

    def renew() -> None:
        assert world.lease is not None
        world.store(world.lease)
        looks[0] += 1
        if looks[0] > 50:
            raise StopAsyncIteration

    world.on_sleep.append(renew)
    with pytest.raises((StopAsyncIteration, RuntimeError)):
        await world.elector("b").acquire()
    assert world.holder == "a"


async def test_a_released_lease_is_taken_at_once_with_a_higher_epoch(world: World) -> None:
    first = world.elector("a")
    epoch = await first.acquire()
    await first.release()
    assert not first.is_leader
    began_s = world.now_s
    assert await world.elector("b").acquire() == epoch + 1
    assert world.now_s == began_s


async def test_a_renewal_whose_answer_was_lost_does_not_keep_the_lease_from_being_released(
    world: World,
) -> None:
    elector = world.elector("a")
    await elector.acquire()
    assert world.lease is not None
    world.store(world.lease)  # the server executed a renewal that the end of the process cut off
    await elector.release()
    assert world.holder == ""


async def test_a_lease_that_another_has_taken_meanwhile_is_left_to_it(world: World) -> None:
    elector = world.elector("a")
    await elector.acquire()
    assert world.lease is not None
    world.store({**world.lease, "spec": {**world.lease["spec"], "holderIdentity": "b"}})
    await elector.release()
    assert world.holder == "b"


async def test_renewals_keep_the_lease_through_trouble_shorter_than_the_deadline(world: World) -> None:
    elector = world.elector("a")
    await elector.acquire()
    world.faults.extend([ConnectionLost("cut")] * 3)
    await keep_for(world, elector, 6)
    assert elector.is_leader


async def test_trouble_beyond_the_deadline_ends_it_before_another_may_begin(world: World) -> None:
    elector = world.elector("a")
    await elector.acquire()
    began_s = world.now_s
    world.faults.extend([ConnectionLost("cut")] * 100)
    with pytest.raises(LeadershipLost, match="not renewed"):
        await elector.keep()
    assert world.now_s - began_s < 15
    assert not elector.is_leader


async def test_another_holder_ends_it(world: World) -> None:
    elector = world.elector("a")
    await elector.acquire()
    assert world.lease is not None
    world.lease["spec"]["holderIdentity"] = "b"
    world.store(world.lease)
    with pytest.raises(LeadershipLost, match="another process"):
        await elector.keep()


async def test_a_deleted_lease_ends_it(world: World) -> None:
    elector = world.elector("a")
    await elector.acquire()
    world.lease = None
    with pytest.raises(LeadershipLost):
        await elector.keep()


async def test_a_lost_answer_to_an_own_renewal_does_not_end_it(world: World) -> None:
    elector = world.elector("a")
    await elector.acquire()
    assert world.lease is not None
    world.store(world.lease)  # the renewal was executed, its answer never came
    await keep_for(world, elector, 4)
    assert elector.is_leader


async def test_of_two_that_take_a_free_lease_one_loses(world: World) -> None:
    first = world.elector("a")
    await first.acquire()
    await first.release()
    world.faults.extend([None, Conflict(409, "Conflict", "b was faster")])
    stop_after(world, 1)
    with pytest.raises((StopAsyncIteration, RuntimeError)):
        await world.elector("c").acquire()
    assert world.holder == ""


def test_times_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="renew interval"):
        LeaseTerms(duration_s=5, deadline_s=10, renew_s=2)
