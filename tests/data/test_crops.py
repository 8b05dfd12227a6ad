"""Cutting faces out: margin, aspect, borders, alignment."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from kaogen.data.finding.crops import MARGIN, crop, cut, filled, frame, resize, whole
from kaogen.data.finding.faces import Face
from kaogen.data.finding.finders import drawn_face
from kaogen.images import Pixels

FACE = Face(1.0, (150.0, 140.0, 250.0, 240.0), ((180.0, 190.0), (220.0, 190.0)))


def picture(height: int = 400, width: int = 400) -> Pixels:
    """Each pixel tells its place: red goes with x, green with y; the border is not plain."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x % 256, y % 256, (x + y) % 256], axis=2).astype(np.uint8)


def place(pixels: Pixels) -> tuple[int, int]:
    return int(pixels[0, 0, 0]), int(pixels[0, 0, 1])


def test_margin_0_is_the_tight_box() -> None:
    np.testing.assert_array_equal(crop(picture(), FACE, margin=0), picture()[140:240, 150:250])


@pytest.mark.parametrize("margin", [0.1, 0.3, 0.5])
def test_a_margin_is_added_on_each_side_and_a_little_more_above(margin: float) -> None:
    cut_out = crop(picture(), FACE, margin=margin)
    edge = round(100 * (1 + 2 * margin))
    assert cut_out.shape == (edge, edge, 3)
    x, y = place(cut_out)
    assert abs(x - (150 - 100 * margin)) <= 1
    assert 0 < (140 - 100 * margin) - y < 12


@pytest.mark.parametrize("aspect", [0.5, 2 / 3, 1.0, 1.5])
def test_the_aspect_is_width_by_height_and_only_adds(aspect: float) -> None:
    cut_out = crop(picture(600, 600), FACE, margin=0.4, aspect=aspect)
    height, width = cut_out.shape[:2]
    assert abs(width / height - aspect) < 0.01
    assert abs(min(height, width) - 180) <= 1
    square = frame(picture(600, 600), FACE, margin=0.4)
    tall = frame(picture(600, 600), FACE, margin=0.4, aspect=aspect)
    if aspect < 1:  # more of the extra height goes to the shoulders
        assert tall.sides[3] - square.sides[3] > square.sides[1] - tall.sides[1] > 0


def test_near_a_border_the_frame_moves_inside_before_it_shrinks() -> None:
    close = Face(1.0, (40.0, 150.0, 140.0, 250.0))
    moved = frame(picture(), close, margin=0.5)
    assert moved.sides[0] == pytest.approx(0)
    assert moved.width == 200


def test_a_frame_shrinks_rather_than_show_what_is_not_there() -> None:
    close = Face(1.0, (25.0, 150.0, 125.0, 250.0))
    shrunk = frame(picture(), close, margin=0.5)
    left, top, right, bottom = shrunk.sides
    assert left >= -1e-9
    assert 100 * 1.3 <= shrunk.width < 200
    assert left <= 25
    assert right >= 125
    assert top <= 150
    assert bottom >= 250


def test_a_face_that_fills_the_picture_keeps_to_the_picture() -> None:
    small = picture(100, 100)
    cut_out = crop(small, Face(1.0, (10.0, 12.0, 92.0, 94.0)))
    assert 82 <= cut_out.shape[0] <= 109  # at most 4% filled on each side
    beyond = crop(small, Face(1.0, (-20.0, -20.0, 120.0, 120.0)))
    assert beyond.shape == (106, 106, 3)  # an eighth of the box on each side is given up


@pytest.mark.parametrize(
    "box", [(-5.0, -5.0, 60.0, 60.0), (360.0, 350.0, 420.0, 410.0), (-90.0, 0.0, -30.0, 60.0)]
)
def test_at_borders_nothing_is_ever_black(box: tuple[float, float, float, float]) -> None:
    light = np.maximum(picture(), 100)
    for margin in (0.0, 0.5, 2.0):
        cut_out = crop(light, Face(1.0, box), margin=margin)
        assert cut_out.shape[0] == cut_out.shape[1]
        assert cut_out.min() >= 99


