"""What a step draws: real pictures, and what the fakes are asked for.

Every draw is a function of (seed, images seen, stream), so that nothing about randomness has to
be saved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kaogen.nets.config import NetConfig
from kaogen.nets.generator import Generator
from kaogen.training.augment import Policy, gaussian, policy_of
from kaogen.training.batches import Rows, held_out, repeats, rng, torch_rng
from kaogen.training.config import TrainConfig
from kaogen.training.schedule import blur_sigma
from kaogen.training.workers import ALONE, Workers


@dataclass
class Data:
    """The whole data set in memory.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: float32 [N, num_tags], 0 or 1; [N, 0] without labels.

    """

    images: NDArray[np.uint8]
    labels: NDArray[np.float32]


@dataclass
class Asked:
    """What fakes are asked for.

    Attributes:
        z: [N, z_dim].
        labels: [N, num_tags], of real rows.
        known: [N, num_tags], False where a label was forgotten; None without tag dropout.
        late: a second latent and the first w slot [N, 1] that takes it; None without mixing.
        noise_seed: of the noise inputs.

    """

    z: Tensor
    labels: Tensor
    known: Tensor | None
    late: tuple[Tensor, Tensor] | None
    noise_seed: int

    def styles(self, g: Generator, labels_count: float = 1.0) -> tuple[Tensor, Tensor]:
        """The mapping's w [N, w_dim], and ws [N, num_ws, w_dim] with styles mixed.

        Args:
            g: the generator.
            labels_count: `schedule.label_share`.

        """
        w = g.mapping(self.z, self.labels, labels_count)
        ws = w[:, None].expand(-1, g.num_ws, -1)
        if self.late is None:
            return w, ws
        z, since = self.late
        other = g.mapping(z, self.labels, labels_count)[:, None]
        slots = torch.arange(g.num_ws, device=w.device)[None]
        return w, torch.where((slots < since)[..., None], ws, other)


class Draws:
    """The batches of one run.

    Args:
        net: the networks' shapes.
        config: how to train.
        data: faces and labels.
        device: where batches go. Random numbers are always made on the CPU, so that they are
            the same whatever the device.
        workers: who shares the batches. Each draws what the whole batch needs and keeps its
            rows; only augmentation and noise inputs have a stream per worker.

    """

    def __init__(
        self,
        net: NetConfig,
        config: TrainConfig,
        data: Data,
        device: torch.device,
        workers: Workers = ALONE,
    ) -> None:
        self.net, self.config, self.data, self.device = net, config, data, device
        self.workers = workers
        times = repeats(data.labels, len(data.images), config.balance)
        times[held_out(len(times), config.holdout, config.seed)] = 0
        self.rows = Rows(times, config.seed)
        self.policy: Policy | None = policy_of(config.augment, config.ada_groups)

    def real(self, seen: int) -> tuple[Tensor, Tensor]:
        """Real pictures [N, C, H, W] in [-1, 1] and their labels."""
        rows = self.rows.at(seen, self.config.batch)
        images = self.data.images[self.workers.share(rows)]
        if self.config.flip:
            mirrored = rng("flip", self.config.seed, seen).random(len(rows)) < 0.5
            mirrored = self.workers.share(mirrored)
            images[mirrored] = images[mirrored, :, ::-1]
        x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        return x, self.labels(rows, seen, 0)[0]

    def asked(self, seen: int) -> Asked:
        """What G is asked for in the main phase."""
        rows = self.rows.random(seen, self.config.batch)
        return self._asked(rows, seen, torch_rng("z", self.config.seed, seen), 1)

    def asked_for_path(self, seen: int) -> Asked:
        """A smaller batch for path length regularisation."""
        source = torch_rng("path", self.config.seed, seen)
        count = self.workers.rounded(self.config.batch // self.config.path_shrink)
        choice = torch.randint(len(self.rows.pool), (count,), generator=source)
        return self._asked(self.rows.pool[choice.numpy()], seen, source, 2)

    def _asked(
        self, rows: NDArray[np.int64], seen: int, source: torch.Generator, which: int
    ) -> Asked:
        labels, known = self.labels(rows, seen, which)
        z = self.workers.normal((len(labels), self.net.z_dim), source).to(self.device)
        late = None
        if self.config.mixing:
            late = self._late(len(rows), torch_rng("mix", self.config.seed, seen, which))
        return Asked(z, labels, known, late, source.initial_seed() + self.workers.rank)

    def _late(self, count: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """Second latents, and from which slot they count: from none where nothing is mixed."""
        slots = self.net.num_ws
        z = torch.randn(count, self.net.z_dim, generator=source)
        since = torch.randint(1, slots, (count, 1), generator=source)
        mixed = torch.rand(count, 1, generator=source) < self.config.mixing
        since = torch.where(mixed, since, torch.full_like(since, slots))
        share = self.workers.share
        return share(z).to(self.device), share(since).to(self.device)

    def labels(
        self, rows: NDArray[np.int64], seen: int, which: int
    ) -> tuple[Tensor, Tensor | None]:
        """This worker's share of the labels of rows, and which of them are known.

        Both are [N / workers, num_tags], the labels after tag dropout.

        A row that is hit keeps each of its tags with a probability that is itself drawn evenly
        from 0 to 1: how many it keeps is then even from none to all.
        """
        labels, drop, share = self.data.labels[rows], self.config.tag_dropout, self.workers.share
        if not drop:
            return torch.from_numpy(share(labels)).to(self.device), None
        source = rng("drop", self.config.seed, seen, which)
        hit = source.random((len(rows), 1)) < drop
        lost = source.random(labels.shape) < source.random((len(rows), 1))
        labels = np.where(hit & lost, np.float32(0), labels)
        known = ~hit | (labels > 0.5)
        kept, asked = torch.from_numpy(share(labels)), torch.from_numpy(share(known))
        return kept.to(self.device), asked.to(self.device)

    def augmented(self, x: Tensor, seen: int, which: int, p: float = 1.0) -> Tensor:
        """`x` as D sees it, augmented and blurred; `which` tells real (0) from fake (1)."""
        if self.policy is not None:
            own = (self.workers.rank,) if self.workers.world > 1 else ()
            x = self.policy(x, torch_rng("augment", self.config.seed, seen, which, *own), p)
        return gaussian(x, blur_sigma(self.config, seen, min(x.shape[2:])))
