"""Adaptive augmentation: each operation against a simple formula, and differentiated twice."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kaogen.training import augment_warp as aw
from kaogen.training.adaptive import Adaptive, lean
from kaogen.training.augment import shift_and_cut
from kaogen.training.augment_ada import (
    Chance,
    Pipeline,
    blit,
    cutout,
    recolour,
    rotation,
    scaling,
    translation,
)
from kaogen.training.config import ADA_GROUPS, TrainConfig

EXACT = {"rtol": 0, "atol": 1e-9}


def pictures(n: int = 3, c: int = 3, size: int = 12, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.rand(n, c, size, size, generator=source, dtype=torch.float64) * 2 - 1


def test_blit_is_numpys_flip_rot90_and_reflected_shift() -> None:
    x = pictures(n=8)
    flip = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1]) > 0
    turns = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    dx, dy = torch.tensor([0, 2, -3, 1, 0, 5, -1, 0]), torch.tensor([0, -1, 2, 0, 3, 0, -4, 1])
    got = blit(x, flip, turns, dx, dy).numpy()
    for i in range(8):
        want = x[i].numpy()
        want = want[:, :, ::-1] if flip[i] else want
        want = np.rot90(want, int(turns[i]), axes=(1, 2))
        padded = np.pad(want, ((0, 0), (6, 6), (6, 6)), mode="reflect")
        top, left = 6 - int(dy[i]), 6 - int(dx[i])
        np.testing.assert_array_equal(got[i], padded[:, top : top + 12, left : left + 12])


def test_sym6_is_an_orthonormal_low_pass_with_six_vanishing_moments() -> None:
    h = np.array(aw.SYM6)
    for shift in range(6):
        assert np.dot(h[2 * shift :], h[: len(h) - 2 * shift]) == pytest.approx(
            float(shift == 0), abs=1e-10
        )
    high = h * (-1.0) ** np.arange(12)
    for moment in range(6):
        assert np.dot(high, (np.arange(12) - 5.5) ** moment) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("size", [8, 12, 33])
def test_the_identity_and_whole_pixels_are_exact(size: int) -> None:
    x = pictures(size=size)
    same = torch.eye(3, dtype=torch.float64)[:2].expand(3, 2, 3)
    torch.testing.assert_close(aw.warp(x, same), x, **EXACT)
    d = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    back = torch.linalg.inv(translation(d, d.flip(0)))[:, :2]
    none = torch.zeros(3, dtype=torch.long)
    want = blit(x, none > 0, none, d.long(), d.flip(0).long())
    torch.testing.assert_close(aw.warp(x, back), want, **EXACT)


@pytest.mark.parametrize(
    "forward",
    [
        rotation(torch.tensor([0.5], dtype=torch.float64)),
        rotation(torch.tensor([-math.pi / 2], dtype=torch.float64)),
        scaling(*torch.tensor([[0.8], [1.3]], dtype=torch.float64)),
        translation(*torch.tensor([[2.5], [-1.25]], dtype=torch.float64)),
    ],
)
def test_warped_waves_are_the_waves_at_the_warped_places(forward: Tensor) -> None:
    size = 40
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2

    def wave(px: Tensor, py: Tensor) -> Tensor:
        return torch.sin(0.35 * px + 0.2) * torch.cos(0.25 * py - 0.4)

    ys, xs = torch.meshgrid(at, at, indexing="ij")
    inverse = torch.linalg.inv(forward)[0]
    want = wave(
        inverse[0, 0] * xs + inverse[0, 1] * ys + inverse[0, 2],
        inverse[1, 0] * xs + inverse[1, 1] * ys + inverse[1, 2],
    )
    got = aw.warp(wave(xs, ys)[None, None], inverse[None, :2])[0, 0]
    centre = slice(12, -12)
    assert float((got - want)[centre, centre].abs().max()) < 0.02


def test_a_rotation_is_counter_clockwise_as_seen() -> None:
    x = torch.zeros(1, 1, 33, 33, dtype=torch.float64)
    x[0, 0, 15:18, 25:28] = 1  # to the right of the centre
    quarter = rotation(torch.tensor([math.pi / 2], dtype=torch.float64))
    y = aw.warp(x, torch.linalg.inv(quarter)[:, :2])[0, 0]
    assert float(y[5:8, 15:18].mean()) > 0.7  # now above it


def test_bands_have_the_responses_of_their_wavelets_and_sum_to_one() -> None:
    size = 32
    split = aw.bands(size)
    np.testing.assert_allclose(split.sum(axis=0), np.eye(size), atol=1e-12)
    h, j = np.array(aw.SYM2), np.arange(size)

    def low(w: float) -> float:
        return float(abs(np.sum(h * np.exp(-1j * w * np.arange(4)))) ** 2 / 2)

    for k in range(size):
        # A cosine that is its own mirror image at both edges passes any even filter unchanged
        # but for a factor, the filter's response.
        w = math.pi * k / (size - 1)
        finer = [1.0, low(w), low(w) * low(2 * w), low(w) * low(2 * w) * low(4 * w)]
        want = [finer[3], finer[2] - finer[3], finer[1] - finer[2], finer[0] - finer[1]]
        wave = np.cos(w * j)
        for band in range(aw.BANDS):
            np.testing.assert_allclose(split[band] @ wave, want[band] * wave, atol=1e-9)


def test_amplified_bands_are_the_weighted_sum_along_both_axes() -> None:
    x = pictures(n=2, size=16)
    gains = torch.tensor([[1.0, 1, 1, 1], [0.5, 2, 1, 3]], dtype=torch.float64)
    got = aw.amplify_bands(x, gains)
    torch.testing.assert_close(got[0], x[0], **EXACT)
    line = sum(g * b for g, b in zip(gains[1].numpy(), aw.bands(16), strict=True))
    want = np.stack([line @ channel @ line.T for channel in x[1].numpy()])
    np.testing.assert_allclose(got[1].numpy(), want, atol=1e-9)


def test_colours_are_the_product_of_their_matrices() -> None:
    x = pictures(n=4)
    brightness = torch.tensor([0.1, 0, -0.3, 0.2], dtype=torch.float64)
    contrast = torch.tensor([1.0, 1.5, 0.7, 1.2], dtype=torch.float64)
    flip = torch.tensor([False, True, False, True])
    hue = torch.tensor([0.0, 0.4, -2.0, 3.0], dtype=torch.float64)
    saturation = torch.tensor([1.0, 0.5, 2.0, 1.3], dtype=torch.float64)
    got = recolour(x, brightness, contrast, flip, hue, saturation).numpy()
    axis = np.ones(3) / math.sqrt(3)
    grey = np.outer(axis, axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    for i in range(4):
        t, s = float(hue[i]), float(saturation[i])
        turn = math.cos(t) * np.eye(3) + math.sin(t) * cross + (1 - math.cos(t)) * grey
        whole = (grey + (np.eye(3) - grey) * s) @ turn @ (np.eye(3) - 2 * grey * bool(flip[i]))
        shifted = (x[i].numpy() + float(brightness[i])) * float(contrast[i])
        np.testing.assert_allclose(got[i], np.einsum("ij,jhw->ihw", whole, shifted), atol=1e-9)


def test_alpha_is_left_alone_and_grey_pictures_are_possible() -> None:
    for c in (1, 4):
        x = pictures(c=c)
        got = Pipeline(("light", "color"))(x, torch.Generator().manual_seed(1), 1.0)
        assert got.shape == x.shape
        assert not torch.equal(got[:, 0], x[:, 0])
        if c == 4:
            assert torch.equal(got[:, 3], x[:, 3])


def test_cutout_is_a_square_of_zeros() -> None:
    x = pictures(n=2)
    left, top = (torch.tensor(v, dtype=torch.float64) for v in ([0.25, 0.0], [0.5, 0.0]))
    got = cutout(x, left, top, torch.tensor([0.5, 0.0], dtype=torch.float64))
    want = x.clone()
    want[0, :, 6:12, 3:9] = 0
    assert torch.equal(got, want)


def test_noise_has_the_strength_of_its_law() -> None:
    x = torch.zeros(4000, 1, 4, 4)
    y = Pipeline.noise(x, chance(4000, 1.0))
    strengths = y.square().mean(dim=(1, 2, 3)).mean()
    assert float(strengths) == pytest.approx(0.01, rel=0.1)  # E sigma^2 = 0.1^2


def test_the_filter_keeps_the_expected_power() -> None:
    ones = torch.ones(500, 1, 16, 16, dtype=torch.float64)
    flat = Pipeline.filter(ones, chance(500, 1.0))  # nothing but the coarsest octave
    assert 0.5 < float(flat.square().mean()) < 2
    assert float(flat.std(dim=(2, 3)).max()) < 1e-9


def chance(n: int, p: float) -> Chance:
    return Chance(n, p, torch.Generator().manual_seed(3))


def test_light_never_changes_which_colour_is_which() -> None:
    x = pictures(n=64)
    y = Pipeline(("light",))(x, torch.Generator().manual_seed(0), 1.0)

    def tint(z: Tensor) -> Tensor:
        return torch.nn.functional.normalize(z - z.mean(dim=1, keepdim=True), dim=1)

    torch.testing.assert_close(tint(y), tint(x), rtol=0, atol=1e-6)
    assert "color" not in TrainConfig().ada_groups


@pytest.mark.parametrize("group", ADA_GROUPS)
def test_p_is_the_share_of_pictures_that_are_struck(group: str) -> None:
    x = pictures(n=400, c=3, size=8)
    pipeline = Pipeline((group,))

    def struck(p: float) -> float:
        y = pipeline(x, torch.Generator().manual_seed(5), p)
        return float(((y - x).abs().amax(dim=(1, 2, 3)) > 1e-6).double().mean())

    assert struck(0.0) == 0
    assert 0.05 < struck(0.1) < 0.45  # some groups have several operations
    assert struck(0.1) < struck(0.5) < struck(1.0) + 1e-9
    # A picture may be cut where it is not, or turned by nothing: nearly all, not all.
    assert struck(1.0) > 0.9


@pytest.mark.parametrize("policy", [*ADA_GROUPS, "all", "shift+cut"])
def test_differentiated_twice(policy: str) -> None:
    groups = ADA_GROUPS if policy == "all" else (policy,)
    x = pictures(n=2, c=3, size=8 if policy == "shift+cut" else 5).requires_grad_(True)

    def run(x: Tensor) -> Tensor:
        source = torch.Generator().manual_seed(2)
        y = shift_and_cut(x, source) if policy == "shift+cut" else Pipeline(groups)(x, source, 0.9)
        return y + y * y / 2  # bends it: the operations themselves are linear in the picture

    assert torch.autograd.gradcheck(run, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, x, fast_mode=True)


def test_the_transpose_of_sampling_is_its_transpose() -> None:
    x = pictures(n=1, c=1, size=6).requires_grad_(True)
    back = rotation(torch.tensor([0.3], dtype=torch.float64))[:, :2]
    run: Callable[[Tensor], Tensor] = lambda x: aw.warp(x, back)  # noqa: E731
    jacobian = torch.autograd.functional.jacobian(run, x).reshape(36, 36)
    columns = torch.eye(36, dtype=torch.float64).reshape(36, 1, 6, 6)
    forward = run_each(columns, back)
    torch.testing.assert_close(jacobian, forward, **EXACT)


def run_each(columns: Tensor, back: Tensor) -> Tensor:
    return torch.cat([aw.warp(c[None], back).reshape(1, -1) for c in columns]).t()


ADA = TrainConfig(batch=10, ada_interval=2, ada_kimg=0.1, augment="ada")


def test_p_grows_while_d_knows_the_reals_and_falls_back_within_its_bounds() -> None:
    adaptive = Adaptive(ADA)
    seen = []
    for _ in range(12):
        adaptive.see(0.9)
        seen.append(adaptive.p)
    # 20 images a move, 100 from 0 to 1: a fifth at every second step, at most 0.8.
    assert seen == pytest.approx([0, 0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8])
    for _ in range(20):
        adaptive.see(0.1)
    assert adaptive.p == 0
    adaptive.see(1.0)
    adaptive.see(0.2)  # their mean is the target itself
    assert (adaptive.p, adaptive.rt) == (0, 0.6)


def test_p_comes_back_to_the_bit_between_two_moves() -> None:
    first, second = Adaptive(ADA), Adaptive(ADA)
    for value in (0.71, 0.3, 0.9, 0.8, 0.7):
        first.see(value)
    second.restore(first.tensor())
    for value in (0.123, 0.9, 0.9):
        first.see(value)
        second.see(value)
    assert torch.equal(first.tensor(), second.tensor())


def test_lean_is_the_mean_sign_or_that_of_differences() -> None:
    real, fake = [torch.tensor([3.0, 1.0, -1.0, 2.0])], [torch.tensor([2.0, 2.0, -2.0, 1.0])]
    assert float(lean(real, fake, relative=False)) == 0.5
    assert float(lean(real, fake, relative=True)) == 0.5
    assert float(lean([real[0] + 9], [fake[0] + 9], relative=False)) == 1
    assert float(lean([real[0] + 9], [fake[0] + 9], relative=True)) == 0.5
