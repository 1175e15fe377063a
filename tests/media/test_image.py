import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from opencodi.errors import ArgumentError, DamagedFile, OverLimit, WrongKind
from opencodi.media import Limits, fit_square, read_image, write_image

from .samples import cut, grey_levels, picture, psnr


def test_png_and_webp_keep_every_pixel(tmp_path):
    for name in ("a.png", "a.webp"):
        write_image(picture(), tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name), picture())


@pytest.mark.parametrize(("name", "at_least"), [("a.jpg", 38.0), ("a.jpeg", 38.0), ("a.gif", 30.0)])
def test_lossy_kinds_stay_close(tmp_path, name, at_least):
    write_image(picture(), tmp_path / name)
    assert psnr(np.array(read_image(tmp_path / name)), np.array(picture())) > at_least


def test_the_content_counts_not_the_name(tmp_path):
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), picture())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_stands_upright_whichever_way_the_camera_was_held(tmp_path, orientation):
    # What a camera stores so that undoing the orientation gives the upright picture (EXIF 2.3, tag 0x0112).
    store = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = picture().transpose(store[orientation]) if orientation in store else picture()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", quality=95, exif=exif)
    image = read_image(tmp_path / "a.jpg")
    assert image.size == picture().size
    assert psnr(np.array(image), np.array(picture())) > 32


def test_transparency_is_laid_over_white(tmp_path):
    rgba = Image.new("RGBA", (4, 4), (0, 0, 0, 0))  # invisible black must not turn black
    rgba.putpixel((1, 0), (255, 0, 0, 255))
    rgba.putpixel((2, 0), (0, 0, 255, 128))
    for name in ("a.png", "a.webp"):
        rgba.save(tmp_path / name, lossless=True)
        image = read_image(tmp_path / name)
        assert image.mode == "RGB"
        assert [image.getpixel((x, 0)) for x in range(3)] == [(255, 255, 255), (255, 0, 0), (127, 127, 255)]


def test_the_transparent_colour_of_a_palette_is_white(tmp_path):
    palette = Image.new("P", (4, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2, 0])
    palette.save(tmp_path / "a.gif", transparency=1)
    palette.save(tmp_path / "a.png", transparency=1)
    for name in ("a.gif", "a.png"):
        image = read_image(tmp_path / name)
        assert [image.getpixel((x, 0)) for x in range(4)] == [(255, 0, 0), (255, 255, 255), (0, 0, 255), (255, 0, 0)]


def test_an_animation_read_as_an_image_is_its_first_frame(tmp_path):
    first, *others = grey_levels([10, 120, 240])
    for name in ("a.gif", "a.webp", "a.png"):
        first.save(tmp_path / name, save_all=True, append_images=others, duration=100)
        assert abs(read_image(tmp_path / name).getpixel((5, 5))[0] - 10) <= 2


@pytest.mark.parametrize("mode", ["L", "1", "LA", "CMYK", "I;16"])
def test_other_colour_modes_become_rgb(tmp_path, mode):
    grey = np.full((4, 4), 128, np.uint8)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    found = read_image(path)
    assert found.mode == "RGB"
    level = np.asarray(found).astype(int)
    assert abs(level.mean() - 128) < 3 if mode != "1" else set(np.unique(level)) <= {0, 255}


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_a_truncated_picture_is_damaged(tmp_path, name, keep):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    write_image(Image.fromarray(noise), tmp_path / name)
    with pytest.raises(DamagedFile, match=name):
        read_image(cut(tmp_path / name, keep))


def test_a_png_with_a_wrong_checksum_is_damaged(tmp_path):
    write_image(picture(), tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DamagedFile):
        read_image(tmp_path / "a.png")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, side):
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(OverLimit, match="pixels"):
        read_image(tmp_path / "bomb.png")


def test_the_pixel_limit_is_exact(tmp_path):
    write_image(picture(20, 10), tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", Limits(max_pixels=200)).size == (20, 10)
    with pytest.raises(OverLimit, match="20 x 10 = 200 pixels, the limit is 199"):
        read_image(tmp_path / "a.png", Limits(max_pixels=199))


@pytest.mark.parametrize(("name", "at_least"), [("a.bmp", 99), ("a.avif", 35)])
def test_kinds_that_are_not_written_are_read(tmp_path, name, at_least):
    picture().save(tmp_path / name)
    assert min(99, psnr(np.array(read_image(tmp_path / name)), np.array(picture()))) >= at_least


def test_kinds_that_are_not_read_are_refused_by_name(tmp_path):
    picture().save(tmp_path / "a.tiff")
    with pytest.raises(WrongKind, match=r"is a TIFF picture, give an image \(PNG, JPEG"):
        read_image(tmp_path / "a.tiff")
    (tmp_path / "a.svg").write_text('<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>')
    with pytest.raises(WrongKind, match="is an SVG drawing"):
        read_image(tmp_path / "a.svg")
    (tmp_path / "a.png").write_text("<html><body>404 not found</body></html>")
    with pytest.raises(WrongKind, match="of a kind that is not read here"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(("name", "missing"), [("a.png", 12), ("a.gif", 1)])
def test_a_picture_without_its_trailer_is_whole(tmp_path, name, missing):
    write_image(picture(), tmp_path / name)
    whole = np.array(read_image(tmp_path / name))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-missing])
    assert np.array_equal(read_image(tmp_path / name), whole)


@pytest.mark.parametrize("declared", [0, 10, 10**6])
def test_a_webp_with_a_wrong_length_in_its_header_is_whole(tmp_path, declared):
    write_image(picture(), tmp_path / "a.webp")
    content = (tmp_path / "a.webp").read_bytes()
    if declared == 10:  # right, but with bytes after the end
        content += b"junk" * 10
    else:
        content = content[:4] + struct.pack("<I", declared) + content[8:]
    (tmp_path / "a.webp").write_bytes(content)
    assert np.array_equal(read_image(tmp_path / "a.webp"), picture())


def test_only_pictures_are_written(tmp_path):
    with pytest.raises(ArgumentError, match="ndarray"):
        write_image(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png")


def test_fit_square_keeps_the_whole_picture_and_its_proportions_on_white():
    wide = fit_square(Image.new("RGB", (64, 32), (255, 0, 0)), 16)
    assert wide.size == (16, 16)
    assert [wide.getpixel((8, y)) for y in (0, 8, 15)] == [(255, 255, 255), (255, 0, 0), (255, 255, 255)]
    tall = fit_square(Image.new("RGB", (32, 64), (255, 0, 0)), 16)
    assert [tall.getpixel((x, 8)) for x in (0, 8, 15)] == [(255, 255, 255), (255, 0, 0), (255, 255, 255)]


def test_fit_square_leaves_a_picture_of_that_size_alone():
    assert np.array_equal(fit_square(picture(64, 64), 64), picture(64, 64))
