"""Pictures from strangers: each kind read right, each trap refused with a reason."""

import contextlib
import io
import random
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from kaogen.avifsize import frame_pixels
from kaogen.errors import ImageError
from kaogen.images import LARGEST_FILE, read_image

RED = (200, 30, 40)
NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def needs(form: str) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")


def plain(mode: str = "RGB", size: tuple[int, int] = (20, 24)) -> Image.Image:
    return Image.new("RGB", size, RED).convert(mode)


def close(pixels: np.ndarray, colour: tuple[int, int, int], by: int = 3) -> bool:
    return bool((np.abs(pixels.astype(int) - np.array(colour)) <= by).all())


def test_rgb_comes_back_exactly() -> None:
    pixels = read_image(saved(Image.fromarray(NOISE), "PNG"))
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert np.array_equal(pixels, NOISE)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_formats(form: str, tmp_path: Path) -> None:
    needs(form)
    path = tmp_path / "picture.bin"  # the name does not matter
    path.write_bytes(saved(plain(), form))
    pixels = read_image(path)
    assert pixels.shape == (24, 20, 3)
    assert close(pixels, RED, by=6)
    assert np.array_equal(read_image(str(path)), pixels)


def test_cmyk_palette_and_grey() -> None:
    assert close(read_image(saved(plain("CMYK"), "JPEG")), RED, by=6)
    assert close(read_image(saved(plain().quantize(4), "PNG")), RED)
    for mode in ("L", "1"):
        pixels = read_image(saved(plain(mode), "PNG"))
        assert pixels.shape == (24, 20, 3)
    assert close(read_image(saved(plain("L"), "JPEG")), (82, 82, 82))


