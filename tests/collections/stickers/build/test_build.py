"""Making and checking the stickers collection, from tiny packages written here into a cache; nothing is fetched."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from opencodi import cli
from opencodi.collections.stickers.build import build as building
from opencodi.collections.stickers.build.check import check, damaged_lists, reference
from opencodi.collections.stickers.build.compare import compare
from opencodi.collections.stickers.build.drawings import drawings
from opencodi.collections.stickers.build.emoji import normalise, read_emoji
from opencodi.collections.stickers.build.fetch import checksum, fetch
from opencodi.collections.stickers.build.photos import LIST, letterbox
from opencodi.collections.stickers.build.shards import Item, Plan, read_items, write_shard
from opencodi.collections.stickers.build.sources import ANIMATIONS, EMOJI_NAMES, STYLES, Package
from opencodi.collections.stickers.build.withheld import Withheld
from opencodi.collections.stickers.build.videos import motion, read_loop
from opencodi.errors import ArgumentError, CollectionError

DATA = Path(__file__).parents[3] / "data"
SHARDS = ("images", "images-skin-tones", "videos")
EMOJI = {
    # withheld according to splits.json: the star in Noto and its clips, the tile in OpenMoji, Santa in Fluent and as below
    "1F31F": ("glowing star", 5, "🌟"),
    "1F004": ("mahjong red dragon", 6, "🀄"),
    "1F385": ("Santa Claus", 1, "🎅"),
    "1F600": ("grinning face", 0, "😀"),
}
TONES = {"1F385-1F3FD": "medium", "1F385-1F3FF": "dark"}
"""Medium is withheld in Fluent, dark in Noto."""


def svg(number: int) -> dict:
    """An icon whose colour and place depend on its number."""
    body = f'<rect x="{number}" y="4" width="18" height="24" fill="#{40 * number + 30:02x}8020"/>'
    return {"body": body, "width": 32, "height": 32}


def animation(file: Path, frames: int = 20, step: int = 2) -> None:
    pictures = []
    for index in range(frames):
        picture = Image.new("RGBA", (96, 96), (0, 0, 0, 0))
        ImageDraw.Draw(picture).ellipse((step * index, 20, step * index + 40, 60), fill=(200, 60, 20, 255))
        pictures.append(picture)
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=50, lossless=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """A cache in which every package of pictures and clips lies unpacked, with a handful of emoji."""
    cache = tmp_path_factory.mktemp("cache")

    def folder(package: Package) -> Path:
        path = cache / "unpacked" / package.stem
        path.mkdir(parents=True)
        return path

    base = folder(EMOJI_NAMES)
    (base / "meta").mkdir()
    (base / "en").mkdir()
    (base / "meta" / "groups.json").write_text(json.dumps({"subgroups": {"0": "some"}}))
    rows = [
        {"hexcode": code, "label": name, "group": group, "subgroup": 0, "emoji": emoji, "tags": ["thing"]}
        for code, (name, group, emoji) in EMOJI.items()
    ]
    rows[2]["skins"] = [{"hexcode": code, "label": tone, "emoji": "🎅"} for code, tone in TONES.items()]
    rows.append({"hexcode": "1F1EB", "label": "no concept: drawn nowhere", "group": 9, "emoji": "x"})
    rows.append({"hexcode": "1F3FB", "label": "a component", "group": 2, "emoji": "x"})
    (base / "en" / "data.json").write_text(json.dumps(rows))

    names = {code.lower(): name.lower().replace(" ", "-") for code, (name, *_) in EMOJI.items()}
    names |= {code.lower(): f"santa-{tone}" for code, tone in TONES.items()}
    for style, package in STYLES.items():
        path = folder(package)
        if style == "fluent-3d":
            (path / "assets").mkdir()
            for number, code in enumerate(names):
                colour = (250, 40 * number, 0, 255)
                Image.new("RGBA", (256, 256), colour).save(path / "assets" / f"{code}.webp", lossless=True)
            continue
        icons = {name: svg(number) for number, name in enumerate(names.values())}
        (path / "icons.json").write_text(json.dumps({"icons": icons, "aliases": {}}))
        if style not in ("fluent-emoji", "fxemoji", "emojione-v1"):
            (path / "chars.json").write_text(json.dumps(names))
    for package in ANIMATIONS:
        (folder(package) / "assets").mkdir()
    moving = cache / "unpacked" / ANIMATIONS[0].stem / "assets"
    for code in ("1f31f", "1f385", "1f600"):
        animation(moving / f"{code}.webp")
    animation(moving / "1f004.webp", step=0)
    return cache


def build(folder: Path, cache: Path, *only: str) -> dict[str, int | None]:
    return building.build(folder, cache, only or SHARDS, say=lambda line: None)


@pytest.fixture(scope="module")
def made(cache, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    build(folder, cache)
    return folder


def records(folder: Path, shard: str) -> dict[str, dict]:
    return {key: json.loads(record) for key, _, _, record in read_items(folder / f"{shard}.tar.gz")}


def test_every_drawing_of_every_concept_is_a_picture_except_the_withheld_ones(made):
    found = records(made, "images")
    pairs = {(record["concept"], record["style"]) for record in found.values()}
    expected = {(code.lower(), style) for code in EMOJI for style in STYLES}
    expected -= {("1f31f", "noto"), ("1f004", "openmoji")}
    expected -= {("1f385", style) for style in STYLES if style.startswith("fluent")}
    assert pairs == expected and len(found) == len(pairs)
    toned = {(record["style"], record["tone"]) for record in records(made, "images-skin-tones").values()}
    assert ("noto", "medium") in toned and ("fluent-3d", "dark") in toned
    assert not toned & {("noto", "dark"), ("fluent-3d", "medium"), ("fluent-emoji-flat", "medium")}


def test_withheld_items_keep_their_numbers_so_keys_do_not_depend_on_what_is_withheld(made):
    found = records(made, "images")
    order = [(code.lower(), style) for code in EMOJI for style in STYLES]
    for key, record in found.items():
        assert order[int(key.removeprefix("images-"))] == (record["concept"], record["style"])


def test_pictures_are_the_drawings_at_64_pixels(made):
    media = {key: data for key, _, data, _ in read_items(made / "images.tar.gz")}
    (key,) = (k for k, r in records(made, "images").items() if (r["code"], r["style"]) == ("1f600", "noto"))
    picture = np.asarray(Image.open(io.BytesIO(media[key])).convert("RGBA")).astype(int)
    assert picture.shape == (64, 64, 4)
    # number 3 of the icons: x from 3 to 21 and y from 4 to 28 of 32, colour 968020
    assert picture[10:54, 8:40, 3].min() == 255 and picture[:, 44:, 3].max() == 0
    assert np.abs(picture[32, 20, :3] - (0x96, 0x80, 0x20)).max() < 8


def test_a_larger_collection_has_the_same_items_at_128_pixels(made, cache, tmp_path):
    shards = ("images", "videos")
    building.build(tmp_path, cache, shards, say=lambda line: None, size=128)
    assert records(tmp_path, "images") == records(made, "images")
    assert records(tmp_path, "videos").keys() == records(made, "videos").keys()
    for shard, size in (("images", (128, 128)), ("videos", (128, 2048))):
        for _, _, data, _ in read_items(tmp_path / f"{shard}.tar.gz"):
            assert Image.open(io.BytesIO(data)).size == size
    again = building.build(tmp_path, cache, shards, say=lambda line: None, size=64)
    assert None not in again.values(), "pictures of another size are not taken for finished ones"
    with pytest.raises(ArgumentError, match="--size: 100"):
        building.build(tmp_path, cache, shards, size=100)


def test_clips_are_one_loop_of_moving_animations_and_withheld_concepts_stand_still(made):
    (record,) = [r for r in records(made, "videos").values() if r["concept"] == "1f600"]
    assert (record["src_frames"], record["src_ms"], record["group"]) == (20, 16 * 50 + 4 * 41, "smileys")
    assert record["motion"] > 1
    concepts = {r["concept"] for r in records(made, "videos").values()}
    assert concepts == {"1f385", "1f600"}, "1f31f is withheld, 1f004 does not move"
    strip = Image.open(io.BytesIO(next(data for _, _, data, _ in read_items(made / "videos.tar.gz"))))
    assert strip.size == (64, 1024)


def test_the_same_packages_make_the_same_bytes(made, cache, tmp_path):
    build(tmp_path, cache)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.is_file()} == {
        f.name: f.read_bytes() for f in made.iterdir() if f.is_file()
    }


def test_finished_shards_are_skipped_and_a_damaged_one_is_made_again(cache, tmp_path):
    assert build(tmp_path, cache) == {"images": 35, "images-skin-tones": 7, "videos": 2}
    before = {name: (tmp_path / f"{name}.tar.gz").stat().st_mtime_ns for name in SHARDS}
    good = (tmp_path / "videos.tar.gz").read_bytes()
    (tmp_path / "videos.tar.gz").write_bytes(good[: len(good) // 2])
    assert build(tmp_path, cache) == {"images": None, "images-skin-tones": None, "videos": 2}
    assert (tmp_path / "videos.tar.gz").read_bytes() == good
    assert (tmp_path / "images.tar.gz").stat().st_mtime_ns == before["images"]


def counting_plan(made: list[int], stop_at: int | None = None) -> Plan:
    def make(unit: int):
        if unit == stop_at:
            raise KeyboardInterrupt
        made.append(unit)
        for half in range(2):
            yield Item(bytes([unit, half]), "bin", {"unit": unit, "half": half})

    return Plan("things", ("a 1",), range(10), make, units_per_part=3)


def test_a_stopped_shard_goes_on_after_its_last_finished_part(tmp_path):
    first, second, whole = [], [], []
    with pytest.raises(KeyboardInterrupt):
        write_shard(counting_plan(first, stop_at=7), tmp_path, lambda fields: True)
    assert not (tmp_path / "things.tar.gz").exists()
    assert write_shard(counting_plan(second), tmp_path, lambda fields: fields["unit"] != 4) == 20
    assert first == list(range(7)) and second == [6, 7, 8, 9]
    (tmp_path / "other").mkdir()
    assert write_shard(counting_plan(whole), tmp_path / "other", lambda fields: True) == 20
    assert (tmp_path / "things.tar.gz").read_bytes() == (tmp_path / "other" / "things.tar.gz").read_bytes()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A program called npm that packs one small file, and tells how often it was called."""
    source = tmp_path / "registry.tgz"
    with tarfile.open(source, "w:gz") as archive:
        member = tarfile.TarInfo("package/words.txt")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"hello"))
    calls = tmp_path / "calls"
    calls.touch()
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\ncp {source} thing-1.0.0.tgz\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return source, lambda: len(calls.read_text().splitlines())


