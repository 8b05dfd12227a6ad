"""A conditional DCGAN, as a peer to measure against.

Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks" (2015), with its figures: Adam at 2e-4 and beta1 0.5, weights from N(0, 0.02),
batch normalisation, batches of 64. Labels are concatenated: to z, and to D's 4 x 4 map (as in Reed
et al., "Generative Adversarial Text to Image Synthesis", 2016). This is what the anime generators
of 2015-2017 were, on which the paper that kaogen follows builds.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the field's own abbreviation
from torch import Tensor, nn

from kaogen.training.batches import Rows, repeats, rng, torch_rng
from kaogen.training.loop import Data

Z_DIM, WIDTH, BATCH = 100, 64, 64


def widths(resolution: int) -> list[int]:
    """Channels at 4, 8, ... up to half the picture: 512, 256, 128, 64 for 64 px."""
    count = resolution.bit_length() - 3
    return [WIDTH * 2 ** min(count - 1 - i, 3) for i in range(count)]


class DcganGenerator(nn.Module):
    """z [N, 100] and labels [N, L] -> [N, 3, H, W] in [-1, 1]."""

    z_dim = Z_DIM

    def __init__(self, num_tags: int, resolution: int) -> None:
        super().__init__()
        inner = widths(resolution)
        layers: list[nn.Module] = [nn.ConvTranspose2d(Z_DIM + num_tags, inner[0], 4, bias=False)]
        for a, b in pairwise(inner):
            layers += [nn.BatchNorm2d(a), nn.ReLU()]
            layers.append(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False))
        layers += [nn.BatchNorm2d(inner[-1]), nn.ReLU()]
        layers += [nn.ConvTranspose2d(inner[-1], 3, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.layers(torch.cat([z, labels], dim=1)[:, :, None, None])


class DcganDiscriminator(nn.Module):
    """Pictures [N, 3, H, W] and labels [N, L] -> logits [N]."""

    def __init__(self, num_tags: int, resolution: int) -> None:
        super().__init__()
        inner = widths(resolution)[::-1]
        layers: list[nn.Module] = [nn.Conv2d(3, inner[0], 4, stride=2, padding=1)]
        for a, b in pairwise(inner):
            layers += [nn.LeakyReLU(0.2), nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False)]
            layers.append(nn.BatchNorm2d(b))
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(0.2))
        self.join = nn.Conv2d(inner[-1] + num_tags, inner[-1], 1, bias=False)
        self.norm = nn.BatchNorm2d(inner[-1])
        self.last = nn.Conv2d(inner[-1], 1, 4)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = self.layers(images)
        planes = labels[:, :, None, None].expand(-1, -1, *x.shape[2:])
        x = F.leaky_relu(self.norm(self.join(torch.cat([x, planes], dim=1))), 0.2)
        return self.last(x).flatten()


class Dcgan:
    """One run, with the same interface as the library's trainer: `step()` and `seen`."""

    batch = BATCH

    def __init__(self, data: Data, seed: int) -> None:
        torch.manual_seed(seed)
        count, tags, size = len(data.images), data.labels.shape[1], data.images.shape[1]
        self.data, self.seed, self.seen = data, seed, 0
        self.g, self.d = DcganGenerator(tags, size), DcganDiscriminator(tags, size)
        for net in (self.g, self.d):
            net.apply(start_weights)
            net.to(memory_format=torch.channels_last)
        self.opt_g = torch.optim.Adam(self.g.parameters(), 2e-4, (0.5, 0.999))
        self.opt_d = torch.optim.Adam(self.d.parameters(), 2e-4, (0.5, 0.999))
        self.rows = Rows(repeats(None, count, 0), seed)

    def step(self) -> dict[str, float]:
        """D on a real and a fake batch, then G; binary cross-entropy."""
        rows = self.rows.at(self.seen, BATCH)
        images = self.data.images[rows]
        mirrored = rng("flip", self.seed, self.seen).random(len(rows)) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        real = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        labels = torch.from_numpy(self.data.labels[rows])
        wanted = torch.from_numpy(self.data.labels[self.rows.random(self.seen, BATCH)])
        z = torch.randn(BATCH, Z_DIM, generator=torch_rng("z", self.seed, self.seen))
        fake = self.g(z, wanted)
        on_real, on_fake = self.d(real, labels), self.d(fake.detach(), wanted)
        loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        update(self.opt_d, loss_d)
        loss_g = F.softplus(-self.d(fake, wanted)).mean()
        update(self.opt_g, loss_g)
        self.seen += BATCH
        return {"d": float(loss_d.detach()), "g": float(loss_g.detach())}

    @torch.no_grad()
    def finish(self) -> None:
        """Average the normalisations' statistics over 20 batches of the final weights.

        While training they trail behind weights that no longer are: a kindness to this peer.
        """
        for module in self.g.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None  # a plain mean
        for i in range(20):
            wanted = torch.from_numpy(self.data.labels[self.rows.random(self.seen + i, BATCH)])
            source = torch_rng("z", self.seed, self.seen + i)
            self.g(torch.randn(BATCH, Z_DIM, generator=source), wanted)


def start_weights(module: nn.Module) -> None:
    """N(0, 0.02) for convolutions, N(1, 0.02) for the normalisations' gains."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimizer.step()


def parameters(net: nn.Module) -> int:
    return int(np.sum([p.numel() for p in net.parameters()]))
