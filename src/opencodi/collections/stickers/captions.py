"""What an item may be called. Every caption of a record is enumerable, so that text embeddings can be computed once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.shards import load_concepts, read_records
from ...errors import ConfigurationError
from .kinds import kinds_of
from .motion import MOTIONS, Motion

STYLE_NAMES = {
    "noto": "noto",
    "noto-v1": "old noto",
    "twemoji": "twemoji",
    "openmoji": "openmoji",
    "fluent-emoji": "fluent",
    "fluent-emoji-flat": "flat fluent",
    "fluent-3d": "3d",
    "fluent-3d-anim": "3d",
    "fxemoji": "fxemoji",
    "emojione": "emojione",
    "emojione-v1": "old emojione",
}

PROCEDURAL_CLIPS, PROCEDURAL_SOUNDS = PROCEDURAL = ("procedural-clips", "procedural-sounds")
"""The ``shard`` of items that are made from others rather than read: pictures in motion, and sounds on their beat."""


def article(noun: str) -> str:
    """``a rooster``, ``an owl``."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def display_name(record: Mapping[str, Any]) -> str:
    """The concept's name, with the skin tone where the record has one."""
    tone = record.get("tone")
    return f"{record['name']} with {tone} skin" if tone else str(record["name"])


def image_captions(record: Mapping[str, Any], concept: Mapping[str, Any]) -> list[str]:
    """Captions of a picture: its name, its name in its style, its keywords. Photographs have their own caption."""
    if record.get("caption"):
        return [record["caption"]]
    name = display_name(record)
    plain = [name, article(name), f"a picture of {article(name)}"]
    return plain + styled_captions(record) + keyword_captions(concept)


def styled_captions(record: Mapping[str, Any]) -> list[str]:
    """Captions of a picture that say which art style it is in."""
    name, style = display_name(record), STYLE_NAMES.get(record["style"], record["style"])
    return [article(f"{style} {name}"), f"{name}, {style} style"]


def video_captions(record: Mapping[str, Any], concept: Mapping[str, Any]) -> list[str]:
    """Captions of a clip."""
    name = display_name(record)
    return [name, article(name), f"{article(name)}, moving", f"an animated {name}", *keyword_captions(concept)]


def motion_captions(record: Mapping[str, Any], concept: Mapping[str, Any]) -> list[str]:
    """Captions of a picture in motion (``stickers.motion``): ``record["motion"]`` names how it moves."""
    name, motion = display_name(record), MOTIONS[record["motion"]]
    style = STYLE_NAMES.get(record["style"], record["style"])
    return [name, *moving_captions(name, motion), f"{article(f'{style} {name}')}, {motion.doing}"]


def moving_captions(name: str, motion: Motion) -> list[str]:
    """What says that a thing of this name moves so."""
    return [f"{article(name)}, {motion.doing}", article(f"{motion.doing} {name}")]


def beat_captions(record: Mapping[str, Any], concept: Mapping[str, Any]) -> list[str]:
    """Captions of a sound on the beat of a motion (``stickers.soundtrack``)."""
    name, doing = record["name"], MOTIONS[record["motion"]].doing
    moving = article(f"{doing} {name}")
    return [name, f"{article(name)}, {doing}", moving, f"the sound of {moving}"]


def audio_captions(record: Mapping[str, Any], concept: Mapping[str, Any]) -> list[str]:
    """Captions of a recording: ``the word …`` for speech and ``the sound of …`` for sounds keep the two apart."""
    name = record["name"] if "name" in record else concept["name"]
    if record["shard"] == "speech":
        return [f"the word {record['text']}", f"a voice saying {record['text']}"]
    return [name, article(name), f"the sound of {article(name)}", f"{name} sound"]


def keyword_captions(concept: Mapping[str, Any], most: int = 4) -> list[str]:
    """A few of the concept's own keywords: what people call it besides its name."""
    name = concept.get("name", "")
    words = [word for word in concept.get("keywords", ()) if word.lower() not in name.lower()]
    return words[:most]


def kind_captions(concept: Mapping[str, Any]) -> list[str]:
    """What leaves open which thing of its kind it is: "an animal", "animal", "some animal"."""
    return [text for kind in kinds_of(concept) for text in (article(kind), kind, f"some {kind}")]


CAPTIONS = {
    "images": image_captions,
    "images-skin-tones": image_captions,
    "photos": image_captions,
    "videos": video_captions,
    "videos-skin-tones": video_captions,
    PROCEDURAL_CLIPS: motion_captions,
    "sounds": audio_captions,
    "speech": audio_captions,
    PROCEDURAL_SOUNDS: beat_captions,
}
"""Which captions the items of each shard have."""


def captions_of(record: Mapping[str, Any], concepts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every caption of one record (which knows its ``shard``), the plain name first."""
    return CAPTIONS[record["shard"]](record, concepts.get(record.get("concept") or "", {}))


def every_caption(folder: Path) -> list[str]:
    """All captions of all shards in ``folder``, sorted, each once. Only the records are read, no media."""
    concepts = load_concepts(folder)
    found = {text for concept in concepts.values() for text in kind_captions(concept)}
    for shard in CAPTIONS:
        path = folder / f"{shard}.tar.gz"
        for record in read_records(path) if path.is_file() else ():
            found.update(captions_of({**record, "shard": shard}, concepts))
    return sorted(found)


def unpaired_texts(concepts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every concept as a sound and as a spoken word."""
    return sorted(
        {
            caption
            for concept in concepts.values()
            for shard in ("sounds", "speech")
            for caption in audio_captions({"shard": shard, "name": concept["name"], "text": concept["name"]}, concept)
        }
    )


def check_shards(shards: Mapping[str, float]) -> None:
    """Raise ConfigurationError unless all these shards exist and have a share."""
    if not shards:
        raise ConfigurationError("shards: name at least one, each with a share greater than 0")
    for shard, share in shards.items():
        if shard not in CAPTIONS:
            raise ConfigurationError(f"shards: {shard!r} is not one of {', '.join(CAPTIONS)}; correct it")
        if not share > 0:
            raise ConfigurationError(f"shards: the share of {shard} is {share}; give one greater than 0")
