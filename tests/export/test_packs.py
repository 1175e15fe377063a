"""Every exported file against the table of what the apps take, on real pictures, clips and sounds."""

import io
import json

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw

from opencodi import Audio, Video
from opencodi.errors import ArgumentError, DamagedFile, MediaError
from opencodi.export import TARGETS, Sticker, export_packs, find_stickers
from opencodi.export.encode import encode
from opencodi.export.targets import FileRule
from opencodi.media import write_audio, write_image, write_video


def apple(side: int = 64, shift: int = 0) -> Image.Image:
    """A red disc with a leaf on white, with smooth edges, as the bundled model draws."""
    large = Image.new("RGB", (side * 4, side * 4), "white")
    draw = ImageDraw.Draw(large)
    draw.ellipse([side * 0.6 + shift * 4, side, side * 3.4 + shift * 4, side * 3.7], fill="#d01828")
    draw.ellipse([side * 1.9 + shift * 4, side * 0.4, side * 2.6 + shift * 4, side * 1.1], fill="#2a8a3a")
    return large.resize((side, side), Image.Resampling.LANCZOS)


def hopping(num_frames: int = 16, fps: float = 8.0, grain: float = 0.0) -> Video:
    frames = np.stack([np.asarray(apple(shift=number % 5)) for number in range(num_frames)])
    if grain:
        noise = np.random.default_rng(0).normal(0, grain, frames.shape)
        noise[(frames > 230).all(-1)] = 0
        frames = (frames + noise).clip(0, 255).astype(np.uint8)
    seconds = num_frames / fps
    tone = (0.3 * np.sin(np.arange(int(16000 * seconds)) / 10)).astype(np.float32)
    return Video(frames, fps, Audio(tone, 16000))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder as `opencodi generate --number 3` leaves it, with a picture that has alpha besides."""
    folder = tmp_path_factory.mktemp("results")
    for number in range(3):
        write_image(apple(shift=number), folder / f"image-{number}.png")
        (folder / f"text-{number}.txt").write_text(["a red apple", "a rooster", "?"][number])
    write_video(hopping(), folder / "video-0.mp4")
    write_video(hopping(24, 6.0, grain=30), folder / "video-1.mp4")  # 4 s and much to encode
    write_audio(Audio(np.zeros(1600, np.float32), 16000), folder / "audio-2.wav")
    glass = np.zeros((40, 60, 4), np.uint8)
    glass[10:30, 10:50] = (0, 80, 200, 128)
    Image.fromarray(glass).save(folder / "glass.png")
    (folder / "result.json").write_text(json.dumps({"inputs": {"text": ["an apple tree"]}}))
    return folder


@pytest.fixture(scope="module", params=sorted(TARGETS))
def packs(request, results, tmp_path_factory):
    """(app, its packs)."""
    target = TARGETS[request.param]
    return target, export_packs(find_stickers(results), target, tmp_path_factory.mktemp("packs") / target.name, "Fruit")


def measure(path) -> dict:
    """What a file is, by libraries that did not write it where there are any."""
    if path.suffix == ".webm":
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert not container.streams.audio
            decoder = av.CodecContext.create("libvpx-vp9", "r")  # the only one that decodes alpha, too
            frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet) if packet.size]
            return {
                "kind": "webm" if stream.codec_context.name in ("vp9", "libvpx-vp9") else stream.codec_context.name,
                "side": {stream.width, stream.height},
                "seconds": container.duration / 1e6,
                "fps": float(stream.average_rate),
                "alpha": np.stack([frame.to_ndarray(format="rgba")[..., 3] for frame in frames]),
            }
    with Image.open(path) as image:
        count = getattr(image, "n_frames", 1)
        frames, seconds = [], []
        for number in range(count):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGBA"))[..., 3])
            seconds.append(image.info.get("duration", 0) / 1000)
        return {
            "kind": image.format.lower(),
            "side": set(image.size),
            "seconds": sum(seconds) if count > 1 else 0.0,
            "fps": 1 / min(seconds) if count > 1 else 0.0,
            "alpha": np.stack(frames),
        }


def hold(path, rule: FileRule) -> dict:
    found = measure(path)
    assert found["kind"] == rule.kind
    assert found["side"] == {rule.side}
    assert path.stat().st_size <= rule.max_bytes
    assert found["seconds"] <= rule.max_seconds + 1e-3
    assert found["fps"] <= rule.max_fps + 1e-3
    return found


def test_every_file_keeps_the_rules_of_the_app(packs):
    target, written = packs
    moving = stills = 0
    for pack in written:
        listed = json.loads((pack.folder / "pack.json").read_text())
        extras = {"pack.json", "contents.json"} & {file.name for file in pack.files}
        named = {entry["file"] for entry in listed["stickers"]} | {entry.get("sound") for entry in listed["stickers"]}
        assert {file.name for file in pack.files} == (named | {listed["icon"]} | extras) - {None}
        assert len(listed["stickers"]) <= target.stickers[1]
        if target.icon:
            hold(pack.folder / listed["icon"], target.icon)
        kinds = set()
        for entry in listed["stickers"]:
            assert 1 <= len(entry["emoji"]) <= target.max_emoji
            is_moving = entry["made_from"].startswith("video")
            kinds.add(is_moving)
            found = hold(pack.folder / entry["file"], target.moving if is_moving else target.still)
            assert (found["seconds"] > 0) == is_moving
            moving, stills = moving + is_moving, stills + (not is_moving)
            assert ("sound" in entry) == is_moving
            # The white ground is gone, the thing is there, in every frame
            assert (found["alpha"][:, 2:6, 2:6] < 8).all()
            assert (found["alpha"].max(axis=(1, 2)) > 120).all()
        assert target.mixed or len(kinds) == 1
    assert (moving, stills) == (2, 4)


def test_clips_keep_their_length_or_are_cut_at_the_limit(packs):
    target, written = packs
    seconds = {}
    for pack in written:
        for entry in json.loads((pack.folder / "pack.json").read_text())["stickers"]:
            if entry["made_from"].startswith("video"):
                seconds[entry["made_from"]] = measure(pack.folder / entry["file"])["seconds"]
    assert seconds["video-0"] == pytest.approx(2.0, abs=0.02)
    assert seconds["video-1"] == pytest.approx(min(4.0, target.moving.max_seconds), abs=0.05)


def test_tags_come_from_the_captions(packs):
    _, written = packs
    tags = {
        entry["made_from"]: (entry["emoji"][0], entry["caption"])
        for pack in written
        for entry in json.loads((pack.folder / "pack.json").read_text())["stickers"]
    }
    assert tags["image-1"] == ("🐓", "a rooster")
    assert tags["video-0"] == ("🍎", "a red apple")
    assert tags["image-2"][0] == "✨"  # "?" names nothing
    assert tags["glass"] == ("🍎", "an apple tree")  # without a text of its own: the words it was made from


def test_the_same_export_twice_has_the_same_bytes(results, tmp_path):
    stickers = [each for each in find_stickers(results) if each.name in ("image-0", "video-0")]
    once, again = (
        {file.name: file.read_bytes() for file in export_packs(stickers, TARGETS["telegram"], tmp_path / name)[0].files}
        for name in ("a", "b")
    )
    assert {name for name in once if once[name] != again[name]} <= {"sticker-02.webm"}
    assert len(once["sticker-02.webm"]) == len(again["sticker-02.webm"])  # the container writes a random number


def test_alpha_of_the_source_is_kept_and_shows_no_fringe(results):
    (glass,) = (each for each in find_stickers(results) if each.name == "glass")
    rule = TARGETS["discord"].still
    from opencodi.export.enlarge import fit

    large = fit(glass.frames, rule.side)[0]
    inside = large[large[..., 3] > 4]
    assert abs(int(np.median(inside[:, 3])) - 128) <= 2
    assert (np.abs(inside[:, :3].astype(int) - (0, 80, 200)) <= 2).all()  # no black or white mixed in at the edge


def test_the_white_ground_leaves_no_white_rim(results):
    from opencodi.export.cutout import cut_out
    from opencodi.export.enlarge import fit

    cut = fit(cut_out(np.asarray(apple())[None]), 512, crisp=True)[0].astype(int)
    rim = cut[(cut[..., 3] > 40) & (cut[..., 3] < 215)]
    assert len(rim) > 500
    assert np.percentile(rim[:, :3].min(-1), 95) < 90  # whitish would be 200 and more


def test_a_picture_without_a_white_ground_is_left_whole(tmp_path):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 200, (40, 30, 3), dtype=np.uint8))
    write_image(photo, tmp_path / "photo.png")
    (pack,) = export_packs(find_stickers(tmp_path), TARGETS["telegram"], tmp_path / "out")
    alpha = measure(pack.folder / "sticker-01.webp")["alpha"][0]
    assert (alpha == 255).all()


def test_the_background_can_be_kept(results, tmp_path):
    stickers = [each for each in find_stickers(results) if each.name == "image-0"]
    (pack,) = export_packs(stickers, TARGETS["discord"], tmp_path / "out", keep_background=True)
    assert (measure(pack.folder / "sticker-01.png")["alpha"] == 255).all()
    assert pack.note is None


def test_too_few_stickers_are_said_and_too_many_make_another_pack(results, tmp_path):
    one = [each for each in find_stickers(results) if each.name == "image-0"]
    (pack,) = export_packs(one, TARGETS["whatsapp"], tmp_path / "few")
    assert "at least 3 stickers" in pack.note
    written = export_packs(one * 31, TARGETS["whatsapp"], tmp_path / "many")
    assert [pack.folder.name for pack in written] == ["many", "many-2"]
    contents = json.loads((written[0].folder / "contents.json").read_text())["sticker_packs"][0]
    assert len(contents["stickers"]) == 30 and not contents["animated_sticker_pack"]


def test_quality_falls_before_frames_do():
    noise = np.random.default_rng(0).integers(0, 256, (6, 128, 128, 4), dtype=np.uint8)
    sizes = [len(encode(noise, 6.0, FileRule("webp", 128, size, 5, 60))) for size in (10**7, 10**5, 5 * 10**4)]
    assert sizes[0] > 10**5 >= sizes[1] > 5 * 10**4 >= sizes[2]
    with Image.open(io.BytesIO(encode(noise, 6.0, FileRule("webp", 128, 5 * 10**4, 5, 60)))) as fewer:
        assert 1 < fewer.n_frames < 6
    with pytest.raises(MediaError, match="does not fit 1,000 bytes"):
        encode(noise, 6.0, FileRule("webp", 128, 1000, 5, 60))


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(ArgumentError, match="is not a folder"):
        find_stickers(tmp_path / "none")
    with pytest.raises(ArgumentError, match="holds no picture and no clip"):
        find_stickers(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    with pytest.raises(DamagedFile, match=r"bad\.png"):
        find_stickers(tmp_path)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "letter.txt").write_text("mine")
    still = Sticker("a", np.zeros((1, 4, 4, 4), np.uint8))
    with pytest.raises(ArgumentError, match="something else is there"):
        export_packs([still], TARGETS["telegram"], taken)
    assert (taken / "letter.txt").read_text() == "mine"
    with pytest.raises(ArgumentError, match="none to export"):
        export_packs([], TARGETS["telegram"], tmp_path / "x")
