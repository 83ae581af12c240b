"""What an agent that starts knows of a pod that ran before: only what its status in the API says. Pure.

Processes of an earlier agent are dead by then: the kernel or the janitor has killed them.
"""

from datetime import datetime

from localfleet.node.container_state import ContainerRecord, Terminated, Waiting
from localfleet.node.manifest import Manifest

_KILLED = 137


def recovered_record(container: Manifest, pod: Manifest, now: datetime) -> ContainerRecord:
    """Return the record of a container, taking up where the pod's status ends."""
    record = ContainerRecord(container["name"], container["image"], Waiting("ContainerCreating"))
    status = _status_of(container["name"], pod)
    if status is None:
        return record
    record.restarts = int(status.get("restartCount") or 0)
    record.container_id = status.get("containerID") or ""
    state = status.get("state") or {}
    if running := state.get("running"):
        message = "The process was gone when the node agent started."
        started_at = _moment(running.get("startedAt"), now)
        record.state = Terminated(_KILLED, "ContainerStatusUnknown", started_at, now, message)
    elif terminated := state.get("terminated"):
        record.state = _terminated(terminated, now)
    if terminated := (status.get("lastState") or {}).get("terminated"):
        record.last = _terminated(terminated, now)
        record.last_container_id = terminated.get("containerID") or ""
    return record


def known_start(pod: Manifest) -> datetime | None:
    """Return when a node first saw the pod, if the API knows it."""
    started = (pod.get("status") or {}).get("startTime")
    return datetime.fromisoformat(started) if started else None


def _status_of(name: str, pod: Manifest) -> Manifest | None:
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for candidate in status.get(kind) or []:
            if candidate["name"] == name:
                return dict(candidate)
    return None


def _terminated(state: Manifest, now: datetime) -> Terminated:
    return Terminated(
        exit_code=int(state.get("exitCode") or 0),
        reason=state.get("reason") or "Error",
        started_at=_moment(state.get("startedAt"), now),
        finished_at=_moment(state.get("finishedAt"), now),
        message=state.get("message") or "",
    )


def _moment(text: str | None, otherwise: datetime) -> datetime:
    return datetime.fromisoformat(text) if text else otherwise
