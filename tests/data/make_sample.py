"""Cut this sample out of a full stickers collection: `python tests/data/make_sample.py PATH_TO_COLLECTION`.

Keeps whole items, byte for byte and under their own keys, of ten concepts and of permissively licensed sources only.
"""

import gzip
import io
import json
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, ImageDraw

CONCEPTS = {
    "1f436": "dog face",
    "1f431": "cat face",
    "1f413": "rooster",
    "1f4a7": "droplet",
    "1f3ce": "racing car",
    "2764": "red heart",
    "1f44a": "oncoming fist",
    "26a1": "high voltage",
    "1f3b8": "guitar",
    "1f941": "drum",
}
MOVING = {"1f436", "1f413", "1f4a7", "1f3ce", "2764", "1f44a"}
STYLES = {"noto", "twemoji", "fluent-emoji-flat", "fluent-3d"}
SOUND_LICENCES = {"MIT", "CC0-1.0"}
SOUNDS_PER_CONCEPT = 2
HERE = Path(__file__).parent

Item = tuple[str, str, bytes, dict]


def _items(shard: Path) -> Iterator[Item]:
    """Yield (key, suffix, bytes, fields) of a shard whose members alternate KEY.suffix, KEY.json."""
    with tarfile.open(shard) as tar:
        while (media := tar.next()) is not None:
            key, suffix = media.name.rsplit(".", 1)
            data = tar.extractfile(media).read()
            yield key, suffix, data, json.load(tar.extractfile(tar.next()))


def _write(name: str, items: Iterator[Item]) -> None:
    """Write a shard whose bytes depend on nothing but its items."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, suffix, data, fields in items:
            text = json.dumps(fields, ensure_ascii=False).encode()
            for member, content in ((f"{key}.{suffix}", data), (f"{key}.json", text)):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    (HERE / f"{name}.tar.gz").write_bytes(gzip.compress(raw.getvalue(), 9, mtime=0))


def _short_sounds(fields: dict, count: Counter) -> bool:
    """The first recordings at their own speed; the instruments would otherwise crowd out the CC0 recordings."""
    if fields["licence"] not in SOUND_LICENCES or fields.get("speed", 1.0) not in (1.0, 1.11):
        return False
    if fields["concept"] == "1f941" and fields["licence"] != "CC0-1.0":
        return False
    count[fields["concept"]] += 1
    return count[fields["concept"]] <= SOUNDS_PER_CONCEPT


def _drawn_photos() -> Iterator[Item]:
    """Two pictures drawn here, since no photograph of the collection is permissively licensed."""
    shapes: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {
        "a red ball on the grass": lambda draw: (
            draw.rectangle((0, 44, 63, 63), fill=(70, 150, 60, 255)),
            draw.ellipse((16, 16, 48, 48), fill=(210, 40, 40, 255)),
        ),
        "a yellow house": lambda draw: (
            draw.rectangle((14, 30, 50, 60), fill=(240, 200, 60, 255)),
            draw.polygon(((8, 30), (32, 8), (56, 30)), fill=(150, 60, 40, 255)),
        ),
    }
    for number, (caption, paint) in enumerate(shapes.items()):
        image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        paint(ImageDraw.Draw(image))
        data = io.BytesIO()
        image.save(data, "WEBP", quality=80)
        fields = {
            "caption": caption,
            "concept": None,
            "name": None,
            "source": "drawn by tests/data/make_sample.py",
            "licence": "CC0-1.0",
        }
        yield f"photos-{number:06d}", "webp", data.getvalue(), fields


def main(collection: Path) -> None:
    heard: Counter = Counter()
    keep: dict[str, Callable[[dict], bool]] = {
        "images": lambda f: f["style"] in STYLES,
        "images-skin-tones": lambda f: f["style"] in {"noto", "twemoji"},
        "videos": lambda f: f["concept"] in MOVING,
        "videos-skin-tones": lambda f: f["tone"] in {"light", "dark"},
        "sounds": lambda f: _short_sounds(f, heard),
        "speech": lambda f: f["voice"] in {"joe", "joe-high"},
    }
    for name, wanted in keep.items():
        shard = _items(collection / f"{name}.tar.gz")
        _write(name, (item for item in shard if item[3]["concept"] in CONCEPTS and wanted(item[3])))
    _write("photos", _drawn_photos())

    lines = (collection / "concepts.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["code"] in CONCEPTS]
    (HERE / "concepts.jsonl").write_text("".join(kept), encoding="utf-8")
    splits = json.loads((collection / "splits.json").read_text())
    for name in splits.keys() - {"voices"}:
        splits[name] = [row for row in splits[name] if (row if isinstance(row, str) else row[0]) in CONCEPTS]
    (HERE / "splits.json").write_text(json.dumps(splits, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
