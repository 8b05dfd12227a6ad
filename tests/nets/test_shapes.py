"""Any base, any width, 1 to 4 channels, every preset up to 1024 px: shapes, work, refusals."""

import json
import math
from pathlib import Path

import pytest
import torch

from kaogen.cli.main import main
from kaogen.errors import ConfigError
from kaogen.nets.config import PRESETS, NetConfig, paper_channels, preset
from kaogen.nets.critic import FeatureCritic, as_rgb
from kaogen.nets.discriminator import Discriminator
from kaogen.nets.generator import Generator
from kaogen.nets.summary import count, discriminator_table, generator_table, totals
from kaogen.nets.tagger import TaggerNet

SMALL = NetConfig(
    resolution=16, channels={4: 8, 8: 8, 16: 4}, z_dim=6, w_dim=10, mapping_layers=2, num_tags=5
)


def channels_of(base: int, steps: int) -> dict[int, int]:
    return {base * 2**i: 4 for i in range(steps)}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("width", "channels"), [(None, 3), (3, 4)])
def test_every_preset_on_the_meta_device(name: str, width: int | None, channels: int) -> None:
    cfg = PRESETS[name].with_(base_width=width, img_channels=channels)
    scale = cfg.resolution // cfg.base
    with torch.device("meta"):
        g, d = Generator(cfg), Discriminator(cfg)
        z, labels = torch.zeros(4, cfg.z_dim), torch.zeros(4, cfg.num_tags)
        pictures = g(z, labels)
        assert pictures.shape == (4, channels, cfg.resolution, scale * (width or cfg.base))
        assert d(pictures, labels).shape == (4,)
    assert sum(row.params for row in generator_table(cfg)) == count(g)
    assert sum(row.params for row in discriminator_table(cfg)) == count(d)