def test_a_plain_border_goes_on_unseen_at_full_margin() -> None:
    drawn = drawn_face(160)[10:]
    face = Face(1.0, (35.0, 36.0, 128.0, 129.0))
    framed = frame(drawn, face, margin=0.6)
    assert framed.width > 0.9 * 93 * (1 + 2 * 0.6)
    left, top, right, bottom = framed.sides
    assert left < -10
    assert top < -20
    assert right > 170
    assert bottom <= 150.5  # the shoulders are cut there: it is no plain border
    above = cut(drawn, framed)[: -round(top)]
    np.testing.assert_array_equal(above, np.broadcast_to(drawn[0, 0], above.shape))


def test_other_borders_are_mirrored_and_fade_into_a_blur() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    out = filled(noise, -40, 0, 100, 100)
    np.testing.assert_array_equal(out[:, 40:], noise[:, :60])
    assert out[:, :20].std() < noise.std() / 3
    assert abs(float(out[:, :40].mean()) - float(noise.mean())) < 10


@pytest.mark.parametrize("left", [-500, -101, -1, 0, 99, 100, 700])
def test_any_rectangle_can_be_filled(left: int) -> None:
    for top in (-300, 0, 150):
        out = filled(picture(100, 100), left, top, 30, 50)
        assert out.shape == (50, 30, 3)


@pytest.mark.parametrize("turn", [-30, -10, 10, 30])
def test_aligned_eyes_lie_level(turn: float) -> None:
    ground = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(ground)
    reach, angle = 60.0, math.radians(turn)
    dx, dy = reach * math.cos(angle), reach * math.sin(angle)
    eyes = ((200 - dx, 190 - dy), (200 + dx, 190 + dy))
    for (x, y), colour in zip(eyes, ("red", "blue"), strict=True):
        draw.ellipse((x - 9, y - 9, x + 9, y + 9), fill=colour)
    face = Face(1.0, (100.0, 90.0, 300.0, 290.0), eyes)
    out = crop(np.array(ground), face, margin=0.2, align=True).astype(int)
    spots = [out[:, :, channel] - out[:, :, 2 - channel] > 128 for channel in (0, 2)]
    (y0, x0), (y1, x1) = (np.argwhere(spot).mean(axis=0) for spot in spots)
    assert abs(y0 - y1) < 1.5
    assert abs((x1 - x0) - 2 * reach) < 2
    assert abs((x0 + x1) / 2 - out.shape[1] / 2) < 8  # the turn is about the face


def test_eyes_that_cannot_be_trusted_do_not_turn_the_face() -> None:
    for eyes in (None, ((200.0, 160.0), (205.0, 220.0)), ((180.0, 150.0), (220.0, 230.0))):
        face = Face(1.0, FACE.box, eyes)
        np.testing.assert_array_equal(
            crop(picture(), face, align=True), crop(picture(), face, align=False)
        )


def test_crops_of_odd_pictures_have_their_shape() -> None:
    for height, width in [(1, 1), (1, 300), (300, 1), (2, 7)]:
        pixels = picture(height, width)
        for align in (False, True):
            face = Face(1.0, (0.0, 0.0, 40.0, 40.0), ((10.0, 10.0), (30.0, 20.0)))
            out = crop(pixels, face, margin=MARGIN, align=align)
            assert out.shape[0] == out.shape[1] >= 30
            assert out.dtype == np.uint8


def test_whole_is_the_middle_at_the_wanted_aspect() -> None:
    np.testing.assert_array_equal(whole(picture(100, 60)), picture(100, 60)[20:80])
    assert whole(picture(100, 60), 1.5).shape == (40, 60, 3)
    assert whole(picture(100, 60), 0.5).shape == (100, 50, 3)
    assert whole(picture(1, 500), 1.0).shape == (1, 1, 3)


def test_resize_keeps_what_fits_and_changes_the_rest() -> None:
    pixels = picture(64, 48)
    assert resize(pixels, 64, 48) is pixels
    assert resize(pixels, 32, 96).shape == (32, 96, 3)


def test_the_picture_is_left_as_it_was() -> None:
    pixels = picture(100, 100)
    kept = pixels.copy()
    crop(pixels, Face(1.0, (0.0, 0.0, 100.0, 100.0)))
    pixels.setflags(write=False)
    crop(pixels, Face(1.0, (0.0, 0.0, 100.0, 100.0)))
    np.testing.assert_array_equal(pixels, kept)
