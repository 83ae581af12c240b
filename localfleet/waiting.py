"""Waits for a state of the world by watching it: no polling, no sleeping.

Used by the demo and by tests; knows nothing of what the objects mean.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fleetfit_kube import ApiClient, ObjectKey, Reflector, ReflectorOptions, ResourceType

Objects = Mapping[ObjectKey, dict[str, Any]]
T = TypeVar("T")


class WaitTimeoutError(TimeoutError):
    """The awaited state did not come in time; the message says what was awaited and what was there instead."""


async def wait_for(
    client: ApiClient,
    resource: ResourceType,
    reached: Callable[[Objects], T | None],
    *,
    options: ReflectorOptions | None = None,
    timeout_s: float,
    awaiting: str,
) -> T:
    """Watch objects until `reached` gives a value other than None or False, and return it.

    Args:
        client: API access.
        resource: Kind to watch.
        reached: Called with all objects after every change.
        options: Which objects to watch.
        timeout_s: How long to wait.
        awaiting: What is awaited, for the error.

    Raises:
        WaitTimeoutError: it did not come in time.
    """
    changed = asyncio.Event()
    reflector: Reflector[dict[str, Any]] = Reflector(
        client, resource, lambda document: document, on_change=lambda *_: changed.set(), options=options
    )
    task = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(timeout_s):
            await reflector.synced.wait()
            while True:
                changed.clear()
                value = reached(reflector.items)
                if value is not None and value is not False:
                    return value
                await changed.wait()
    except TimeoutError:
        seen = ", ".join(key.name for key in reflector.items) or "nothing"
        raise WaitTimeoutError(f"{awaiting}: not within {timeout_s:g} s; {resource.plural}: {seen}") from None
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def condition(document: Mapping[str, Any], condition_type: str) -> Mapping[str, Any]:
    """Return the condition of that type, or an empty mapping."""
    conditions = document.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item.get("type") == condition_type), {})


def is_true(document: Mapping[str, Any], condition_type: str) -> bool:
    """Return whether a condition is True and belongs to the current generation, where it tells."""
    found = condition(document, condition_type)
    observed = found.get("observedGeneration", document.get("status", {}).get("observedGeneration"))
    generation = document.get("metadata", {}).get("generation")
    return found.get("status") == "True" and observed in (None, generation)
