"""Workers on a Ray cluster: one that exists, or one that is started here and ends with us.

Ray places an actor for each worker. The actor starts the worker as a process of its own beside it, the same as on one
machine, and passes frames on: so Ray's search path, signals and logs reach no worker. Ray restarts nothing; the head does.

Every machine needs this release installed and the folder of the run under the same path. Keys travel in a call to the
actor, never in Ray's own settings, which its dashboard shows.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.cluster.place import Lost, Place
from engine.cluster.wire import Wired, opened
from engine.errors import BadInput, Fatal

__all__ = ["Ray"]

_PLACED_S = 60.0
"""Seconds that Ray may take to place a worker: it may have to start a process first."""


class Ray:
    """`Places` of a Ray cluster: that at `address`, or one of this machine that is started here.

    `child` and `setup` are as for `engine.cluster.subprocesses.Processes`; `environment` is added to that of the machine. Ray writes its logs and sockets to
    `temp_folder`, or where it pleases. Connecting takes seconds, so it begins with the first `start`, in a thread.
    """

    def __init__(
        self,
        child: str,
        setup: Callable[[str], bytes],
        environment: Mapping[str, str],
        *,
        address: str | None = None,
        temp_folder: str | None = None,
    ) -> None:
        self._child = child
        self._setup = setup
        self._environment = environment
        self._address = address
        self._temp_folder = temp_folder
        self._connecting: asyncio.Task[Any] | None = None
        self._actors: dict[str, Any] = {}

    async def check(self) -> None:
        await asyncio.to_thread(_check, self._address)

    async def start(self, name: str) -> Place:
        if self._connecting is None:
            self._connecting = asyncio.create_task(asyncio.to_thread(_connected, self._address, self._temp_folder))
        ray = await asyncio.shield(self._connecting)
        actor = ray.remote(_relay(_late())).options(num_cpus=0, max_restarts=0, scheduling_strategy="SPREAD").remote()
        self._actors[name] = actor

        async def exchange(method: str, argument: bytes) -> bytes:
            try:
                carried: bytes | None = await actor.exchange.remote(method, argument)
            except ray.exceptions.RayError as error:
                raise Lost from error
            if carried is None:
                raise Lost
            return carried

        await _placed(actor.start.remote(self._child, dict(self._environment)), ray)
        opened(await exchange("build", self._setup(name)))
        return Wired(exchange)

    async def end(self, name: str) -> str:
        actor = self._actors.pop(name, None)
        if actor is None:
            return "did not start"
        assert self._connecting is not None
        ray = await asyncio.shield(self._connecting)
        try:
            async with asyncio.timeout(5):
                return str(await actor.end.remote())
        except (TimeoutError, ray.exceptions.RayError):
            return "was lost, or its machine was"
        finally:
            await asyncio.to_thread(ray.kill, actor)

    async def close(self) -> None:
        """Leave the cluster, and end the one that was started here."""
        if self._connecting is not None:
            with suppress(BadInput):  # it was not reached, and the start of a worker has said so
                await asyncio.to_thread((await self._connecting).shutdown)


def _late() -> list[str]:
    return [str(Path.cwd()), str(Path(sys.argv[0]).resolve().parent)]


async def _placed(started: Any, ray: Any) -> None:
    try:
        async with asyncio.timeout(_PLACED_S):
            await started
    except TimeoutError:
        raise Fatal(
            f"Ray has placed no worker in {_PLACED_S:.0f} s: see `ray status`, and whether its machines have gristmill installed"
        ) from None
    except ray.exceptions.RayTaskError as error:
        said = str(error).strip().splitlines()[-1]
        raise Fatal(
            f"a worker cannot be started by Ray ({said}): its machines need gristmill, of this release"
        ) from error
    except ray.exceptions.RayError as error:
        raise Lost from error


def _check(address: str | None) -> None:
    """Raise `BadInput` where Ray is not installed, or nothing listens at "host:port": Ray would try for minutes. Blocks."""
    if find_spec("ray") is None:
        raise BadInput(
            'cluster.engine is "ray" and Ray is not installed: install gristmill[ray], or use cluster.engine = "processes"'
        )
    host, _, port = (address or "").rpartition(":")
    if not host:
        return
    if "/" in host or not port.isdigit():
        raise BadInput(f'cluster.address is {address!r}: it is "auto", or host and port, as 10.0.0.1:6379')
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise BadInput(f"no Ray cluster answers at {address} ({error}): check cluster.address") from error


def _connected(address: str | None, temp_folder: str | None) -> Any:
    """Ray, connected. Blocks for seconds."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would send them to its makers
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)  # else it writes between our lines
    where: dict[str, Any] = (
        {"address": address} if address else {"address": "local", "num_cpus": 1, "include_dashboard": False}
    )
    if temp_folder and not address:
        where["_temp_dir"] = temp_folder
    try:
        ray.init(**where, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise BadInput(
            f"Ray cannot be reached at {address or 'this machine'} ({said}): check cluster.address"
        ) from error
    return ray


def _relay(late: Sequence[str]) -> type:
    """The actor: starts a worker beside it, and carries frames there and back.

    Ray puts the folder that the user works in, `late`, first on its search path, where a package of the user's own may be
    called as ours. So the class is made here: Ray sends one of a module by its name, and this one as it is.
    """

    class Relay:
        def __init__(self) -> None:
            sys.path.sort(key=lambda entry: entry in late)  # last
            self._process: Any = None

        async def start(self, child: str, environment: Mapping[str, str]) -> None:
            from engine.cluster.subprocesses import WorkerProcess

            here = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
            self._process = await WorkerProcess.start(child, {**here, **environment})

        async def exchange(self, method: str, argument: bytes) -> bytes | None:
            """None once the worker is lost."""
            from engine.cluster.place import Lost

            try:
                carried: bytes = await self._process.exchange(method, argument)
            except Lost:
                return None
            return carried

        async def end(self) -> str:
            return str(await self._process.end())

    return Relay
