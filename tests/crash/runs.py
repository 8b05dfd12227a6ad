"""Real training processes of the tiniest networks, started in a moment, ended by real signals."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from crash import observed
from crash.observed import Word
from kaogen.nets.config import NetConfig
from kaogen.training.config import TrainConfig

NET = NetConfig(
    resolution=8,
    channels={4: 4, 8: 4},
    z_dim=4,
    w_dim=4,
    mapping_layers=1,
    num_tags=4,
    conditioning="embed",
    mbstd_group=2,
)
# Everything that has a state of its own: adaptive augmentation, path length, mixing, lazy R1.
CONFIG = replace(
    TrainConfig(batch=4, precision="fp32", kimg=0.12, tick_kimg=0.012, balance=0.5, mixing=0.9),
    **{"r1_gamma": 0.1, "r1_interval": 3, "path_weight": 1.0, "path_interval": 2},
    **{"augment": "ada", "ada_p": 0.2, "ada_kimg": 0.1, "tag_dropout": 0.3},
)
ROWS = 22  # so that epochs end inside batches

SERVER = multiprocessing.get_context("forkserver")
# Imported once, and not by each process (torch's optimizers import the last when first made).
SERVER.set_forkserver_preload(["kaogen.training.run", "torch.distributed", "torch._dynamo"])


def write_faces(path: Path) -> Path:
    """A labelled data set of noise."""
    from kaogen.data.archives.archive import Item, write_archive
    from kaogen.tags import Vocabulary

    source, names = np.random.default_rng(0), Vocabulary(["pink hair", "blue hair", "smile", "hat"])
    items = (
        Item(
            image=source.integers(0, 255, (8, 8, 3), dtype=np.uint8),
            tags=(names.names[i % 2], "smile"),
            source=f"{i}.png",
        )
        for i in range(ROWS)
    )
    write_archive(path, items, names, {})
    return path


def weights(folder: Path) -> str:
    """SHA-256 of the newest checkpoint's weights."""
    from kaogen.training import checkpoint

    return checkpoint.sha256_of(checkpoint.latest(folder) / checkpoint.WEIGHTS)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Session:
    """One start of a run: a process for each rank.

    Attributes:
        faces: data set.
        folder: of the run.
        config: how to train.
        world: ranks.
        pause: rank and point at which one waits for the end, and images seen by then.
        largest: bytes that a file may grow to, as on a full disk.
        pictures: whether grids, curves and the like are drawn; they take a second a tick.

    """

    faces: Path
    folder: Path
    config: TrainConfig = CONFIG
    world: int = 1
    pause: tuple[int, str, int] = (0, "", 0)
    largest: int = resource.RLIM_INFINITY
    pictures: bool = False
    ranks: list[BaseProcess] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """What its processes say, and those of the sessions before it."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def __enter__(self) -> Session:
        self.known, port = len(observed.words(self.log)), free_port()
        for rank in range(self.world):
            process = SERVER.Process(target=train, args=(replace(self, ranks=[]), rank, port))
            process.start()
            self.ranks.append(process)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.ranks:
            process.kill()
            process.join()

    def wait_for(self, point: str, seen: int = 0, rank: int = 0) -> Word:
        """Until a rank has come to a point."""

        def fits(word: Word) -> bool:
            return word.point == point and word.seen >= seen and word.rank == rank

        process = self.ranks[rank]
        return observed.wait_for(self.log, self.known, fits, process.is_alive)

    def send(self, number: signal.Signals, rank: int = 0) -> None:
        """A real signal."""
        pid = self.ranks[rank].pid
        assert pid is not None
        os.kill(pid, number)

    def codes(self, timeout: float = 60) -> list[int | None]:
        """Exit codes when all ranks have ended."""
        for process in self.ranks:
            process.join(timeout)
        return [process.exitcode for process in self.ranks]

    def said(self) -> Iterator[Word]:
        """What was said in this session."""
        yield from observed.words(self.log)[self.known :]

    def errors(self) -> list[str]:
        """Errors that a person would have been shown."""
        return [w.point.removeprefix("error ") for w in self.said() if w.point.startswith("error ")]


def train(session: Session, rank: int, port: int) -> None:
    """In the process of a rank: what `kaogen train` does."""
    import torch

    if session.world > 1:
        be_rank(rank, session.world, port)
    torch.set_num_threads(1)
    waits, point, after = session.pause
    if not session.pictures:
        without_pictures(setattr)
    say = observed.watch(session.log, point if waits == rank else "", after)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (session.largest, hard))
    sys.exit(told(lambda: run(session), say))


def be_rank(rank: int, world: int, port: int) -> None:
    """Say in the environment what `torchrun` would, all ranks being on this machine."""
    names = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world}
    names |= {"MASTER_PORT": port}
    os.environ.update({k: str(v) for k, v in names.items()}, MASTER_ADDR="127.0.0.1")


def without_pictures(change: Callable[[object, str, object], None]) -> None:
    """Leave out what a person sees of a run, which is tested elsewhere."""
    from kaogen.training.report import Reporter

    for name in ("start", "tick", "close"):
        change(Reporter, name, nothing)


def nothing(*_args: object, **_options: object) -> list[None]:
    """Draws nothing and finds no trouble."""
    return []


def run(session: Session) -> bool:
    """Train to the end, or until it is asked to stop."""
    from kaogen.data.archives.archive import Archive
    from kaogen.training.run import Run
    from kaogen.training.workers import Workers

    workers = Workers.from_environment()
    workers.meet()
    folder = session.folder if workers.first else session.folder / "not" / "seen" / "here"
    with workers.together():
        training = Run(folder, Archive.open(session.faces), NET, session.config, workers)
    return training.train(lambda _tick: None)


def told(work: Callable[[], bool], say: Callable[[str], None]) -> int:
    """Exit status of the work, its error said as a person would be told."""
    from kaogen.errors import KaogenError

    try:
        return 0 if work() else 130
    except KaogenError as error:
        say(f"error {error}")
        return error.exit_code
