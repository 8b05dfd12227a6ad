"""The networks: the paper's tables, shapes, batch independence, conditioning."""

import csv
import json
from pathlib import Path

import pytest
import torch

from kaogen.errors import ConfigError
from kaogen.nets.build import load_trunk, trunk_path
from kaogen.nets.config import PRESETS, NetConfig, preset
from kaogen.nets.critic import FeatureCritic
from kaogen.nets.discriminator import Discriminator, minibatch_stddev
from kaogen.nets.efficientnet import EfficientNetLite
from kaogen.nets.generator import Generator
from kaogen.nets.summary import count, discriminator_table, generator_table, render
from kaogen.nets.tagger import TaggerNet, fold_norms
from kaogen.nets.trunks import LiteTrunk

TABLES = Path(__file__).parent
SMALL = NetConfig(
    resolution=16, channels={4: 8, 8: 8, 16: 4}, z_dim=6, w_dim=10, mapping_layers=2, num_tags=5
)


def paper_rows(name: str) -> list[tuple[str, str, str, str]]:
    with (TABLES / name).open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle, delimiter="\t"))[1:]
    return [(r[0], r[1], r[2], r[3] if len(r) > 3 else "") for r in rows]


@pytest.mark.parametrize(
    ("table", "file", "total"),
    [
        (generator_table, "paper_generator.tsv", 25_059_810),
        (discriminator_table, "paper_discriminator.tsv", 24_030_843),
    ],
)
def test_every_row_of_the_papers_tables(table, file: str, total: int) -> None:
    ours = table(preset("paper256"))
    theirs = paper_rows(file)
    assert theirs[-1][:2] == ("Total", str(total))
    assert [row.cells() for row in ours] == theirs[:-1]
    assert sum(row.params for row in ours) == total
    assert "Total" in render("G", ours)
    assert str(total) in render("G", ours)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_draw_and_score_on_the_meta_device(name: str) -> None:
    cfg = preset(name)
    with torch.device("meta"):
        g, d = Generator(cfg), Discriminator(cfg)
        z, labels = torch.randn(4, cfg.z_dim), torch.zeros(4, cfg.num_tags)
        pictures = g(z, labels)
        assert pictures.shape == (4, cfg.img_channels, cfg.resolution, cfg.resolution)
        assert d(pictures, labels).shape == (4,)
    assert sum(row.params for row in generator_table(cfg)) == count(g)
    assert sum(row.params for row in discriminator_table(cfg)) == count(d)


