"""The training loop. Its only clock is images seen.

Each step's randomness and rows are functions of (seed, images seen), so that a run that is
stopped and started again makes the very weights that an uninterrupted one makes.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from kaogen.errors import ConfigError, TrainingError
from kaogen.nets.config import NetConfig
from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.generator import Generator
from kaogen.training.adaptive import Adaptive, lean
from kaogen.training.checkpoint import flatten_optimizer, restore_optimizer
from kaogen.training.config import TrainConfig
from kaogen.training.draws import Asked, Data, Draws
from kaogen.training.freeze import first_layers
from kaogen.training.losses import LOSSES, TagLayout, mean_score, tag_loss
from kaogen.training.pairs import score_pairs
from kaogen.training.phases import Step, phases
from kaogen.training.schedule import g_lr_share, label_share, lr_share
from kaogen.training.workers import ALONE, Workers

__all__ = ["Critic", "Data", "Trainer", "pick_dtype"]

Critic = Discriminator | FeatureCritic


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
        workers: who trains it together; the batch is shared out to them.

    """

    def __init__(
        self,
        net: NetConfig,
        config: TrainConfig,
        data: Data,
        critic: Critic,
        tags: TagLayout | None = None,
        device: torch.device | None = None,
        workers: Workers = ALONE,
    ) -> None:
        self.check(net, config, data, critic, tags)
        workers.check_batch(config.batch, net.mbstd_group)
        self.workers = workers
        self.device = device or torch.device("cpu")
        self.net, self.config, self.data, self.tags = net, config, data, tags
        self.dtype = pick_dtype(config.precision, self.device)
        generator = Generator(net)
        self.g = generator.to(self.device)
        self.ema = copy.deepcopy(self.g).eval().requires_grad_(False)
        self.d = critic.to(self.device)
        if isinstance(critic, FeatureCritic):
            critic.trunk.to(self.device)  # it is not among the critic's modules
        betas = (0.0, config.beta2)
        self.opt_g = torch.optim.Adam(self.g.parameters(), config.lr_g, betas, fused=True)
        for layer in first_layers(self.d, config.freeze_d):
            layer.requires_grad_(False)
        self.d_learns = [p for p in self.d.parameters() if p.requires_grad]
        self.opt_d = torch.optim.Adam(self.d_learns, config.lr_d, betas, fused=True)
        self.draws = Draws(net, config, data, self.device, workers)
        self.loss, self.phases = LOSSES[config.loss], phases(config)
        self.path_mean = torch.zeros((), device=self.device)
        self.adaptive = Adaptive(config)
        self.seen = 0

    @staticmethod
    def check(
        net: NetConfig, config: TrainConfig, data: Data, critic: Critic, tags: TagLayout | None
    ) -> None:
        """Refuse what cannot be, before any hour is spent."""
        n, h, w, c = data.images.shape
        if (h, w) != net.shape(net.resolution) or c != net.img_channels:
            raise ConfigError(
                f"The data set's pictures are {w} x {h} with {c} channels; the networks make "
                f"{net.width} x {net.resolution} with {net.img_channels}.",
                hint="Prepare it with another --size, or choose another --preset.",
            )
        if data.labels.shape != (n, net.num_tags):
            raise ConfigError(
                f"Labels are {data.labels.shape}, not ({n}, {net.num_tags}).",
                hint="Prepare the data set with --tags.",
            )
        if config.tag_weight and (tags is None or not isinstance(critic, FeatureCritic)):
            raise ConfigError("tag_weight needs the feature critic and a labelled data set.")
        if config.tag_dropout and net.num_tags and net.conditioning == "paper":
            raise ConfigError(
                "Tag dropout makes rows without tags, whose score is always 0 with --conditioning "
                "paper.",
                hint="Train with --conditioning embed.",
            )

    def step(self) -> dict[str, float]:
        """One step: D sees real and fake, then G answers. Returns the losses.

        The fakes are drawn once: D learns from them as they are, and G through the same graph
        from D's new opinion. That saves a whole pass of the generator and of the frozen trunk.
        """
        share = lr_share(self.config, self.seen)
        self.opt_g.param_groups[0]["lr"] = self.config.lr_g * g_lr_share(self.config, self.seen)
        self.opt_d.param_groups[0]["lr"] = self.config.lr_d * share
        step = self.draw()
        losses = self.train_d(step)
        losses = self.workers.mean_of(losses | self.train_g(step))
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
    def p(self) -> float:
        """Probability of each augmentation where it is adaptive."""
        return self.adaptive.p

    @property
    def adapts(self) -> bool:
        """Whether p moves."""
        return self.config.augment == "ada" and self.config.ada_target > 0

    @property
    def label_share(self) -> float:
        """How much labels count in this step."""
        return label_share(self.config, self.seen)

    def draw(self) -> Step:
        """Reals, fakes, and D's view of both."""
        seen, draws = self.seen, self.draws
        real, real_labels = draws.real(seen)
        asked = draws.asked(seen)
        fake = self.fakes(asked)
        with torch.no_grad():
            real_features = self.d.features(draws.augmented(real, seen, 0, self.p), self.dtype)
        return Step(
            seen,
            real,
            self.labels_for_d(real_labels),
            real_features,
            asked,
            fake,
            self.labels_for_d(asked.labels),
            self.d.features(draws.augmented(fake, seen, 1, self.p), self.dtype),
        )

    def fakes(self, asked: Asked) -> Tensor:
        """Fakes [N, C, H, W] with their graph; the running mean of w takes note."""
        w, ws = asked.styles(self.g, self.label_share)
        with torch.no_grad():
            self.g.mapping.w_avg.lerp_(self.workers.mean(w.mean(dim=0)), 0.005)
        return self.synthesise(ws, asked.noise_seed, self.dtype)

    def synthesise(self, ws: Tensor, noise_seed: int, dtype: torch.dtype) -> Tensor:
        """Pictures from ws, with fresh noise that depends on nothing but its seed."""
        if self.net.noise:
            torch.manual_seed(noise_seed)
        pictures: Tensor = self.g.synthesis(ws, noise="random", dtype=dtype)
        return pictures

    def labels_for_d(self, labels: Tensor) -> Tensor:
        """Labels as D sees them while they do not count in full.

        Their weight goes into the row. The paper's score, a sum over a row's tags, knows nothing
        but tags: there an even row, the mean of all tags' scores, stands for no label.
        """
        share = self.label_share
        if share == 1 or not self.net.num_tags:
            return labels
        if self.net.conditioning == "paper" and isinstance(self.d, Discriminator):
            return labels * share + (1 - share) / self.net.num_tags
        return labels * share

    def train_d(self, step: Step) -> dict[str, float]:
        """D's updates, on real and (detached) fake features."""
        self.let_d_learn(True)
        detached = [f.detach() for f in step.fake_features]
        labels = step.real_labels, step.fake_labels
        real, fake = score_pairs(self.d, step.real_features, detached, labels, self.dtype)
        told = self.update("d", step, self.loss.d(real, fake))
        leaning = lean(real, fake, self.loss.relative)
        told |= {"real": mean_score(real), "fake": mean_score(fake), "rt": float(leaning)}
        if self.adapts:
            self.adaptive.see(float(self.workers.mean(leaning)))
            told["p"] = self.adaptive.p
        return told

    def train_g(self, step: Step) -> dict[str, float]:
        """G's updates, through D's opinion and the tagger's."""
        self.let_d_learn(False)
        real: list[Tensor] = []
        if self.loss.g_sees_real:
            real = self.d.score(step.real_features, step.real_labels, self.dtype)
        fake = self.d.score(step.fake_features, step.fake_labels, self.dtype)
        loss = self.loss.g(real, fake)
        out = {}
        weight = self.config.tag_weight * self.label_share
        if weight and self.tags is not None:
            assert isinstance(self.d, FeatureCritic)
            logits = self.d.tag_logits(step.fake_features)
            verdict = tag_loss(logits, step.asked.labels, self.tags, step.asked.known)
            loss = loss + weight * verdict
            out["tags"] = float(verdict.detach())
        return out | self.update("g", step, loss)

    def let_d_learn(self, learns: bool) -> None:
        """Whether D's parameters (those that are not frozen for good) want gradients."""
        for parameter in self.d_learns:
            parameter.requires_grad_(learns)

    def update(self, network: str, step: Step, loss: Tensor) -> dict[str, float]:
        """One update by a network's main loss, and one by each lazy regulariser that is due."""
        optimizer = self.opt_d if network == "d" else self.opt_g
        told = {network: float(loss.detach())}
        mine = [p for p in self.phases if p.network == network]
        for phase in (p for p in mine if p.interval == 1):
            term = phase.term(self, step)
            loss = loss + phase.weight * term
            told[phase.name] = float(term.detach())
        self.descend(optimizer, loss)
        for phase in (p for p in mine if p.interval > 1):
            if phase.due(step.seen, self.config.batch):
                term = phase.term(self, step)
                self.descend(optimizer, term * (phase.weight * phase.interval))
                told[phase.name] = float(term.detach())
        return told

    def descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        """Backward, the workers' mean, and step."""
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.workers.average(optimizer.param_groups[0]["params"])
        optimizer.step()

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
        if self.config.path_weight:
            out["state.path_mean"] = self.path_mean
        if self.adapts:
            out["state.adaptive"] = self.adaptive.tensor()
        return out

    def restore(self, tensors: dict[str, Tensor], seen: int) -> None:
        """Take up a checkpoint's tensors and position."""
        for name, module in self.modules().items():
            prefix = f"{name}."
            own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            module.load_state_dict(own)
        restore_optimizer("opt_g", self.opt_g, tensors)
        restore_optimizer("opt_d", self.opt_d, tensors)
        if "state.path_mean" in tensors:
            self.path_mean.copy_(tensors["state.path_mean"])
        if "state.adaptive" in tensors:
            self.adaptive.restore(tensors["state.adaptive"])
        self.seen = seen

    def modules(self) -> dict[str, nn.Module]:
        """Name in the checkpoint -> module."""
        return {"g": self.g, "ema": self.ema, "d": self.d}
