"""A real control plane for one machine, as an asynchronous context manager.

It owns the state directory and the four processes. It knows nothing of nodes beyond issuing their credentials.
Enter it from the main thread: its processes die with the thread that started them.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import os
import shutil
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fleetfit_kube.config import Connection, from_kubeconfig

from localfleet.binaries import Binaries
from localfleet.controlplane.components import (
    apiserver_command,
    controller_manager_command,
    etcd_command,
    scheduler_command,
)
from localfleet.controlplane.credentials import Credentials, Now
from localfleet.controlplane.lock import StateDirLock
from localfleet.controlplane.ports import LOOPBACK, Ports
from localfleet.controlplane.readiness import grant_feature_discovery, wait_for_api, wait_for_controllers
from localfleet.controlplane.state_dir import StateDir
from localfleet.process.child import Child, ChildDiedError, tail

_READY_TIMEOUT_S: Final = 120.0
_STOP_GRACE_S: Final = 5.0
_START_ATTEMPTS: Final = 3
_CONTROLLER_MANAGER: Final = "kube-controller-manager"
_SCHEDULER: Final = "kube-scheduler"
_PORT_TAKEN: Final = "address already in use"


def utc_now() -> datetime.datetime:
    """Give the time that certificates are dated with."""
    return datetime.datetime.now(datetime.UTC)


class ControlPlane:
    """etcd, API server, controller manager and scheduler.

    Args:
        state_dir: Directory for everything this fleet writes; it is emptied of an earlier fleet's data.
        binaries: The programs to run.
        now: Clock that dates the certificates.
    """

    def __init__(self, state_dir: Path, binaries: Binaries, now: Now = utc_now) -> None:
        self.state = StateDir(state_dir.absolute())
        self.binaries = binaries
        self._now = now
        self._lock = StateDirLock(self.state.lock)
        self._children: list[Child] = []
        self._commands: dict[str, Sequence[str]] = {}
        self._ports: Ports | None = None
        self._credentials: Credentials | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def ports(self) -> Ports:
        """The ports of the running control plane."""
        if self._ports is None:
            raise RuntimeError("the control plane has not been started")
        return self._ports

    @property
    def credentials(self) -> Credentials:
        """What issues certificates and kubeconfigs."""
        if self._credentials is None:
            raise RuntimeError("the control plane has not been started")
        return self._credentials

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{LOOPBACK}:{self.ports.api}"

    @property
    def components(self) -> Sequence[Child]:
        """The processes, in the order in which they were started."""
        return tuple(self._children)

    def admin(self) -> Connection:
        """Give the administrator's connection."""
        return from_kubeconfig(self.state.admin_kubeconfig)

    async def start(self) -> None:
        """Start all components and wait until pods can be made.

        Raises:
            StateDirInUseError: another fleet runs in the state directory.
            ChildDiedError: a component ended; the message has the end of its log.
            TimeoutError: it was not ready in time.
        """
        self.state.create()
        self._lock.acquire()
        try:
            for attempt in range(1, _START_ATTEMPTS + 1):
                try:
                    return await self._start_once()
                except ChildDiedError as error:
                    await self._stop_children()
                    # A port that was free a moment ago can be taken by anybody before our process binds it.
                    if attempt == _START_ATTEMPTS or _PORT_TAKEN not in str(error):
                        raise
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop all components, the database last."""
        await self._stop_children()
        self._lock.release()

    async def restart(self, name: str) -> None:
        """Kill a component, start it again on the same ports and data, and wait until it does its work.

        Whoever is in `wait_for_death` meanwhile is told of the kill.

        Raises:
            ValueError: there is no component of this name.
            ChildDiedError: a component ended; the message has the end of its log.
            TimeoutError: it was not ready in time.
        """
        place = [child.name for child in self._children].index(name)
        await self._children[place].kill()
        async with self._ready_in_time():
            self._children[place] = await self._start_child(name, self._commands[name])
            admin = self.admin()
            await self._or_death(wait_for_api(admin))
            # Reading an object shows more than /readyz, which trusts a database seen a moment ago.
            await self._or_death(wait_for_controllers(admin))
            own_ports = {_CONTROLLER_MANAGER: self.ports.controller_manager, _SCHEDULER: self.ports.scheduler}
            if name in own_ports:
                own = dataclasses.replace(admin, server=f"https://{LOOPBACK}:{own_ports[name]}")
                await self._or_death(wait_for_api(own, "/healthz"))

    async def wait_for_death(self) -> None:
        """Wait until a component ends by itself.

        Raises:
            ChildDiedError: always; it says which one and shows the end of its log.
        """
        ends = {asyncio.create_task(child.wait()): child for child in self._children}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            raise ends[next(iter(done))].died()
        finally:
            for task in ends:
                task.cancel()

    async def _start_once(self) -> None:
        self._clean()
        self._ports = Ports.find()
        self._credentials = Credentials(self.state, self.server, self._now)
        self._credentials.write()
        async with self._ready_in_time():
            binaries, state, ports = self.binaries, self.state, self._ports
            await self._spawn("etcd", etcd_command(binaries.etcd, state, ports))
            await self._spawn("kube-apiserver", apiserver_command(binaries.apiserver, state, ports))
            admin = self.admin()
            await self._or_death(wait_for_api(admin))
            await self._spawn(
                _CONTROLLER_MANAGER, controller_manager_command(binaries.controller_manager, state, ports)
            )
            await self._spawn(_SCHEDULER, scheduler_command(binaries.scheduler, state, ports))
            await self._or_death(grant_feature_discovery(admin))
            await self._or_death(wait_for_controllers(admin))

    @contextlib.asynccontextmanager
    async def _ready_in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                yield
        except TimeoutError:
            logs = "".join(f"{child.name}:\n{tail(child.log_path, 5)}" for child in self._children)
            message = (
                f"the control plane was not ready after {_READY_TIMEOUT_S:.0f} s; ends of the logs:\n{logs}"
            )
            raise TimeoutError(message) from None

    async def _or_death(self, work: Coroutine[object, object, None]) -> None:
        tasks = {asyncio.ensure_future(work), asyncio.create_task(self.wait_for_death())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _spawn(self, name: str, command: Sequence[str]) -> None:
        self._commands[name] = command
        self._children.append(await self._start_child(name, command))

    async def _start_child(self, name: str, command: Sequence[str]) -> Child:
        environment = {"PATH": os.defpath, "HOME": str(self.state.root)}
        return await Child.start(
            name, command, log_path=self.state.log(name), env=environment, cwd=self.state.root
        )

    async def _stop_children(self) -> None:
        while self._children:
            await self._children[-1].stop(_STOP_GRACE_S)
            self._children.pop()

    def _clean(self) -> None:
        shutil.rmtree(self.state.etcd_data, ignore_errors=True)
        for log in self.state.logs.glob("*.log"):
            log.unlink()
