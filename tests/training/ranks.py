"""Tasks for real ranks, each a process; what they find goes into a folder, a file for each rank."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crash.runs import SERVER, be_rank, free_port
from kaogen.errors import ConfigError, KaogenError
from kaogen.nets.config import NetConfig
from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.tagger import TaggerNet
from kaogen.training.checkpoint import digest
from kaogen.training.config import TrainConfig
from kaogen.training.loop import Data, Trainer
from kaogen.training.workers import ALONE, Workers

STEPS = 4
NET = NetConfig(
    resolution=8,
    channels={4: 8, 8: 8},
    z_dim=8,
    w_dim=8,
    mapping_layers=1,
    num_tags=4,
    conditioning="embed",
    mbstd_group=4,
    noise=False,  # has a stream for each rank, as augmentation has
)
CONFIG = TrainConfig(
    batch=8,
    precision="fp32",
    **{"r1_gamma": 0.1, "r1_interval": 2, "r2_gamma": 0.1, "gp_weight": 1.0, "mixing": 0.9},
    **{"path_weight": 2.0, "path_interval": 2, "tag_dropout": 0.4, "ada_kimg": 0.1},
)

Task = Callable[[Workers, Path], None]


def ranks(task: Task, folder: Path, world: int = 2) -> list[int | None]:
    """Exit codes of a task's ranks."""
    port = free_port()
    processes = [SERVER.Process(target=rank, args=(task, folder, i, world, port)) for i in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def rank(task: Task, folder: Path, number: int, world: int, port: int) -> None:
    """One rank; the line that a person would be shown goes to `<rank>.error`."""
    be_rank(number, world, port)
    torch.set_num_threads(1)
    workers = Workers.from_environment()
    workers.meet()
    try:
        task(workers, folder)
    except KaogenError as error:
        (folder / f"{number}.error").write_text(str(error))
        sys.exit(error.exit_code)
    workers.part()


def some_data() -> Data:
    """Noise with labels."""
    source = np.random.default_rng(0)
    images = source.integers(0, 255, (40, 8, 8, 3), dtype=np.uint8)
    return Data(images, (source.random((40, 4)) < 0.4).astype(np.float32))


def trained(critic: str, workers: Workers = ALONE) -> dict[str, Any]:
    """A few steps: what each told, the gradients of the first, and the hash in the end."""
    torch.manual_seed(0)
    if critic == "features":
        net, config = NET.with_(critic=critic), replace(CONFIG, loss="relativistic")
        seen_by = FeatureCritic(net, TaggerNet(4, (4, 6), folded=True))
    else:
        net, config, seen_by = NET, CONFIG, Discriminator(NET)
    trainer = Trainer(net, config, some_data(), seen_by, workers=workers)
    told = [trainer.step()]
    # Adam's first beta is 0: its running mean is the last gradient.
    gradients = {k: v.tolist() for k, v in trainer.tensors().items() if k.endswith("exp_avg")}
    told += [trainer.step() for _ in range(STEPS - 1)]
    return {"told": told, "gradients": gradients, "digest": digest(trainer.tensors()).hex()}


def train(workers: Workers, folder: Path) -> None:
    """Train as the folder's name says."""
    (folder / f"{workers.rank}.json").write_text(json.dumps(trained(folder.name, workers)))


def fail_on_one(workers: Workers, folder: Path) -> None:
    """Rank 1 cannot start."""
    with workers.together():
        if workers.rank == 1:
            raise ConfigError("Something is missing here.")
    (folder / "went on").touch()


def read_on_first(workers: Workers, folder: Path) -> None:
    """Rank 0 reads what all then know."""
    found = workers.from_first((folder / "0.disk").read_text)
    (folder / f"{workers.rank}.found").write_text(found)


def drift_apart(workers: Workers, folder: Path) -> None:
    """Rank 1 has one weight more."""
    workers.agree_on("weights", lambda: bytes(8))
    workers.agree_on("weights", lambda: bytes(8 + workers.rank))


def find_other_devices(workers: Workers, folder: Path) -> None:
    """Rank 1 has a CUDA device, which is said not to be there on rank 0."""
    if workers.rank == 1:
        workers.pick = lambda _name: torch.device("cuda", 0)  # type: ignore[method-assign]
    workers.device("auto")


def fail_on_one_before_the_rest_agree(workers: Workers, folder: Path) -> None:
    """Rank 1 fails where rank 0 goes on to compare, and then to read."""
    with workers.together():
        if workers.rank == 1:
            raise ConfigError("Something is missing here.")
        workers.agree_on("weights", lambda: bytes(8))
        workers.from_first(lambda: 1)
