"""The processes that train one model together: the sole user of torch.distributed.

`torchrun` starts them and says in the environment who is who. Each holds the whole of the
networks and computes its share of the batch; gradients are averaged by one flat all-reduce, so
that all take the same step. What is read from the disk or a clock is rank 0's word.

The batch is shared out row by row: rank r has rows r, r + world, r + 2 world, ... That way the
groups of the minibatch standard deviation (picture i is in group i mod n) are those of one process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from kaogen.errors import ConfigError, KaogenError, TrainingError

T = TypeVar("T")


class Workers:
    """This process among those that train one model. Alone, every operation does nothing.

    Attributes:
        rank: this process's number; 0 is the one that writes.
        world: how many there are.
        local_rank: its number on its machine, which is that of its GPU.
        local_world: how many there are on its machine.

    """

    def __init__(
        self, rank: int = 0, world: int = 1, local_rank: int = 0, local_world: int = 1
    ) -> None:
        self.rank, self.world = rank, world
        self.local_rank, self.local_world = local_rank, local_world
        self._nccl: dist.ProcessGroup | None = None

    @classmethod
    def from_environment(cls) -> Workers:
        """What `torchrun` says; alone without it. Nobody is met before `meet`."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        try:
            return cls(*(int(os.environ[name]) for name in names))
        except (KeyError, ValueError):
            return cls()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and tells."""
        return self.rank == 0

    def meet(self) -> None:
        """Wait for the others. Words of the CPU (losses, wishes to stop) go by gloo from here."""
        if self.world > 1:
            try:
                dist.init_process_group("gloo")
            except (RuntimeError, ValueError) as error:
                where = ":".join(os.environ.get(f"MASTER_{n}", "?") for n in ("ADDR", "PORT"))
                raise TrainingError(
                    f"Rank {self.rank} of {self.world} cannot meet the others at {where}.",
                    hint="Start every rank with the same torchrun command (docs/clusters.md).",
                ) from error

    def device(self, name: str) -> torch.device:
        """The device that `--device` means, on all ranks; between CUDA devices, nccl from here."""
        with self.together():
            chosen = self.pick(name)
        kinds = self.all_of(chosen.type)
        with self.together():
            if len(set(kinds)) > 1:
                raise ConfigError(
                    "Some ranks found a CUDA device and others did not.",
                    hint="Give --device cpu, or start as many processes as there are GPUs.",
                )
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
            if self.world > 1:
                with self.told():
                    self._nccl = dist.new_group(backend="nccl")
        return chosen

    def pick(self, name: str) -> torch.device:
        """The device that a name means here; ConfigError where there is none."""
        devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if name == "auto":
            name = "cuda" if devices else "cpu"
        if name == "cpu" or (name == "mps" and torch.backends.mps.is_available()):
            return torch.device(name)
        kind, _, index = name.partition(":")
        if kind != "cuda" or not (index.isdecimal() or name == "cuda"):
            raise ConfigError(
                f"There is no device {name!r} here.", hint="--device auto, cpu, cuda or cuda:1."
            )
        if self.world > 1 and index:
            raise ConfigError(
                f"--device {name}: with several processes, each takes the GPU of its own number.",
                hint="Give --device cuda.",
            )
        number = int(index or self.local_rank)
        needed = max(number + 1, self.local_world)
        if devices < needed:
            raise ConfigError(
                f"--device {name}: there are {devices} CUDA devices here, and {needed} are needed.",
                hint="Give --device cpu, start fewer processes, or install the torch with CUDA.",
            )
        return torch.device("cuda", number)

    def threads(self) -> int:
        """CPU threads for each process of this machine: its cores shared out."""
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        return max(1, cores // self.local_world)

    @staticmethod
    def part() -> None:
        """End the connections."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def share(self, rows: T) -> T:
        """This rank's rows of a whole batch (a tensor or array)."""
        if self.world == 1:
            return rows
        mine: T = rows[self.rank :: self.world]  # type: ignore[index]
        return mine

    def normal(self, shape: Sequence[int], source: torch.Generator) -> Tensor:
        """This rank's rows of the whole batch's normal numbers.

        Args:
            shape: of this rank's rows.
            source: in the same state on all ranks.

        """
        whole = (shape[0] * self.world, *shape[1:])
        return self.share(torch.randn(whole, generator=source))

    def rounded(self, count: int) -> int:
        """`count` rows, or as few less (but one each) as it takes to share them out evenly."""
        return max(self.world, count - count % self.world)

    def check_batch(self, batch: int, group: int) -> None:
        """ConfigError where a batch cannot be shared out.

        Args:
            batch: rows in all.
            group: of the minibatch standard deviation.

        """
        if batch % self.world:
            raise ConfigError(
                f"A batch of {batch} does not divide over {self.world} processes.",
                hint=f"Give --batch a multiple of {self.world}.",
            )
        mine = batch // self.world
        if mine % min(group, mine):
            each = f", {mine} on each of {self.world} processes," if self.world > 1 else ""
            raise ConfigError(f"A batch of {batch}{each} does not divide into groups of {group}.")

    def mean(self, value: Tensor) -> Tensor:
        """The ranks' mean of a tensor; in place."""
        if self.world > 1:
            with self.told():
                dist.all_reduce(value, group=self._nccl if value.is_cuda else None)
            value /= self.world
        return value

    def mean_of(self, losses: dict[str, float]) -> dict[str, float]:
        """The ranks' mean of each; the names are the same on all."""
        if self.world == 1:
            return losses
        values = self.mean(torch.tensor([*losses.values()], dtype=torch.float64))
        return dict(zip(losses, values.tolist(), strict=True))

    def average(self, parameters: Iterable[Tensor]) -> None:
        """The ranks' mean of the gradients, by one all-reduce of all of them as one vector."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.mean(torch.cat([g.reshape(-1) for g in gradients]))
        parts = flat.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def any(self, wish: bool) -> bool:
        """Whether any rank wishes it."""
        if self.world == 1:
            return wish
        word = torch.tensor(int(wish))
        with self.told():
            dist.all_reduce(word, dist.ReduceOp.MAX)
        return bool(word)

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns on rank 0, on all: the others need not see its disk."""
        if self.world == 1:
            return make()
        with self.together():
            parcel = [make() if self.first else None]
        with self.told():
            dist.broadcast_object_list(parcel, src=0, device=torch.device("cpu"))
        return parcel[0]  # type: ignore[return-value]

    def all_of(self, word: Any) -> list[Any]:
        """Every rank's word (any small object), in their order."""
        if self.world == 1:
            return [word]
        words: list[Any] = [None] * self.world
        with self.told():
            dist.all_gather_object(words, word)
        return words

    def agree_on(self, what: str, state: Callable[[], bytes]) -> None:
        """TrainingError where ranks differ in what must be the same."""
        with self.together():
            mine = state()
        words = self.all_of(hashlib.sha256(mine).hexdigest())
        other = next((rank for rank, word in enumerate(words) if word != words[0]), None)
        with self.together():
            if other is not None:
                raise TrainingError(
                    f"Rank {other} has other {what} than rank 0.",
                    hint="Start every rank with the same command, data and version of kaogen.",
                )

    @contextmanager
    def together(self) -> Iterator[None]:
        """What fails on one rank within fails on all, and is told once.

        The first that failed raises its error; the others leave with its exit status. Within,
        ranks may wait for each other only by what begins with this itself.
        """
        error: KaogenError | None = None
        try:
            yield
        except KaogenError as caught:
            error = caught
        codes = self.all_of(error.exit_code if error else 0)
        if not any(codes):
            return
        teller = next(rank for rank, code in enumerate(codes) if code)
        if error is not None and teller == self.rank:
            raise error
        raise SystemExit(codes[teller])

    @contextmanager
    def told(self) -> Iterator[None]:
        """A connection that breaks is one line: another rank has died, or cannot be reached."""
        try:
            yield
        except (RuntimeError, ValueError) as error:
            self.left_alone(error)

    def left_alone(self, error: Exception) -> NoReturn:
        """Raise what a broken connection means."""
        raise TrainingError(
            f"Rank {self.rank} of {self.world} has lost the others: one of them has ended.",
            hint="Run the same command to go on from the last checkpoint.",
        ) from error


ALONE = Workers()
