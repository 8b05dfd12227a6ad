"""Starting from another model: what carries over is what it was, whatever else is new."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from kaogen.nets.config import NetConfig
from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.filters import upsample2
from kaogen.nets.generator import Generator
from kaogen.nets.tagger import TaggerNet
from kaogen.training.adapt import Taken
from kaogen.training.loop import Trainer
from kaogen.training.transfer import Source, start_from, transfer_critic, transfer_generator
from training.conftest import NET

TAGS = ("pink hair", "blue hair", "smile", "glasses")


def stirred(module: torch.nn.Module, seed: int = 1) -> torch.nn.Module:
    """Every parameter counts, as after training."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            scale = 10 if "dense" in name and name.endswith("bias") else 0.3
            parameter.add_(torch.randn_like(parameter) * scale)
    return module.eval().requires_grad_(False)


def source_of(net: NetConfig, tags: tuple[str, ...] = TAGS) -> Source:
    generator = stirred(Generator(net))
    critic = {} if net.critic == "features" else stirred(Discriminator(net)).state_dict()
    state = generator.state_dict()
    return Source("old", "0" * 64, 12.5, net, tags, state, state, critic)


def grown(
    source: Source, net: NetConfig, tags: tuple[str, ...] = TAGS
) -> tuple[Generator, Generator, Taken]:
    """The old generator, and a new one that started from it."""
    old, new = Generator(source.net), Generator(net)
    old.load_state_dict(source.raw)
    taken = transfer_generator(source, source.raw, new, net, tags)
    return old, new, taken


def faces(generator: Generator, labels: torch.Tensor, count: int = 4) -> torch.Tensor:
    z = torch.from_numpy(np.random.default_rng(3).standard_normal((count, 8), np.float32))
    return generator(z, labels)


LABELS = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0]])


def test_the_same_shape_is_the_same_model() -> None:
    source = source_of(NET)
    old, new, taken = grown(source, NET)
    assert torch.equal(faces(old, LABELS), faces(new, LABELS))
    assert not taken.adapted
    assert not taken.new
    assert len(taken.copied) == len(source.raw)


@pytest.mark.parametrize("conditioning", ["embed", "paper"])
def test_a_wider_network_draws_what_the_old_one_drew(conditioning: str) -> None:
    net = NET.with_(conditioning=conditioning)
    wide = {4: 12, 8: 20, 16: 9}
    old, new, taken = grown(source_of(net), net.with_(channels=wide))
    torch.testing.assert_close(faces(new, LABELS), faces(old, LABELS), rtol=1e-4, atol=1e-4)
    assert taken.adapted
    assert not taken.new
    if conditioning == "embed":  # the paper's normalises z and labels together
        old, new, taken = grown(source_of(net), net.with_(channels=wide, w_dim=16))
        torch.testing.assert_close(faces(new, LABELS), faces(old, LABELS), rtol=1e-4, atol=1e-4)


def test_a_longer_latent_leaves_the_labels_their_say() -> None:
    old, new, _ = grown(source_of(NET), NET.with_(z_dim=16))
    z = torch.randn(4, 8)
    # The same latent twice over has the same mean square, so the old half reads what it read.
    got = new(torch.cat([z, z], dim=1), LABELS)
    torch.testing.assert_close(got, old(z, LABELS), rtol=1e-4, atol=1e-4)


def test_twice_the_size_begins_as_the_old_picture_enlarged() -> None:
    big = NET.with_(resolution=32, channels={4: 8, 8: 8, 16: 12, 32: 6})
    old, new, taken = grown(source_of(NET), big)
    before = faces(old, LABELS)
    torch.testing.assert_close(faces(new, LABELS), upsample2(before), rtol=1e-4, atol=1e-4)
    assert {name.split(".")[1] for name in taken.new} == {"b32"}
    assert "b32" in taken.told("generator")
    # What is new is not dead: its weights get gradients once ToRGB has moved.
    loss = faces(new, LABELS).square().sum()
    loss.backward()
    weight = new.get_parameter("synthesis.b32.to_rgb.weight")
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


def test_tags_are_matched_by_name() -> None:
    tags = ("glasses", "hat", "blue hair", "smile", "pink hair")
    old, new, taken = grown(source_of(NET), NET.with_(num_tags=5), tags)
    there = [tags.index(name) for name in TAGS]
    labels = torch.zeros(4, 5)
    labels[:, there] = LABELS
    torch.testing.assert_close(faces(new, labels), faces(old, LABELS), rtol=1e-4, atol=1e-4)
    assert "mapping.embed.weight" in taken.adapted
    hat = labels.clone()
    hat[:, 1] = 1  # a new tag changes nothing until it has been learnt
    torch.testing.assert_close(faces(new, hat), faces(new, labels))


def test_a_narrower_network_keeps_the_channels_that_are_read_most() -> None:
    source = source_of(NET)
    source.raw["synthesis.b16.conv1.weight"][:, 2] = 0  # nobody listens to channel 2
    source.raw["synthesis.b16.conv0_up.bias"][:] = torch.arange(8.0)
    _, new, taken = grown(source, NET.with_(channels={4: 8, 8: 8, 16: 7}))
    # b16's channels are counted apart: conv0_up's, which conv1 reads, and conv1's.
    assert new.get_parameter("synthesis.b16.conv0_up.bias").tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert taken.any
    assert not taken.new