def test_sixteen_bits_are_rounded_not_clipped() -> None:
    deep = np.array([[0, 257, 300, 32768, 65535]], dtype=np.uint16)
    pixels = read_image(saved(Image.fromarray(deep), "PNG"))
    assert pixels[0, :, 0].tolist() == [0, 1, 1, 128, 255]
    rows = b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0)  # 1x1 pixel, 16 bits of red, green, blue
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = read_image(png((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    assert pixels.tolist() == [[[255, 128, 0]]]


def test_transparency_lies_on_white() -> None:
    image = plain("RGBA")
    image.putalpha(0)
    assert close(read_image(saved(image, "PNG")), (255, 255, 255), by=0)
    image.putalpha(128)
    half = tuple((c * 128 + 255 * 127) // 255 for c in RED)
    assert close(read_image(saved(image, "PNG")), half, by=1)  # type: ignore[arg-type]
    assert close(read_image(saved(image, "WEBP", lossless=True)), half, by=1)  # type: ignore[arg-type]
    assert close(read_image(saved(Image.new("LA", (4, 4), (0, 0)), "PNG")), (255,) * 3, by=0)  # type: ignore[arg-type]
    clear = saved(plain().quantize(4), "PNG", transparency=0)
    assert close(read_image(clear), (255, 255, 255), by=0)
    grey = saved(Image.fromarray(np.full((4, 4), 1000, np.uint16)), "PNG", transparency=1000)
    assert close(read_image(grey), (255, 255, 255), by=0)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_sets_the_picture_upright(form: str, turn: int) -> None:
    needs(form)
    upright = Image.new("RGB", (32, 16), "black")
    upright.paste("white", (0, 0, 16, 8))  # the upper left quarter
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(undo[turn])) if turn > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = read_image(saved(stored, form, exif=exif))
    assert pixels.shape == (16, 32, 3)
    assert pixels[4, 8].min() > 240
    assert max(pixels[4, 24].max(), pixels[12, 8].max(), pixels[12, 24].max()) < 16


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF"])
def test_animations_are_refused_or_give_their_first_frame(form: str) -> None:
    needs(form)
    options = {"lossless": True} if form == "WEBP" else {}
    second = Image.new("RGB", (20, 24))
    data = saved(plain(), form, save_all=True, append_images=[second], **options)
    with pytest.raises(ImageError, match="animated"):
        read_image(data)
    assert close(read_image(data, animated="first"), RED, by=6)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png((b"IHDR", header), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b""))


def jpeg_with(
    stuffing: bytes = b"",
    size: tuple[int, int] = (16, 16),
    scans: int = 1,
    frame: int = 0xC2,
) -> bytes:
    """A progressive JPEG with something put before its frame, or with empty scans at its end."""
    data = saved(plain(size=size), "JPEG", progressive=True, quality=5)
    at = data.index(b"\xff\xc2")
    start = data[:at] + stuffing + bytes([0xFF, frame]) + data[at + 2 : -2]
    empty = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 63, 0x10) + b"\0"
    return start + empty * (scans - start.count(b"\xff\xda")) + b"\xff\xd9"


def webp_of(width: int, height: int) -> bytes:
    data = bytearray(saved(plain("RGBA"), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"))
    assert data[12:16] == b"VP8X"
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"hello, I am a picture", "not a JPEG, PNG, WebP or AVIF"),
        (saved(plain(), "GIF"), "not a JPEG"),
        (saved(plain(), "BMP"), "not a JPEG"),
        (saved(plain(), "TIFF"), "not a JPEG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a JPEG"),
        (saved(Image.fromarray(NOISE), "PNG")[:-200], "PNG file is damaged"),
        (saved(Image.fromarray(NOISE), "JPEG")[:-100], "JPEG file is damaged"),
        (saved(Image.fromarray(NOISE), "WEBP")[:-100], "WebP file is damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff\xe0", "damaged"),
        (bomb(50_000, 50_000), "50000x50000 pixels; 10,000,000 are allowed"),
        (bomb(2**31 - 1, 2**31 - 1), "pixels"),
        (bomb(0, 5), "no pixels|damaged"),
        (b"\xff\xd8" + b"\xff\xda\0\2" * 101, "101 scans or more"),
        (jpeg_with(scans=101), "101 scans or more, too many"),
        (jpeg_with(size=(4000, 2500), scans=31), "31 scans or more, too many"),
        (jpeg_with(b"\xff" * 10**6), "junk between"),
        (jpeg_with(bytes(10**6)), "junk between"),
        (jpeg_with(b"\xff\xef\0\2" * 30_000), "more than 20,000 segments"),
        (jpeg_with(frame=0xC9), "arithmetic"),
        (png((b"IHDR", bytes(13)), *[(b"abCd", b"")] * 30_000), "more than 20,000 chunks"),
        (webp_of(16_383, 16_383), "16383x16383 pixels"),
        (bytes(LARGEST_FILE + 1), "larger than 32 MiB"),
    ],
)
def test_refusals_have_a_reason(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        read_image(data)
    assert " at 0x" not in str(caught.value)


def test_the_limit_can_be_set() -> None:
    data = saved(plain(), "PNG")
    assert read_image(data, largest=480).shape == (24, 20, 3)
    with pytest.raises(ImageError, match="20x24 pixels; 479 are allowed"):
        read_image(data, largest=479)


def test_a_missing_file_is_an_error_of_the_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")


def test_broken_exif_is_silent_and_harmless() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 50
    data = bytearray(saved(plain(), "JPEG", exif=exif))
    place = data.index(b"Exif\0\0") + 6
    data[place + 8 : place + 40] = b"\xff" * 32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert close(read_image(bytes(data)), RED, by=6)


def test_progressive_and_its_film_behind_it() -> None:
    data = saved(Image.fromarray(NOISE).resize((200, 240)), "JPEG", progressive=True)
    assert read_image(data).shape == (240, 200, 3)
    # Phones put a film behind the picture, in which anything may look like a scan.
    assert np.array_equal(read_image(data + b"\xff\xda\0\2" * 1000), read_image(data))


def avif(image: Image.Image, **options: object) -> bytes:
    needs("AVIF")
    return saved(image, "AVIF", **options)


def test_frames_of_avif_are_measured() -> None:
    assert frame_pixels(avif(plain(size=(300, 200)))) == 60_000
    assert frame_pixels(avif(Image.new("RGBA", (300, 200), (1, 2, 3, 4)))) == 120_000
    film = avif(plain(size=(40, 50)), save_all=True, append_images=[Image.new("RGB", (40, 50))])
    assert frame_pixels(film) == 2000


def test_an_avif_that_lies_about_its_size_is_refused() -> None:
    data = avif(Image.new("RGB", (600, 500), RED), speed=10)
    place = data.index(b"ispe") + 8
    lie = data[:place] + struct.pack(">II", 64, 64) + data[place + 8 :]
    with pytest.raises(ImageError, match="larger frames than it says"):
        read_image(lie, largest=64 * 64)
    # Found by mutation: items of 65,535 pieces whose offsets and lengths take no bytes.
    place = data.index(b"iloc") + 4
    many = struct.pack(">IBBH", 0, 0, 0, 65_535) + struct.pack(">HHH", 1, 0, 65_535) * 9
    with pytest.raises(ImageError, match="more than 20,000 pieces"):
        frame_pixels(data[:place] + many + data[place + len(many) :])
    # And what is cut off or bent anywhere is refused, never a crash of the reader of boxes.
    rng = random.Random(3)
    for _ in range(300):
        bent = bytearray(data)
        bent[rng.randrange(min(len(data), 330))] = rng.randrange(256)
        with contextlib.suppress(ImageError):
            frame_pixels(bytes(bent[: rng.choice([len(data), rng.randrange(len(data))])]))


def test_what_lies_beyond_a_strip_is_the_same() -> None:
    tall = np.random.default_rng(1).integers(0, 256, (700, 9, 4), dtype=np.uint8)
    pixels = read_image(saved(Image.fromarray(tall), "PNG"))
    alpha = tall[..., 3:].astype(float) / 255
    want = tall[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(pixels - want).max() <= 1


@pytest.mark.parametrize(
    ("form", "mode"), [("WEBP", "RGBA"), ("PNG", "RGBA"), ("JPEG", "CMYK"), ("AVIF", "RGBA")]
)
def test_the_largest_picture_needs_little_memory(form: str, mode: str, tmp_path: Path) -> None:
    needs(form)
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of memory is told by Linux only")
    quick = {"PNG": {"compress_level": 1}, "AVIF": {"speed": 10}, "WEBP": {"method": 0}}
    path = tmp_path / "large"
    path.write_bytes(saved(plain(mode, (4000, 2500)), form, **quick.get(form, {})))
    code = f"""
from pathlib import Path
from kaogen.images import read_image
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
Path("/proc/self/clear_refs").write_text("5")
base = peak()
assert read_image({str(path)!r}).shape == (2500, 4000, 3)
print(peak() - base)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 256 * 1024