@pytest.mark.parametrize(("base", "width"), [(1, 1), (2, 5), (3, 2), (5, 5), (6, 4), (7, 3)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_base_draws_scores_and_learns(base: int, width: int, channels: int) -> None:
    torch.manual_seed(0)
    cfg = SMALL.with_(
        resolution=base * 4,
        base=base,
        base_width=width,
        channels=channels_of(base, 3),
        img_channels=channels,
    )
    g, d = Generator(cfg), Discriminator(cfg)
    z, labels = torch.randn(4, 6), torch.eye(5)[:4]
    pictures = g(z, labels, noise="random")
    assert pictures.shape == (4, channels, base * 4, width * 4)
    d(pictures, labels).sum().backward()
    learnt = [p for name, p in g.named_parameters() if "noise" not in name]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in learnt)


@pytest.mark.parametrize(("base", "width"), [(4, 3), (3, 7), (16, 4)])
def test_the_feature_critic_judges_any_shape(base: int, width: int) -> None:
    torch.manual_seed(0)
    cfg = SMALL.with_(
        resolution=base * 4, base=base, base_width=width, channels=channels_of(base, 3)
    )
    critic = FeatureCritic(cfg, TaggerNet(7, (4, 6, 8), folded=True))
    scores = critic.score(
        critic.features(torch.randn(4, 3, *cfg.shape(base * 4))), torch.eye(5)[:4]
    )
    assert [s.shape[0] for s in scores] == [4] * 4


def test_layers_are_named_by_height() -> None:
    cfg = SMALL.with_(base_width=6)
    assert cfg.shape(8) == (8, 12)
    assert cfg.width == 24
    names = set(dict(Generator(cfg).synthesis.named_children()))
    assert names == {"b4", "b8", "b16"}
    rows = {row.name: row.output for row in generator_table(cfg)}
    assert rows["G_synthesis/8x12/Conv1"] == ("?", 8, 8, 12)
    assert discriminator_table(cfg)[0].output == ("?", 3, 16, 24)


def test_work_is_counted() -> None:
    # By hand: two for each of 9 x 4 x 4 multiply-adds at every pixel, three pairs of layers.
    cfg = NetConfig(8, {4: 4, 8: 4}, z_dim=4, w_dim=4, mapping_layers=0, num_tags=0)
    drawn = totals(cfg).gflop[0] * 1e9
    convolutions = 2 * 9 * 4 * 4 * (4 * 4 + 4 * 4 + 8 * 8)
    assert convolutions < drawn < 2 * convolutions  # filters, styles, ToRGB
    paper = totals(PRESETS["paper256"])
    assert paper.params == (25_059_810, 24_030_843)
    assert 28 < paper.gflop[0] < 33
    wide = totals(PRESETS["paper256"].with_(base_width=8))
    assert math.isclose(wide.gflop[0], 2 * paper.gflop[0], rel_tol=0.01)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"base": 0}, "base must be 1 to 2048"),
        ({"base_width": 0}, "base_width must be 1 to 2048"),
        ({"base_width": 513}, "2052 px wide is too large"),
        ({"base": 5}, "16 px is not 5 px times a power of two"),
        ({"base": 32}, "16 px is not 32 px times a power of two"),
        ({"img_channels": 0}, "1 to 4 channels"),
        ({"z_dim": 0}, "z_dim must be"),
        ({"num_tags": -1}, "cannot be negative"),
        ({"mbstd_group": 0}, "mbstd_group must be"),
        ({"channels": {4: 8, 8: 0, 16: 4}}, "at least one channel"),
        ({"channels": {4: 8, 16: 4}}, "no channels for [8]"),
        ({"critic": "kind"}, "stylegan2 or features"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SMALL.with_(**changes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_networks_fit_themselves_to_the_pictures() -> None:
    assert SMALL.fitted(16, 16, 3) == SMALL
    tall = SMALL.fitted(16, 8, 1)
    assert (tall.width, tall.base_width, tall.img_channels) == (8, 2, 1)
    assert tall.fitted(16, 16, 3) == SMALL
    with pytest.raises(ConfigError, match="multiple of 4") as caught:
        SMALL.fitted(16, 14, 3)
    assert "16 px wide" in caught.value.hint
    with pytest.raises(ConfigError, match="32 x 32, the preset makes 16"):
        SMALL.fitted(32, 32, 3)


def test_presets_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    mine = SMALL.with_(base_width=3, img_channels=2)
    path.write_text(json.dumps(mine.to_dict()))
    assert preset(str(path)) == mine
    for text, says in [
        ("[1]", "one JSON object"),
        ("{", "cannot be read as JSON"),
        ("{}", "not sound"),
        ('{"resolution": 16, "channels": {"4": "many"}}', "not sound"),
        ('{"resolution": 16, "channels": {}, "colour": 1}', "Unknown network setting 'colour'"),
        ('{"resolution": "big", "channels": {}}', "not sound"),
    ]:
        path.write_text(text)
        with pytest.raises(ConfigError, match=says) as caught:
            preset(str(path))
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        preset(str(tmp_path / "none.json"))


@pytest.mark.parametrize("width", [None, 3])
def test_a_seed_gives_the_same_picture_at_any_batch_size(width: int | None) -> None:
    """To rounding, since a kernel is chosen by its shape. Model files draw one by one: exactly."""
    torch.manual_seed(0)
    cfg = NetConfig(
        32, paper_channels(32, 512), z_dim=16, w_dim=16, mapping_layers=2, num_tags=3,
        base_width=width,
    )  # fmt: skip
    g = Generator(cfg).eval().requires_grad_(False)
    for name, value in g.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.3)
    z, labels = torch.randn(8, 16), torch.eye(3)[torch.arange(8) % 3]
    alone = torch.cat([g(z[i : i + 1], labels[i : i + 1]) for i in range(8)])
    for size in (2, 3, 5, 8):
        parts = [g(z[i : i + size], labels[i : i + size]) for i in range(0, 8, size)]
        torch.testing.assert_close(torch.cat(parts), alone, atol=1e-4, rtol=1e-4)


def test_what_the_trunk_sees_of_other_channels() -> None:
    grey, alpha = torch.full((1, 1, 2, 2), -0.5), torch.zeros(1, 1, 2, 2)
    rgb = torch.cat([grey, grey, grey], dim=1)
    assert as_rgb(rgb) is rgb
    assert torch.equal(as_rgb(grey), rgb)
    half = as_rgb(torch.cat([grey, alpha], dim=1))
    torch.testing.assert_close(half, torch.full((1, 3, 2, 2), 0.25))  # half white
    torch.testing.assert_close(as_rgb(torch.cat([rgb, alpha], dim=1)), half)


def test_summary_tells_what_presets_make(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["summary"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["preset", *PRESETS]
    assert {"25,059,810", "24,030,843"} <= set(lines[3].split())
    # A file of settings goes out, and comes back in another shape.
    assert main(["summary", "--preset", "tiny64", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)
    path = tmp_path / "wide.json"
    path.write_text(json.dumps(settings | {"base_width": 6, "img_channels": 4}))
    assert main(["summary", "--preset", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "G_synthesis/64x96/Conv1" in shown
    assert "96x64x4" in shown.splitlines()[-1]
    assert main(["summary", "--preset", "huge"]) != 0
    told = capsys.readouterr()
    assert "paper1024, or give a .json file" in told.out + told.err
