"""One way in for pictures: an object from Pillow means what its file means, whatever its mode."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from opencodi.errors import ArgumentError, OverLimit
from opencodi.latents.image import to_pixel_values as codec_pixels
from opencodi.media import Limits, fit_square, normalise, read_image
from opencodi.prompts.clip import _centre_square
from opencodi.prompts.image import to_pixel_values

from .samples import picture, psnr

CASES = Path(__file__).parent / "cases"
HALF_RED = (255, 127, 127)


def sticker() -> Image.Image:
    """Left to right: nothing, red, half a red."""
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    image.putpixel((2, 0), (255, 0, 0, 128))
    return image


def colours(image: Image.Image) -> list[tuple[int, ...]]:
    return [image.getpixel((x, 0)) for x in range(image.width)]


def test_an_object_is_seen_as_its_file_is():
    path = CASES / "sticker-rgba.png"
    with Image.open(path) as opened:
        assert opened.mode == "RGBA"
        seen = to_pixel_values([opened, read_image(path)], 64)
        assert seen[0].equal(seen[1])
        assert _centre_square(opened, 64).equal(_centre_square(read_image(path), 64))
        assert codec_pixels(fit_square(opened, 64)).equal(seen[0])
        assert opened.mode == "RGBA", "the given object is left alone"
    assert tuple(np.asarray(read_image(path))[0, 0]) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["RGBA", "RGBa"])
def test_colours_lie_over_white(mode):
    white, red, half = colours(normalise(sticker().convert(mode)))
    assert (white, red) == ((255, 255, 255), (255, 0, 0))
    assert np.abs(np.subtract(half, HALF_RED)).max() <= 1


@pytest.mark.parametrize("mode", ["LA", "La"])
def test_greys_lie_over_white(mode):
    grey = Image.merge("LA", (Image.new("L", (3, 1), 0), Image.fromarray(np.array([[0, 255, 128]], np.uint8))))
    assert [colour[0] for colour in colours(normalise(grey.convert(mode)))] == [255, 0, 127]


@pytest.mark.parametrize("mode", ["P", "PA"])
def test_palettes_lie_over_white(mode):
    if mode == "P":
        image = Image.new("P", (3, 1))
        image.putpalette([255, 0, 0, 0, 255, 0, 255, 0, 0])
        image.putdata([1, 0, 2])
        image.info["transparency"] = bytes([255, 0, 128])
    else:
        image = Image.new("PA", (3, 1))
        image.putpalette([255, 0, 0])
        for x, alpha in enumerate((0, 255, 128)):
            image.putpixel((x, 0), (0, alpha))
    assert colours(normalise(image)) == [(255, 255, 255), (255, 0, 0), HALF_RED]


def test_a_transparent_colour_of_an_opaque_mode_is_white():
    image = Image.fromarray(np.array([[[0, 255, 0], [255, 0, 0]]], np.uint8))
    image.info["transparency"] = (0, 255, 0)
    assert colours(normalise(image)) == [(255, 255, 255), (255, 0, 0)]
    deep = Image.fromarray(np.array([[7, 65_535]], np.uint16))
    deep.info["transparency"] = 7
    assert colours(normalise(deep)) == [(255, 255, 255), (255, 255, 255)]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([0, 32_768, 65_535], np.uint16), [0, 128, 255]),
        (np.array([0, 100, 200], np.uint16), [0, 0, 1]),
        (np.array([-5, 128, 255], np.int32), [0, 128, 255]),
        (np.array([0, 32_768, 65_535], np.int32), [0, 128, 255]),
        (np.array([0, 2**30, 2**31 - 1], np.int32), [0, 128, 255]),
        (np.array([0, 0.5, 1], np.float32), [0, 128, 255]),
        (np.array([0, 128, 255], np.float32), [0, 128, 255]),
        (np.array([0, 32_768, 65_535], np.float32), [0, 128, 255]),
        (np.array([-1, 5e5, 1e6], np.float32), [0, 128, 255]),
    ],
    ids=["16", "16 dark", "I 8", "I 16", "I 31", "F 1", "F 255", "F 65535", "F more"],
)
def test_deep_greys_are_scaled_and_not_clipped(values, wanted):
    found = [colour[0] for colour in colours(normalise(Image.fromarray(values[None])))]
    assert np.abs(np.subtract(found, wanted)).max() <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_greys_that_are_not_finite_are_refused(bad):
    with pytest.raises(ArgumentError, match="not finite"):
        normalise(Image.fromarray(np.array([[0, bad, 1]], np.float32)))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "RGBX", "LAB", "1"])
def test_other_modes_become_rgb(mode):
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(picture(), ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    else:
        image = picture().convert(mode)
    found = normalise(image)
    assert found.mode == "RGB"
    assert psnr(np.array(found), np.array(picture())) > (5 if mode == "1" else 30)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_object_with_an_orientation_is_turned_as_its_file_is(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture().save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        assert np.array_equal(normalise(opened), read_image(tmp_path / "a.png"))
        assert not np.array_equal(normalise(opened), picture())


def test_damaged_exif_data_leave_the_picture_as_it_lies(tmp_path):
    picture().save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert np.array_equal(read_image(tmp_path / "a.png"), picture())


def test_transparency_is_kept_where_it_is_asked_for():
    kept = normalise(sticker(), alpha=True)
    assert kept.mode == "RGBA" and colours(kept) == colours(sticker())
    assert colours(normalise(picture(), alpha=True))[0] == (0, 0, 0, 255)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(size):
    with pytest.raises(ArgumentError, match="has no pixels"):
        to_pixel_values([Image.new("RGB", size)], 64)


def test_gigantic_sides_are_refused():
    with pytest.raises(OverLimit, match="limit of a side is 65,535"):
        normalise(Image.new("1", (70_000, 1)))


@pytest.mark.parametrize("name", ["wide-4000x3.png", "tall-1x30000.png"])
def test_a_line_is_a_prompt_and_can_be_reconstructed(name):
    image = read_image(CASES / name)
    for size in (16, 64, 512):
        square = fit_square(image, size)
        assert square.size == (size, size)
        assert np.asarray(square).min() < 255, "the line can still be seen"
    assert to_pixel_values([image], 64).shape == (1, 3, 64, 64)


def test_large_pictures_are_scaled_down_in_strips_without_a_seam():
    ramp = np.linspace(0, 255, 3_001).astype(np.uint8)
    image = Image.fromarray(np.repeat(ramp[:, None], 2_003, axis=1))
    small = normalise(image, limits=Limits(max_kept_pixels=50_000))
    assert small.size == (183, 273)
    assert np.array_equal(np.asarray(small)[..., 0], np.asarray(image.reduce(11)))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory as Linux counts it")
@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_a_panorama_takes_no_more_memory_than_its_own_pixels(tmp_path, mode):
    """A square of its own width would take 3.6 GB."""
    Image.new(mode, (30_000, 1_500)).save(tmp_path / "a.png")
    code = (
        "import resource, sys; from opencodi.media import fit_square, read_image\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak(); fit_square(read_image(sys.argv[1]), 64); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.png")], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 200
