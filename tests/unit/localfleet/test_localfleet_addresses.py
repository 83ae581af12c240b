"""Addresses are distinct, few and held by one fleet at a time."""

import uuid

import pytest

from localfleet.addresses import (
    MAX_NODES,
    AddressesExhaustedError,
    AddressPool,
    fleet_addresses,
    node_address,
)


@pytest.fixture
def scope() -> str:
    """A scope of our own: fleets that run on this machine hold addresses too."""
    return f"test-{uuid.uuid4()}"


def test_addresses_are_distinct_and_on_loopback() -> None:
    addresses = fleet_addresses()
    assert len(set(addresses)) == MAX_NODES
    assert all(address.startswith("127.") for address in addresses)


@pytest.mark.parametrize("index", [0, -1, MAX_NODES + 1])
def test_there_is_no_address_outside_of_the_fleet(index: int) -> None:
    with pytest.raises(ValueError, match="there is no node"):
        node_address(index)


def test_two_fleets_never_hold_the_same_address(scope: str) -> None:
    with AddressPool(scope) as one, AddressPool(scope) as other:
        taken = [pool.take() for pool in (one, other, one, other)]
        assert len(set(taken)) == 4


def test_released_address_is_free_for_others(scope: str) -> None:
    with AddressPool(scope) as one, AddressPool(scope) as other:
        address = one.take()
        one.release(address)
        one.release(address)
        assert other.take() == address
        assert other.held == (address,)


def test_closed_pool_holds_nothing(scope: str) -> None:
    with AddressPool(scope) as pool:
        address = pool.take()
    with AddressPool(scope) as other:
        assert other.take() == address


def test_no_more_addresses_than_the_certificate_names(scope: str) -> None:
    with AddressPool(scope) as pool:
        assert {pool.take() for _ in range(MAX_NODES)} == set(fleet_addresses())
        with pytest.raises(AddressesExhaustedError, match="in use"):
            pool.take()
