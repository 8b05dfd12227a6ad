"""Where work is done: in this process, in a pool of processes, or on a Ray cluster.

An engine takes parcels of work and gives each one's result back as it is done, in any order:
what must not depend on the order is kept in files by number (:mod:`kaogen.data.preparing.shards`).

A worker that dies is replaced and its parcel tried again; a parcel that cannot be done comes back
as :class:`Lost`. The pool is our own and not ``concurrent.futures``: there, one death breaks the
whole pool and nobody can say which parcel was at fault.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from kaogen.errors import ConfigError, DataError, KaogenError

ATTEMPTS = 3
"""How often a parcel is tried before it counts as lost."""

Parcel = TypeVar("Parcel")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Lost:
    """A parcel that could not be done; ``reason`` is what happened the last time."""

    reason: str


class Engine(ABC, Generic[Parcel, Result]):
    """Somewhere to work. Build it with :func:`open_engine`."""

    @abstractmethod
    def run(
        self, task: Callable[[Parcel], Result], parcels: Iterable[Parcel]
    ) -> Iterator[tuple[int, Result | Lost]]:
        """Yield ``(number, task(parcel))`` of each parcel as soon as it is done, in any order.

        ``parcels`` is read only as fast as the work goes. Task and parcels must be picklable, the
        task a function of a module. A KaogenError of the task is raised here.
        """


class Here(Engine[Parcel, Result]):
    """This process: for tests, and for finding out where something fails.

    Nothing is caught or tried again here.
    """

    def run(
        self, task: Callable[[Parcel], Result], parcels: Iterable[Parcel]
    ) -> Iterator[tuple[int, Result | Lost]]:
        """One after the other."""
        for number, parcel in enumerate(parcels):
            yield number, task(parcel)


@dataclass
class _Queue(Generic[Parcel]):
    """Parcels to be done: failed ones first, then new ones."""

    fresh: Iterator[tuple[int, Parcel]]
    again: deque[tuple[int, Parcel]] = field(default_factory=deque)
    failures: dict[int, int] = field(default_factory=dict)

    def take(self) -> tuple[int, Parcel] | None:
        return self.again.popleft() if self.again else next(self.fresh, None)

    def fail(self, number: int, parcel: Parcel) -> bool:
        """Put the parcel back; False when it had its chances."""
        self.failures[number] = self.failures.get(number, 0) + 1
        if self.failures[number] >= ATTEMPTS:
            del self.failures[number]
            return False
        self.again.append((number, parcel))
        return True


@dataclass
class _Worker:
    """A process and the parcel that it has in hand."""

    process: SpawnProcess
    line: Connection
    ready: bool = False
    holds: tuple[int, Any] | None = None


class Pool(Engine[Parcel, Result]):
    """So many processes of this machine."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(
        self, task: Callable[[Parcel], Result], parcels: Iterable[Parcel]
    ) -> Iterator[tuple[int, Result | Lost]]:
        """In the order in which the workers finish."""
        queue = _Queue(enumerate(parcels))
        team: list[_Worker] = []
        try:
            while True:
                while len(team) < self.workers and (parcel := queue.take()) is not None:
                    worker = _start(task)
                    team.append(worker)
                    _give(worker, parcel)
                if not team:
                    return
                lines = connection.wait([worker.line for worker in team])
                for worker in [worker for worker in team if worker.line in lines]:
                    yield from self._hear(worker, team, queue)
        finally:
            for worker in team:
                worker.process.kill()
            for worker in team:
                worker.process.join()
                worker.line.close()

    def _hear(
        self, worker: _Worker, team: list[_Worker], queue: _Queue[Parcel]
    ) -> Iterator[tuple[int, Result | Lost]]:
        """One message of a worker, or its death."""
        try:
            kind, value = worker.line.recv()
        except (EOFError, OSError):
            kind, value = "dead", None
        if kind == "ready":
            worker.ready = True
            return
        assert worker.holds is not None
        number, parcel = worker.holds
        worker.holds = None
        if kind == "done":
            yield number, value
        elif isinstance(value, KaogenError):
            raise value
        else:
            reason = str(value) if kind == "failed" else _epitaph(worker)
            if not queue.fail(number, parcel):
                yield number, Lost(reason)
        following = queue.take() if kind == "done" else None
        if following is not None:
            _give(worker, following)
        else:
            # After a failure too: whatever the worker has become, the next one starts afresh.
            team.remove(worker)
            worker.line.close()
            worker.process.join()


def _start(task: Callable[[Any], Any]) -> _Worker:
    # spawn: a fork beside the threads of a progress bar or of onnxruntime can hang.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, task), daemon=True)
    process.start()
    theirs.close()  # else its end would stay open here, and its death go unheard
    return _Worker(process, ours)