@pytest.mark.parametrize("conditioning", ["paper", "embed"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shapes_and_labels_matter(conditioning: str, channels: int) -> None:
    torch.manual_seed(0)
    cfg = SMALL.with_(conditioning=conditioning, img_channels=channels)
    g, d = Generator(cfg), Discriminator(cfg)
    z, labels = torch.randn(4, 6), torch.eye(5)[:4]
    pictures = g(z, labels)
    assert pictures.shape == (4, channels, 16, 16)
    assert not torch.allclose(pictures, g(z, labels.flip(0)))
    assert not torch.allclose(d(pictures, labels), d(pictures, labels.flip(0)))


def test_paper_score_of_an_all_zero_row_is_zero_and_projection_is_not() -> None:
    torch.manual_seed(0)
    picture, nothing = torch.randn(1, 3, 16, 16), torch.zeros(1, 5)
    assert float(Discriminator(SMALL)(picture, nothing).detach()) == 0
    better = Discriminator(SMALL.with_(conditioning="embed"))
    assert float(better(picture, nothing).detach()) != 0


def test_embedding_keeps_the_share_of_z_whatever_the_number_of_tags() -> None:
    torch.manual_seed(0)
    g = Generator(SMALL.with_(conditioning="embed", mapping_layers=0, w_dim=12))
    z = torch.randn(4, 6)
    few, many = torch.eye(5)[:1].expand(4, -1), torch.ones(4, 5)
    assert torch.equal(g.mapping(z, few)[:, :6], g.mapping(z, many)[:, :6])


def test_a_picture_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    g = Generator(SMALL).eval()
    z, labels = torch.randn(6, 6), torch.eye(5)[[0, 1, 2, 3, 4, 0]]
    together = g(z, labels)
    alone = torch.cat([g(z[i : i + 1], labels[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone, atol=1 / 255, rtol=0)


def test_bf16_draws_nearly_the_same_picture() -> None:
    torch.manual_seed(0)
    g = Generator(SMALL).eval()
    z, labels = torch.randn(4, 6), torch.eye(5)[:4]
    full, half = g(z, labels), g(z, labels, dtype=torch.bfloat16)
    assert half.dtype == torch.float32
    assert float((full - half).abs().mean().detach()) < 0.02 * float(full.std().detach())


def test_another_base_and_unconditional() -> None:
    torch.manual_seed(0)
    cfg = SMALL.with_(base=8, num_tags=0)
    pictures = Generator(cfg)(torch.randn(2, 6), torch.zeros(2, 0))
    assert pictures.shape == (2, 3, 16, 16)
    assert Discriminator(cfg)(pictures, torch.zeros(2, 0)).shape == (2,)


def test_noise_is_fixed_when_drawing_and_fresh_when_training() -> None:
    torch.manual_seed(0)
    g = Generator(SMALL)
    for name, value in g.named_parameters():
        if name.endswith("noise_strength"):
            value.data.fill_(0.5)
    z, labels = torch.randn(1, 6), torch.eye(5)[:1]
    assert torch.equal(g(z, labels), g(z, labels))
    assert not torch.equal(g(z, labels, noise="random"), g(z, labels, noise="random"))


def test_minibatch_stddev_groups_as_stylegan2() -> None:
    x = torch.arange(4.0)[:, None, None, None].expand(4, 2, 3, 3)
    out = minibatch_stddev(x, 2)  # groups (0, 2) and (1, 3): a distance of 2, so a deviation of 1
    assert out.shape == (4, 3, 3, 3)
    torch.testing.assert_close(out[:, 2], torch.ones(4, 3, 3))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"resolution": 48}, "48 px is not 4 px times a power of two"),
        ({"img_channels": 5}, "1 to 4 channels"),
        ({"conditioning": "magic"}, "paper or embed"),
        ({"resolution": 32}, "no channels for [32]"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SMALL.with_(**changes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_config_round_trip_and_unknown_preset() -> None:
    assert NetConfig.from_dict(SMALL.to_dict()) == SMALL
    with pytest.raises(ConfigError, match="tiny64"):
        preset("huge")


def test_folded_tagger_says_the_same() -> None:
    torch.manual_seed(0)
    net = TaggerNet(7, (4, 6, 8))
    x = torch.rand(8, 3, 16, 16) * 2 - 1
    net.train()
    net(x)  # gives the normalisations something to remember
    net.eval()
    torch.testing.assert_close(fold_norms(net)(x), net(x), rtol=1e-4, atol=1e-5)


def test_the_trunk_that_ships_is_the_network_it_was_folded_from() -> None:
    torch.manual_seed(0)
    net = EfficientNetLite(5).eval()
    for unit in net.units():
        torch.nn.init.uniform_(unit.norm.running_var, 0.5, 2)
        torch.nn.init.normal_(unit.norm.running_mean, std=0.1)
    torch.nn.init.normal_(net.head.weight, std=0.1)
    trunk = LiteTrunk(net)
    x = torch.rand(2, 3, 128, 160) * 2 - 1
    with torch.no_grad():
        maps = trunk.maps(x, torch.float32)
        torch.testing.assert_close(trunk.tag_logits(maps), net(x), rtol=1e-3, atol=1e-4)
    assert [m.shape[1] for m in maps] == list(trunk.widths)
    assert [m.shape[2] for m in maps] == trunk.sizes(128)


@pytest.mark.parametrize("size", [64, 128, 192])
def test_the_shipped_trunk_sees_pictures_of_any_size_and_gives_them_gradients(size: int) -> None:
    trunk = load_trunk()
    assert isinstance(trunk, LiteTrunk)
    x = torch.rand(1, 3, size, size).requires_grad_()
    maps = trunk.maps(x, torch.float32)
    assert [m.shape[2] for m in maps] == trunk.sizes(size)
    (gradient,) = torch.autograd.grad(trunk.tag_logits(maps).sum(), x)
    assert gradient.abs().sum() > 0
    described = json.loads(trunk_path().with_suffix(".json").read_text(encoding="utf-8"))
    assert trunk.tag_logits(maps).shape == (1, len(described["tags"]))


def test_feature_critic_trains_heads_and_never_the_trunk() -> None:
    torch.manual_seed(0)
    trunk = TaggerNet(7, (4, 6, 8), folded=True)
    critic = FeatureCritic(SMALL.with_(critic="features"), trunk)
    x = torch.randn(4, 3, 16, 16, requires_grad=True)
    scores = critic.score(critic.features(x), torch.eye(5)[:4])
    assert len(scores) == 4  # the pixels and three stages
    assert all(s.shape[0] == 4 for s in scores)
    torch.stack([s.mean() for s in scores]).sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
    assert all(p.grad is None for p in trunk.parameters())
    assert not any("trunk" in name for name in critic.state_dict())