def test_a_package_is_fetched_once_and_again_if_its_file_was_damaged(npm, tmp_path):
    source, calls = npm
    package = Package("npm", "@some/thing", "1.0.0", 5, checksum(source, "sha512"), "MIT")
    cache = tmp_path / "cache"
    folder = fetch(package, cache)
    assert (folder / "words.txt").read_text() == "hello"
    assert fetch(package, cache) == folder and calls() == 1
    file = cache / "files" / "some-thing-1.0.0.tgz"
    file.write_bytes(b"half")
    (folder / "words.txt").unlink()
    folder.rmdir()
    assert (fetch(package, cache) / "words.txt").is_file() and calls() == 2
    assert checksum(file, "sha512") == package.checksum


def test_another_checksum_than_expected_is_one_sentence_and_leaves_nothing(npm, tmp_path):
    package = Package("npm", "@some/thing", "1.0.0", 5, "sha512-else", "MIT")
    with pytest.raises(CollectionError, match=r"@some/thing 1\.0\.0: the npm registry sent .* instead of sha512-else"):
        fetch(package, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_what_the_registry_says_is_passed_on(npm, tmp_path):
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\necho 'npm warn old' >&2\necho 'no such version' >&2\nexit 1\n")
    with pytest.raises(CollectionError, match=r"noto 1\.2\.9: cannot be fetched with npm pack: no such version$"):
        fetch(STYLES["noto"], tmp_path / "cache")


def test_a_missing_program_is_named_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CollectionError, match=r"needs npm: on Debian, apt-get install npm"):
        fetch(STYLES["noto"], tmp_path / "cache")
    recipe = building.Recipe((), lambda shop, made_from: None, programs=("flite", "espeak-ng"))
    monkeypatch.setitem(building.RECIPES, "speech", recipe)
    with pytest.raises(
        CollectionError, match=r"speech needs flite, espeak-ng: on Debian, apt-get install flite espeak"
    ):
        build(tmp_path / "out", tmp_path / "cache", "speech")
    assert not (tmp_path / "out").exists()


