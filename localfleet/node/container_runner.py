"""Runs one container: starts it, probes it, starts it again as its policy says, and ends it in order."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from localfleet.node.backoff import Backoff, BackoffPolicy
from localfleet.node.child_process import ChildProcess, Launch
from localfleet.node.clock import Clock
from localfleet.node.container_launch import CannotLaunchError
from localfleet.node.container_state import ContainerRecord, Running, Terminated, Waiting
from localfleet.node.hooks import run_beside, run_hook
from localfleet.node.log_files import last_lines
from localfleet.node.manifest import Manifest
from localfleet.node.probe_actions import Prober, ProbeResult
from localfleet.node.probe_loop import ContainerProbes

_START_ERROR_CODE: Final = 128
_LEAST_GRACE_S: Final = 1.0  # what SIGTERM gets after a preStop hook that used up the grace period


@dataclass(frozen=True)
class RunnerMeans:
    """What a runner works with.

    Attributes:
        clock: The time.
        prober: Carries out probes.
        backoff: Waits between starts.
        prepare: Returns the container's next process to start; raises `CannotLaunchError`.
        changed: Called when the record has changed.
        announce: Called with (type, reason, message) for an event.
    """

    clock: Clock
    prober: Prober
    backoff: BackoffPolicy
    prepare: Callable[[], Awaitable[Launch]]
    changed: Callable[[], None]
    announce: Callable[[str, str, str], None]


class ContainerRunner:
    """One container's life on the node.

    Args:
        spec: The container.
        record: Where its state is kept.
        policy: Always, OnFailure or Never.
        grace_s: Time to end after a failed probe that has no grace period of its own.
        means: What the runner works with.
    """

    def __init__(
        self, spec: Manifest, record: ContainerRecord, policy: str, grace_s: float, means: RunnerMeans
    ) -> None:
        self.spec = spec
        self.record = record
        self._policy = policy
        self._grace_s = grace_s
        self._means = means
        self._backoff = Backoff(means.backoff)
        self._process: ChildProcess | None = None
        self._launch: Launch | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Id of the running process."""
        return self._process.pid if self._process is not None and self._process.running else None

    async def run(self) -> None:
        """Run until the container has ended for good or was stopped."""
        if isinstance(self.record.state, Terminated) and not await self._again(0.0):
            return
        while not self._stopping.is_set():
            began_s = self._means.clock.monotonic_s()
            await self._run_once()
            if not await self._again(self._means.clock.monotonic_s() - began_s):
                return

    async def stop(self, grace_s: float) -> None:
        """End the container: the preStop hook, SIGTERM, and SIGKILL when the grace period is over."""
        self._stopping.set()
        process, launch = self._process, self._launch
        if process is None or launch is None or not process.running:
            return
        deadline_s = self._means.clock.monotonic_s() + grace_s
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook is not None and grace_s > 0:
            await run_hook(hook, launch, self.spec, self._means.prober, grace_s)
        left_s = deadline_s - self._means.clock.monotonic_s()
        await process.stop(max(left_s, _LEAST_GRACE_S if grace_s > 0 else 0.0))

    async def _run_once(self) -> None:
        """Start the container and wait for its end, or leave it waiting where it cannot be started."""
        try:
            launch = await self._means.prepare()
        except CannotLaunchError as error:
            self._means.announce("Warning", "Failed", f"Error: {error}")
            self._set(Waiting(error.reason, str(error)))
            return
        if self._stopping.is_set():
            return
        started_at = self._means.clock.now()
        self._remember_last()
        self.record.container_id = f"localfleet://{uuid.uuid4().hex}"
        try:
            self._launch, self._process = launch, ChildProcess.start(launch)
        except OSError as error:
            self._ended(_START_ERROR_CODE, started_at, str(error), "StartError")
            return
        self._set(Running(started_at))
        self._means.announce("Normal", "Started", f"Started container {self.record.name}")
        code, message = await self._supervise(self._process, launch)
        self._ended(code, started_at, message or self._log_message(launch, code))

    async def _supervise(self, process: ChildProcess, launch: Launch) -> tuple[int, str]:
        """Probe a process until it ends; end it when a probe says so. Return the exit code and why it was ended."""

        async def probe_once(probe: Manifest) -> ProbeResult:
            return await self._means.prober.probe(
                probe, self.spec, lambda argv, timeout_s: run_beside(argv, launch, timeout_s)
            )

        probes = ContainerProbes(self.spec, probe_once, self._probed, self._probe_failed)
        probing, exiting = asyncio.create_task(probes.run()), asyncio.create_task(process.wait())
        try:
            await asyncio.wait({probing, exiting}, return_when=asyncio.FIRST_COMPLETED)
            if exiting.done() or self._stopping.is_set():
                return await exiting, ""
            verdict = probing.result()
            self._means.announce("Normal", "Killing", verdict.message)
            await process.stop(self._grace_s if verdict.grace_s is None else verdict.grace_s)
            return await exiting, verdict.message
        finally:
            probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probing

    async def _again(self, run_time_s: float) -> bool:
        """Wait as long as is due before the next start; tell whether there is to be one."""
        state = self.record.state
        ended = isinstance(state, Terminated)
        if self._stopping.is_set() or (ended and not self._wants_restart(self.record.succeeded)):
            return False
        delay_s = self._backoff.next_s(run_time_s)
        if ended and delay_s > 0:
            self._remember_last()
            sentence = f"back-off {delay_s:g}s restarting failed container={self.record.name}"
            self._means.announce(
                "Warning", "BackOff", f"Back-off restarting failed container {self.record.name}"
            )
            self._set(Waiting("CrashLoopBackOff", sentence))
        elif isinstance(state, Waiting) and state.reason == "ErrImagePull" and delay_s > 0:
            self._set(Waiting("ImagePullBackOff", state.message))
        if ended:
            self.record.restarts += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        return not self._stopping.is_set()

    def _wants_restart(self, succeeded: bool) -> bool:
        return self._policy == "Always" or (self._policy == "OnFailure" and not succeeded)

    def _remember_last(self) -> None:
        if isinstance(self.record.state, Terminated):
            self.record.last, self.record.last_container_id = self.record.state, self.record.container_id

    def _ended(self, code: int, started_at: datetime, message: str, reason: str = "") -> None:
        reason = reason or ("Completed" if code == 0 else "Error")
        self._set(Terminated(code, reason, started_at, self._means.clock.now(), message))

    def _log_message(self, launch: Launch, code: int) -> str:
        if code == 0 or self.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        return last_lines(launch.log_file)

    def _probed(self, started: bool, ready: bool) -> None:
        if (self.record.started, self.record.ready) != (started, ready):
            self.record.started, self.record.ready = started, ready
            self._means.changed()

    def _probe_failed(self, sentence: str) -> None:
        self._means.announce("Warning", "Unhealthy", sentence)

    def _set(self, state: Running | Waiting | Terminated) -> None:
        self.record.state = state
        self.record.started = self.record.ready = False
        self._means.changed()