@pytest.mark.parametrize(
    ("change", "new"),
    [
        ({"mapping_layers": 3}, {"mapping"}),
        ({"conditioning": "paper"}, {"mapping"}),
        ({"base": 8, "channels": {8: 8, 16: 8}}, {"b8"}),
        ({"base_width": 6}, {"b4", "b8", "b16"}),
        ({"img_channels": 4}, set()),
        ({"img_channels": 1}, set()),
        ({"num_tags": 0}, set()),
    ],
)
def test_what_cannot_be_compared_is_left_as_it_is(change: dict[str, object], new: set[str]) -> None:
    net = NET.with_(**change)
    tags = TAGS if net.num_tags else ()
    _, generator, taken = grown(source_of(NET), net, tags)
    assert {name.removeprefix("synthesis.").split(".")[0] for name in taken.new} == new
    assert torch.isfinite(faces(generator, LABELS[:, : net.num_tags])).all()


def test_alpha_begins_opaque() -> None:
    old, new, _ = grown(source_of(NET), NET.with_(img_channels=4))
    got = faces(new, LABELS)
    torch.testing.assert_close(got[:, :3], faces(old, LABELS), rtol=1e-4, atol=1e-4)
    assert (got[:, 3] == 1).all()


def test_labels_join_a_model_without_any() -> None:
    old, new, _ = grown(source_of(NET.with_(num_tags=0), ()), NET)
    expected = faces(old, LABELS[:, :0])
    torch.testing.assert_close(faces(new, LABELS), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("conditioning", ["embed", "paper"])
def test_a_wider_discriminator_of_other_tags_judges_as_before(conditioning: str) -> None:
    net = NET.with_(conditioning=conditioning)
    source = source_of(net)
    old = Discriminator(net)
    old.load_state_dict(source.critic)
    tags = (*TAGS[::-1], "hat")
    wide = net.with_(num_tags=5)
    new = Discriminator(wide)
    taken = transfer_critic(source, new, wide, tags)
    assert taken.any
    images = torch.randn(4, 3, 16, 16)
    labels = torch.zeros(4, 5)
    labels[:, :4] = LABELS.flip(1)
    torch.testing.assert_close(new(images, labels), old(images, LABELS), rtol=1e-4, atol=1e-4)
    wider = wide.with_(channels={4: 8, 8: 10, 16: 12})
    assert transfer_critic(source, Discriminator(wider), wider, tags).any


def test_a_larger_discriminator_takes_over_what_judges_the_smaller_picture() -> None:
    source = source_of(NET)
    big = NET.with_(resolution=32, channels={4: 8, 8: 8, 16: 8, 32: 8})
    new = Discriminator(big)
    taken = transfer_critic(source, new, big, TAGS)
    # FromRGB of 16 px is no FromRGB of 32 px.
    assert {name.split(".")[0] for name in taken.new} == {"from_rgb", "b32"}
    kept = new.state_dict()["b16.conv0.weight"]
    assert torch.equal(kept, source.critic["b16.conv0.weight"])


def features_source(net: NetConfig) -> tuple[Source, FeatureCritic]:
    torch.manual_seed(2)
    trunk = TaggerNet(4, (4, 6, 8), folded=True)
    critic = FeatureCritic(net, trunk)
    state = Generator(net).state_dict()
    return Source("old", "0" * 64, 1, net, TAGS, state, state, critic.state_dict()), critic


def test_feature_heads_carry_over_to_other_sizes_and_tags() -> None:
    net = NET.with_(critic="features")
    source, old = features_source(net)
    same = FeatureCritic(net, old.trunk)
    assert not transfer_critic(source, same, net, TAGS).new
    images = torch.randn(4, 3, 16, 16)
    for a, b in zip(
        old.eval().score(old.features(images), LABELS),
        same.eval().score(same.features(images), LABELS),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    big = net.with_(resolution=32, channels={4: 8, 8: 8, 16: 8, 32: 8}, num_tags=5)
    larger = FeatureCritic(big, old.trunk)
    taken = transfer_critic(source, larger, big, (*TAGS, "hat"))
    assert "heads.1.mix" in taken.copied
    assert taken.any
    assert taken.new


def test_a_discriminator_of_another_kind_or_trunk_is_left_out(
    make_trainer: Callable[..., Trainer],
) -> None:
    net = NET.with_(critic="features")
    trainer = make_trainer(net)
    told = start_from(source_of(NET), trainer, TAGS, "1" * 64)
    assert "discriminator: begins anew; old has one of another kind, stylegan2." in told
    source, _ = features_source(net)
    for trunk in ("2" * 64, None):  # another; an older run, which does not say
        told = start_from(replace(source, trunk=trunk), trainer, TAGS, "1" * 64)
        assert told[2].endswith("old has one that looks through another trunk.")
    told = start_from(replace(source, trunk="1" * 64), trainer, TAGS, "1" * 64)
    assert told[2] == "discriminator: 75 tensors as they are."
