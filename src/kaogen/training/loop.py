"""The training loop. Its only clock is images seen.

Each step's randomness and rows are functions of (seed, images seen), so that a run that is
stopped and started again makes the very weights that an uninterrupted one makes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kaogen.errors import ConfigError, TrainingError
from kaogen.nets.config import NetConfig
from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.generator import Generator
from kaogen.training.augment import POLICIES
from kaogen.training.batches import Rows, repeats, rng, torch_rng
from kaogen.training.checkpoint import flatten_optimizer, restore_optimizer
from kaogen.training.config import TrainConfig
from kaogen.training.losses import D_LOSSES, G_LOSSES, TagLayout, r1_penalty, tag_loss

Critic = Discriminator | FeatureCritic


@dataclass
class Data:
    """The whole data set in memory.

    Attributes:
        images: uint8 [N, H, W, C].
        labels: float32 [N, num_tags], 0 or 1; [N, 0] without labels.

    """

    images: NDArray[np.uint8]
    labels: NDArray[np.float32]


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The activations' type: bf16 where the machine computes with it, else fp32."""
    if precision == "fp32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    has_units = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast and has_units else torch.float32


class Trainer:
    """Networks, optimizers and position of one run.

    Args:
        net: the networks' shapes.
        config: how to train.
        data: faces and labels.
        critic: the discriminator, plain or on features.
        tags: how the tagger's outputs line up with the labels; needed for `tag_weight`.
        device: where to compute.

    """

    def __init__(
        self,
        net: NetConfig,
        config: TrainConfig,
        data: Data,
        critic: Critic,
        tags: TagLayout | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.check(net, config, data, critic, tags)
        self.device = device or torch.device("cpu")
        self.net, self.config, self.data, self.tags = net, config, data, tags
        self.dtype = pick_dtype(config.precision, self.device)
        generator = Generator(net)
        self.g = generator.to(self.device)
        self.ema = copy.deepcopy(self.g).eval().requires_grad_(False)
        self.d = critic.to(self.device)
        betas = (0.0, config.beta2)
        self.opt_g = torch.optim.Adam(self.g.parameters(), config.lr_g, betas)
        self.opt_d = torch.optim.Adam(
            [p for p in self.d.parameters() if p.requires_grad], config.lr_d, betas
        )
        self.rows = Rows(repeats(data.labels, len(data.images), config.balance), config.seed)
        self.seen = 0

    @staticmethod
    def check(
        net: NetConfig, config: TrainConfig, data: Data, critic: Critic, tags: TagLayout | None
    ) -> None:
        """Refuse what cannot be, before any hour is spent."""
        n, h, w, c = data.images.shape
        if (h, w) != (net.resolution, net.resolution) or c != net.img_channels:
            raise ConfigError(
                f"The data set's pictures are {w} x {h} with {c} channels; the networks make "
                f"{net.resolution} x {net.resolution} with {net.img_channels}.",
                hint="Prepare it with another --size, or choose another --preset.",
            )
        if data.labels.shape != (n, net.num_tags):
            raise ConfigError(
                f"Labels are {data.labels.shape}, not ({n}, {net.num_tags}).",
                hint="Prepare the data set with --tags.",
            )
        if config.tag_weight and (tags is None or not isinstance(critic, FeatureCritic)):
            raise ConfigError("tag_weight needs the feature critic and a labelled data set.")
        if config.batch % min(net.mbstd_group, config.batch):
            raise ConfigError(
                f"A batch of {config.batch} does not divide into groups of {net.mbstd_group}."
            )

    def step(self) -> dict[str, float]:
        """One step: D sees real and fake, then G answers. Returns the losses.

        The fakes are drawn once: D learns from them as they are, and G through the same graph
        from D's new opinion. That saves a whole pass of the generator and of the frozen trunk.
        """
        real, real_labels = self.real_batch()
        fake, fake_labels = self.fake_batch()
        fake_features = self.d.features(fake, self.dtype)
        losses = {"d": self.train_d(real, real_labels, fake_features, fake_labels)}
        if self.config.r1_gamma and self.steps_done % self.config.r1_interval == 0:
            losses["r1"] = self.train_r1(real, real_labels)
        losses |= self.train_g(fake_features, fake_labels)
        self.update_ema()
        self.seen += self.config.batch
        bad = [name for name, value in losses.items() if not np.isfinite(value)]
        if bad:
            raise TrainingError(
                f"Training diverged at {self.seen} images: {', '.join(bad)} is not a number.",
                hint="The last checkpoint is good; run again with a lower --lr.",
            )
        return losses

    @property
    def steps_done(self) -> int:
        """Steps since the beginning."""
        return self.seen // self.config.batch

    def real_batch(self) -> tuple[Tensor, Tensor]:
        """Augmented real pictures [N, C, H, W] in [-1, 1] and their labels."""
        rows = self.rows.at(self.seen, self.config.batch)
        images = self.data.images[rows]
        if self.config.flip:
            mirrored = rng("flip", self.config.seed, self.seen).random(len(rows)) < 0.5
            images[mirrored] = images[mirrored, :, ::-1]
        x = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.augmented(x, 0), torch.from_numpy(self.data.labels[rows]).to(self.device)

    def fake_batch(self) -> tuple[Tensor, Tensor]:
        """Augmented fakes, with their graph, and the labels of real rows they were asked for."""
        labels = torch.from_numpy(
            self.data.labels[self.rows.random(self.seen, self.config.batch)]
        ).to(self.device)
        source = torch_rng("z", self.config.seed, self.seen)
        z = torch.randn(len(labels), self.net.z_dim, generator=source).to(self.device)
        if self.net.noise:
            torch.manual_seed(source.initial_seed())
        w = self.g.mapping(z, labels)
        with torch.no_grad():
            self.g.mapping.w_avg.lerp_(w.mean(dim=0), 0.005)
        ws = w[:, None].expand(-1, self.net.num_ws, -1)
        fake = self.g.synthesis(ws, noise="random", dtype=self.dtype)
        return self.augmented(fake, 1), labels

    def augmented(self, x: Tensor, which: int) -> Tensor:
        """`x` under the run's augmentation; `which` tells real (0) from fake (1)."""
        policy = POLICIES.get(self.config.augment)
        if policy is None:
            return x
        return policy(x, torch_rng("augment", self.config.seed, self.seen, which))

    def train_d(
        self, real: Tensor, real_labels: Tensor, fake_features: list[Tensor], fake_labels: Tensor
    ) -> float:
        """One update of D on real and (detached) fake features."""
        self.d.requires_grad_(True)
        with torch.no_grad():
            features = self.d.features(real, self.dtype)
        real_scores = self.d.score(features, real_labels, self.dtype)
        detached = [f.detach() for f in fake_features]
        fake_scores = self.d.score(detached, fake_labels, self.dtype)
        loss = D_LOSSES[self.config.loss](real_scores, fake_scores)
        return self.update(self.opt_d, loss)

    def train_r1(self, real: Tensor, labels: Tensor) -> float:
        """Lazy regularisation: gamma / 2 * R1, times the interval. Computed in fp32."""
        images = real.detach().requires_grad_(True)
        scores = self.d.score(self.d.features(images), labels)
        penalty = r1_penalty(scores, images)
        self.update(self.opt_d, penalty * (self.config.r1_gamma / 2 * self.config.r1_interval))
        return float(penalty.detach())

    def train_g(self, features: list[Tensor], labels: Tensor) -> dict[str, float]:
        """One update of G through D's opinion and the tagger's."""
        self.d.requires_grad_(False)
        loss = G_LOSSES[self.config.loss](self.d.score(features, labels, self.dtype))
        out = {}
        if self.config.tag_weight and self.tags is not None:
            assert isinstance(self.d, FeatureCritic)
            verdict = tag_loss(self.d.tag_logits(features), labels, self.tags)
            loss = loss + self.config.tag_weight * verdict
            out["tags"] = float(verdict.detach())
        out["g"] = self.update(self.opt_g, loss)
        return out

    @staticmethod
    def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
        """Backward and step."""
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def update_ema(self) -> None:
        """Running average with a half-life of ema_kimg, shorter at first."""
        half_life = self.config.ema_kimg * 1000
        if self.config.ema_rampup:
            half_life = min(half_life, max(self.seen, 1) * self.config.ema_rampup)
        keep = 0.5 ** (self.config.batch / max(half_life, 1e-8))
        pairs = zip(self.ema.parameters(), self.g.parameters(), strict=True)
        for average, current in pairs:
            average.lerp_(current, 1 - keep)
        for kept, latest in zip(self.ema.buffers(), self.g.buffers(), strict=True):
            kept.copy_(latest)

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint must hold, by name."""
        out: dict[str, Tensor] = {}
        for name, module in self.modules().items():
            out |= {f"{name}.{k}": v for k, v in module.state_dict().items()}
        out |= flatten_optimizer("opt_g", self.opt_g)
        out |= flatten_optimizer("opt_d", self.opt_d)
        return out

    def restore(self, tensors: dict[str, Tensor], seen: int) -> None:
        """Take up a checkpoint's tensors and position."""
        for name, module in self.modules().items():
            prefix = f"{name}."
            own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            module.load_state_dict(own)
        restore_optimizer("opt_g", self.opt_g, tensors)
        restore_optimizer("opt_d", self.opt_d, tensors)
        self.seen = seen

    def modules(self) -> dict[str, nn.Module]:
        """Name in the checkpoint -> module."""
        return {"g": self.g, "ema": self.ema, "d": self.d}
