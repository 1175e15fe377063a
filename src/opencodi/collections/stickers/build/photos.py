"""Captioned stamps of Tux Paint → square RGBA pictures of things, which teach the image encoder more than emoji.

``photos.tsv`` beside this file lists the stamps that are used, in the order of the shard, with the concept they show (if
it is one). Stamps that are not listed are doubles, or are kept aside for tests.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from PIL import Image

from .emoji import Emoji
from .images import SIZE, encode, open_drawing
from .libraries import version
from .shards import Item, Plan
from .sources import TUXPAINT

LIST = Path(__file__).with_name("photos.tsv")
STAMPS = Path("usr/share/tuxpaint/stamps")


def plan_photos(
    concepts: Mapping[str, Emoji], folder: Path, made_from: Iterable[str], size: int = SIZE
) -> Plan:
    """The shard of stamps, size x size. folder: of the unpacked package."""
    units = [line.split("\t") for line in LIST.read_text(encoding="utf-8").splitlines()]

    def make(unit: list[str]) -> Iterator[Item]:
        path, concept = unit
        file = folder / STAMPS / path
        fields = {
            "caption": file.with_suffix(".txt").read_text(encoding="utf-8").splitlines()[0].strip(),
            "concept": concept or None,
            "name": concepts[concept].name if concept else None,
            "source": f"{TUXPAINT.name}/{path}",
            "licence": TUXPAINT.licence,
        }
        yield Item(encode(letterbox(open_drawing(file, size), size)), "webp", fields)

    return Plan("photos", (*made_from, version("resvg-py"), version("pillow")), units, make, units_per_part=200)


def letterbox(picture: Image.Image, size: int = SIZE) -> Image.Image:
    """Scale an RGBA picture to ``size``, its longer side filling it; the rest is clear white."""
    scale = size / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    canvas = Image.new("RGBA", (size, size), (255, 255, 255, 0))
    scaled = picture.resize((width, height), Image.Resampling.LANCZOS)
    canvas.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return canvas