def test_an_unknown_shard_is_refused_with_the_names_there_are(tmp_path):
    with pytest.raises(ArgumentError, match="'picture'; there are images, images-skin-tones, videos"):
        build(tmp_path, tmp_path, "picture")


def test_check_tells_counts_damage_and_withheld_items(made, cache, tmp_path):
    reports = {report.name: report for report in check(made)}
    assert (reports["images"].items, reports["images"].expected) == (35, 12722)
    assert (reports["images"].state, reports["images"].records) == ("ok", "differ")
    assert reports["speech"].state == "missing" and damaged_lists(made) == []

    build(tmp_path, cache, "images", "videos")
    (tmp_path / "images.tar.gz").write_bytes(b"\x1f\x8b nothing")
    (tmp_path / "videos.tar.gz").unlink()
    (tmp_path / "splits.json").write_text("{}")
    leaked = Plan("videos-skin-tones", (), ["1f31f"], lambda code: [Item(b"", "webp", {"concept": code})])
    write_shard(leaked, tmp_path, lambda fields: True)
    reports = {report.name: report for report in check(tmp_path)}
    assert reports["images"].state.startswith("damaged: not the bytes")
    assert reports["videos"].state == "damaged: the file is gone"
    assert reports["videos-skin-tones"].withheld == ("videos-skin-tones-000000",)
    assert not any(reports[name].sound for name in ("images", "videos", "videos-skin-tones"))
    assert damaged_lists(tmp_path) == ["splits.json"]