def _give(worker: _Worker, parcel: tuple[int, Any]) -> None:
    worker.holds = parcel
    with contextlib.suppress(OSError):  # it is dead, which is heard when waiting
        worker.line.send(parcel[1])


def _epitaph(worker: _Worker) -> str:
    """How a worker ended; DataError when it never came to life, as none would."""
    worker.process.join()
    code = worker.process.exitcode or 0
    if not worker.ready:
        raise DataError(
            f"the worker processes cannot start (exit status {code}).",
            hint="In a script, call prepare() below `if __name__ == '__main__':`; "
            "`--workers 0` works in this process.",
        )
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"its worker process was killed ({signal.Signals(-code).name})"
    return f"its worker process ended (exit status {code})"


def _work(line: Connection, task: Callable[[Any], Any]) -> None:
    """A worker's whole life: parcels in, results out, until the line is closed."""
    # Ctrl-C reaches the whole group; the parent alone decides, workers print no traces.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):  # the parent has ended, or needs us no more
        line.send(("ready", None))
        while True:
            parcel = line.recv()
            try:
                answer = ("done", task(parcel))
            except KaogenError as error:
                answer = ("error", error)
            except Exception as error:  # a library's bug or MemoryError: tried again, then told
                answer = ("failed", f"{type(error).__name__}: {error}")
            line.send(answer)


class Ray(Engine[Parcel, Result]):
    """A Ray cluster, or this machine under Ray.

    Args:
        address: of a running cluster, such as ``auto`` or ``ray://head:10001``; None starts Ray
            on this machine.
        workers: CPUs to use here, or parcels at work at once on a cluster; None for all.
    """

    def __init__(self, address: str | None, workers: int | None) -> None:
        self.address = address
        self.workers = workers

    def run(
        self, task: Callable[[Parcel], Result], parcels: Iterable[Parcel]
    ) -> Iterator[tuple[int, Result | Lost]]:
        """In the order in which the tasks finish."""
        ray: Any = importlib.import_module("ray")  # untyped, whatever it says
        mine = not ray.is_initialized()
        if mine:
            self._connect(ray)
        try:
            width = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
            # We count the attempts ourselves; a worker's death must reach us.
            remote = ray.remote(num_cpus=1, max_retries=0)(task)
            yield from _on_ray(ray, remote, _Queue(enumerate(parcels)), width)
        finally:
            if mine:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray's coming default; without it every start warns.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if self.address is None:
            options |= {"num_cpus": self.workers, "include_dashboard": False}
        else:
            options["address"] = self.address
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            where = f" at {self.address}" if self.address else ""
            raise ConfigError(
                f"Ray cannot be reached{where} ({error}).",
                hint="Is the cluster running, and does it want a token (RAY_AUTH_TOKEN)? "
                "Without --address Ray starts here.",
            ) from error


def _on_ray(
    ray: Any, remote: Any, queue: _Queue[Parcel], width: int
) -> Iterator[tuple[int, Result | Lost]]:
    at_work: dict[Any, tuple[int, Parcel]] = {}
    while True:
        while len(at_work) < width and (item := queue.take()) is not None:
            at_work[remote.remote(item[1])] = item
        if not at_work:
            return
        done, _ = ray.wait(list(at_work), num_returns=1)
        for ticket in done:
            number, parcel = at_work.pop(ticket)
            try:
                result = ray.get(ticket)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, KaogenError):
                    raise error.cause from None
                failure = f"{type(error.cause).__name__}: {error.cause}"
            except ray.exceptions.RayError as error:
                failure = f"its worker process died ({type(error).__name__})"
            else:
                yield number, result
                continue
            if not queue.fail(number, parcel):
                yield number, Lost(failure)


def open_engine(
    kind: str, *, workers: int | None = None, address: str | None = None
) -> Engine[Any, Any]:
    """The engine "local" or "ray".

    Args:
        kind: "local" or "ray".
        workers: processes; 0 works in this process, None takes one per CPU.
        address: a Ray cluster's; None starts Ray on this machine.

    Raises:
        ConfigError: there is no such engine, or an address is given to another than Ray.
        ModuleNotFoundError: Ray is asked for and not installed; the CLI names the extra.
    """
    if kind == "ray":
        importlib.import_module("ray")  # fails here rather than after the preparations
        return Ray(address, workers)
    if kind != "local":
        raise ConfigError(f"--engine {kind} is neither local nor ray.")
    if address is not None:
        raise ConfigError("--address is for --engine ray.")
    if workers == 0:
        return Here()
    return Pool(workers or cpus())


def cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
