"""``report.html``: one file with every table, and examples to look at and play."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape
from PIL import Image

from ....media import Audio, Media, Video, write
from ....modality import Modality
from .bench import Shown
from .tables import SECTIONS, summary

TEMPLATE = "report.html.jinja"

TITLES = {
    "any_to_any": (
        "Any to any",
        "Does what comes out show the concept of what went in? Text is compared with the concept's name; pictures, clips "
        "and sounds are judged by classifiers that have seen real items only. Concepts are those the judge knows.",
    ),
    "wording": (
        "Free wording",
        "Prompts that are no caption of the collection, and which names are a sensible answer (wording.py).",
    ),
    "composition": (
        "Composition",
        "Style from one input and concept from another; two concepts at once; from one input to the other in steps.",
    ),
    "bridging": (
        "Bridging",
        "Does an item find another of its concept by the nearest embedding? Only pairs with text were ever trained.",
    ),
    "coherence": (
        "Joint coherence",
        "Vague prompts leave open what is shown. How often do all outputs show the same, made together and apart? "
        "Both start from the same noise; apart is what chance alone gives. Heard: concepts count as one if they have the same "
        "recordings, where there is a sound (a dog and a dog face).",
    ),
    "extras": (
        "Core and extras",
        "What each extra buys. The core alone is the paper: what --plain measures. It also lacks the adapters that denoisers "
        "were trained with; every other row has them. From one input to one output: does the concept come out? Together "
        "from vague prompts: do all outputs show the same? Partners swapped is the control.",
    ),
    "motions": (
        "Named motions",
        "Does a clip move as its words say? A judge of outlines, fitted to real pictures in procedural motion.",
    ),
    "synchrony": (
        "Synchrony",
        "Correlation, from -1 to 1 and 0 by chance, of how much motion changes with how much begins to sound. Procedural "
        "pairs are real pictures in motion with their sound on the beat: the ceiling.",
    ),
    "distances": ("Distances", "To real validation items. Compare a distance with its floor, not with other papers'."),
    "variety": (
        "Variety",
        "A near copy is as near to a training picture as 95 % of re-encoded training pictures are to themselves.",
    ),
    "timing": ("Timing", "Medians, with the model's own number of steps."),
}


def data_uri(content: bytes, kind: str) -> str:
    """A file as a ``data:`` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def show_text(words: str) -> Markup:
    """Words in quotes."""
    return Markup("<q>{}</q>").format(words)


def show_image(picture: Image.Image) -> Markup:
    """A picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Markup('<img alt="picture" src="{}">').format(data_uri(buffer.getvalue(), "image/png"))


def show_video(video: Video) -> Markup:
    """A silent clip as an animated picture, one with sound as a film."""
    if video.audio is None:
        return Markup('<img alt="clip" src="{}">').format(data_uri(_file(video, Modality.VIDEO, ".webp"), "image/webp"))
    film = data_uri(_file(video, Modality.VIDEO, ".mp4"), "video/mp4")
    return Markup('<video controls loop playsinline src="{}"></video>').format(film)


def show_audio(audio: Audio) -> Markup:
    """A sound to play."""
    sound = data_uri(_file(audio, Modality.AUDIO, ".ogg"), "audio/ogg")
    return Markup('<audio controls preload="none" src="{}"></audio>').format(sound)


SHOW: dict[Modality, Callable[[Any], Markup]] = {
    Modality.TEXT: show_text,
    Modality.IMAGE: show_image,
    Modality.VIDEO: show_video,
    Modality.AUDIO: show_audio,
}


def render(results: dict[str, Any], shown: Sequence[Shown]) -> str:
    """The page, self-contained: no script, and nothing is fetched.

    Args:
        results: what ``run.evaluate`` returned.
        shown: examples; each stands in the section of its measure.
    """
    examples: dict[str, list[dict[str, Any]]] = {name: [] for name in SECTIONS}
    for example in shown:
        sides = {
            side: [SHOW[modality](media) for modality, media in pairs]
            for side, pairs in (("given", example.given), ("made", example.made))
        }
        examples[example.section].append({"caption": escape(example.caption), **sides})
    sections = [
        {
            "name": name,
            "title": TITLES[name][0],
            "text": TITLES[name][1],
            "tables": make(results),
            "examples": examples[name],
        }
        for name, make in SECTIONS.items()
    ]
    environment = Environment(loader=PackageLoader("opencodi.collections.stickers.evaluation", "."), autoescape=True)
    template = environment.get_template(TEMPLATE)
    return template.render(about=results["about"], summary=summary(results), sections=sections)


def _file(media: Media, modality: Modality, suffix: str) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"media{suffix}"
        write(modality, media, path)
        return path.read_bytes()