def test_a_collection_without_checksums_is_read_whole():
    reports = {report.name: report for report in check(DATA)}
    assert all(report.state == "no checksum" and report.sound for report in reports.values())
    assert reports["images"].items < reference()["images"]["items"]


def test_two_collections_are_compared_by_key_record_and_pixel(made, tmp_path):
    (found,) = [row for row in compare(made, made) if row.name == "images"]
    assert (found.items, found.keys, found.records, found.media, found.difference) == (35, 35, 35, 35, 0)

    def darker(unit):
        _, suffix, data, record = unit
        with Image.open(io.BytesIO(data)) as picture:
            pixels = np.asarray(picture.convert("RGBA")).copy()
        pixels[..., 0] //= 2
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=90)
        return [Item(file.getvalue(), suffix, json.loads(record))]

    items = list(read_items(made / "images-skin-tones.tar.gz"))
    write_shard(Plan("images-skin-tones", (), items, darker), tmp_path, lambda fields: True)
    (found,) = compare(tmp_path, made)
    assert found.keys <= 7 and found.media == 0 and found.difference > 3


def test_the_command_line_checks_builds_and_says_what_is_wrong(made, cache, tmp_path, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main(["data", *map(str, arguments)])
        return stop.value.code, *capsys.readouterr()

    code, out, err = run("build", "stickers", "--output", tmp_path, "--cache", cache, "--only", "videos")
    assert (code, err) == (0, "") and "videos: 2 items" in out
    code, out, err = run("check", tmp_path, "--against", made)
    assert (code, err) == (0, "") and "same record" in out
    (tmp_path / "videos.tar.gz").write_bytes(b"")
    code, out, err = run("check", tmp_path)
    assert code == 2 and "videos cannot be used" in err and err.count("\n") == 1
    for arguments in (["build", "stamps", "--output", tmp_path], ["check", tmp_path / "no"], ["check", cache]):
        code, _, err = run(*arguments)
        assert code == 2 and err.startswith("error: ") and err.count("\n") == 1


def test_names_find_drawings_in_sets_that_do_not_list_codes(cache):
    emoji = read_emoji(cache / "unpacked" / EMOJI_NAMES.stem)
    found = drawings({style: cache / "unpacked" / package.stem for style, package in STYLES.items()}, emoji)
    assert set(found["fxemoji"]) == set(found["noto"]) >= {"1f600", "1f385"}
    assert emoji["1f385-1f3ff"].tone == "dark" and emoji["1f385-1f3ff"].base == "1f385"
    assert "1f3fb" not in emoji
    assert normalise("1F441-FE0F-200D-1F5E8") == "1f441-200d-1f5e8"


def test_still_animations_are_no_clips(tmp_path):
    animation(tmp_path / "a.webp", frames=40)
    frames, number, _ = read_loop(tmp_path / "a.webp")
    assert frames.shape == (16, 64, 64, 4) and number == 40 and motion(frames) > 1
    assert motion(frames[:1].repeat(16, axis=0)) == 0
    Image.new("RGBA", (96, 96)).save(tmp_path / "b.webp")
    assert read_loop(tmp_path / "b.webp") is None


def test_photographs_keep_their_proportions_on_clear_white():
    wide = letterbox(Image.new("RGBA", (200, 50), (10, 20, 30, 255)))
    assert wide.size == (64, 64) and wide.getbbox(alpha_only=True) == (0, 24, 64, 40)
    assert wide.getpixel((0, 0)) == (255, 255, 255, 0)
    assert len(LIST.read_text().splitlines()) == reference()["photos"]["items"]


def test_what_is_withheld_is_recognised_in_every_shard():
    held = Withheld.load()
    fields = {"concept": "1f004", "style": "openmoji", "tone": None}
    assert not held.keeps("images", fields) and held.keeps("images", fields | {"style": "noto"})
    concept, source, detail = sorted(held.sound_source)[0]
    sound = {"concept": concept, "source": source}
    assert not held.keeps("sounds", sound | {"detail": f"{detail}#3"})
    assert not held.keeps("sounds", sound | {"detail": f"{detail} key 60"})
    assert held.keeps("sounds", sound | {"detail": "another.ogg#0"})
    assert not held.keeps("speech", {"voice": "fl-rms"}) and held.keeps("speech", {"voice": "joe"})
