"""What the node knows of a container, and how the API writes it. Pure but for being mutable."""

from dataclasses import dataclass
from datetime import datetime

from localfleet.node.clock import api_time
from localfleet.node.manifest import Manifest


@dataclass(frozen=True)
class Waiting:
    """The container does not run; something has to happen first."""

    reason: str
    message: str = ""

    def as_api(self, container_id: str) -> Manifest:
        """Return the API's `state`."""
        del container_id  # only what has run has one
        detail = {"message": self.message} if self.message else {}
        return {"waiting": {"reason": self.reason, **detail}}


@dataclass(frozen=True)
class Running:
    """The container runs."""

    started_at: datetime

    def as_api(self, container_id: str) -> Manifest:
        """Return the API's `state`."""
        del container_id  # the API has it beside the state
        return {"running": {"startedAt": api_time(self.started_at)}}


@dataclass(frozen=True)
class Terminated:
    """The container has ended."""

    exit_code: int
    reason: str
    started_at: datetime
    finished_at: datetime
    message: str = ""

    def as_api(self, container_id: str) -> Manifest:
        """Return the API's `state`."""
        detail = {"message": self.message} if self.message else {}
        return {
            "terminated": {
                "exitCode": self.exit_code,
                "reason": self.reason,
                "startedAt": api_time(self.started_at),
                "finishedAt": api_time(self.finished_at),
                "containerID": container_id,
                **detail,
            }
        }


State = Waiting | Running | Terminated


@dataclass
class ContainerRecord:
    """One container of a pod; its runner writes it, the status is made from it.

    Attributes:
        name: Name in the pod.
        image: Image in the pod.
        state: What it does now.
        last: How it last ended, if it has been started again or waits for that.
        restarts: How often it was started again.
        started: Whether its start-up probe has passed.
        ready: Whether its readiness probe passes.
        container_id: Id of the newest start, empty before the first.
        last_container_id: Id of the start that `last` is about.
    """

    name: str
    image: str
    state: State
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False
    container_id: str = ""
    last_container_id: str = ""

    def as_api(self) -> Manifest:
        """Return the API's `containerStatus`."""
        running = isinstance(self.state, Running)
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image if self.container_id else "",
            "containerID": self.container_id,
            "restartCount": self.restarts,
            "started": running and self.started,
            "ready": self.ready,
            "state": self.state.as_api(self.container_id),
            "lastState": self.last.as_api(self.last_container_id) if self.last is not None else {},
        }

    @property
    def succeeded(self) -> bool:
        """Whether the container has ended well."""
        return isinstance(self.state, Terminated) and self.state.exit_code == 0
