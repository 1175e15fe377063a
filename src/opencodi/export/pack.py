"""Stickers → the folder of a pack, complete or not there at all."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ArgumentError, MediaError
from ..media import write_audio
from ..media.partial import partial_folder
from ..media.system import refused
from .cutout import cut_out
from .emoji import emoji_for, emoji_name
from .encode import encode
from .enlarge import fit
from .pack_names import PACK, WHATSAPP_CONTENTS
from .sources import Sticker
from .targets import FileRule, Target

_ENDINGS = {"webp": ".webp", "png": ".png", "webm": ".webm"}


@dataclass(frozen=True)
class Pack:
    """A pack that was written.

    Attributes:
        folder: where it is.
        files: everything in it.
        note: what the user should know, such as that the app wants more stickers; None if all is well.
    """

    folder: Path
    files: tuple[Path, ...]
    note: str | None = None


def export_packs(
    stickers: Sequence[Sticker],
    target: Target,
    folder: str | Path,
    title: str = "OpenCoDi",
    keep_background: bool = False,
) -> list[Pack]:
    """Write stickers as packs that one app takes: one folder for each pack.

    There is more than one pack if the app takes fewer stickers in a pack, or does not mix stills and moving ones. The
    first lies in ``folder`` itself, the others in ``folder-2``, ``folder-3`` and so on; packs that are there are replaced.

    Args:
        stickers: what to export; of a clip with sound, the sound is written beside it, since no app plays it.
        target: the app.
        folder: of the first pack.
        title: of the packs.
        keep_background: leave a white ground as it is. Else it is cut out, where there is one; pictures that have
            alpha of their own keep it in any case.

    Raises:
        ArgumentError: if there is no sticker, or something that is no pack of ours is in the way.
        MediaError: if a sticker cannot be made small enough, or a file cannot be written.
    """
    if not stickers:
        raise ArgumentError("stickers: there are none to export; make some first")
    groups = _groups(stickers, target)
    folder = Path(folder)
    places = [folder if number == 1 else folder.with_name(f"{folder.name}-{number}") for number in range(1, len(groups) + 1)]
    for place in places:
        if place.exists() and not (place.is_dir() and ((place / PACK).is_file() or not any(place.iterdir()))):
            raise ArgumentError(f"{place}: something else is there already; choose another folder with --output")
    return [_write(group, target, place, title, keep_background) for group, place in zip(groups, places)]


def _groups(stickers: Sequence[Sticker], target: Target) -> list[list[Sticker]]:
    kinds = [list(stickers)]
    if not target.mixed:
        kinds = [[each for each in stickers if each.moves == moving] for moving in (False, True)]
    most = target.stickers[1]
    return [kind[start : start + most] for kind in kinds for start in range(0, len(kind), most)]


def _write(stickers: Sequence[Sticker], target: Target, folder: Path, title: str, keep_background: bool) -> Pack:
    """All files in a folder beside, which then takes the place of ``folder``."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(folder.parent) as stage:
            _fill(stage, stickers, target, title, keep_background)
            if folder.exists():
                shutil.rmtree(folder)
            stage.rename(folder)
    except OSError as error:
        if isinstance(error, MediaError):
            raise
        raise refused(f"{folder}: cannot be written", error) from error
    fewest = target.stickers[0]
    note = None
    if len(stickers) < fewest:
        note = f"{target.title} takes packs of at least {fewest} stickers and {folder} has {len(stickers)}; add some"
    return Pack(folder, tuple(sorted(folder.iterdir())), note)


def _fill(stage: Path, stickers: Sequence[Sticker], target: Target, title: str, keep_background: bool) -> None:
    entries = [_write_sticker(each, n, target, stage, keep_background) for n, each in enumerate(stickers, 1)]
    described = {"app": target.name, "title": title, "icon": None, "stickers": entries}
    if target.icon:
        described["icon"] = f"icon{_ENDINGS[target.icon.kind]}"
        first = _prepared(stickers[0], target.icon, keep_background)[:1]
        (stage / described["icon"]).write_bytes(encode(first, 1.0, target.icon))
    if target.name == "whatsapp":
        _write_json(stage / WHATSAPP_CONTENTS, _whatsapp_contents(described, stickers[0].moves))
    _write_json(stage / PACK, described)


def _write_sticker(sticker: Sticker, number: int, target: Target, folder: Path, keep_background: bool) -> dict:
    rule = target.moving if sticker.moves else target.still
    name = f"sticker-{number:02}"
    file = folder / (name + _ENDINGS[rule.kind])
    try:
        file.write_bytes(encode(_prepared(sticker, rule, keep_background), sticker.fps, rule))
    except MediaError as error:
        raise MediaError(f"{sticker.name}: {error}") from error
    emoji = emoji_for(sticker.caption)
    entry = {"file": file.name, "caption": sticker.caption, "emoji": [emoji][: target.max_emoji], "made_from": sticker.name}
    if target.name == "discord":  # which wants a name of 2 to 30 characters, and the emoji by its name
        entry |= {"name": (sticker.caption.strip() or name)[:30].ljust(2, "_"), "tag": emoji_name(emoji)}
    if sticker.audio is not None:
        write_audio(sticker.audio, folder / f"{name}.wav")
        entry["sound"] = f"{name}.wav"
    return entry


def _prepared(sticker: Sticker, rule: FileRule, keep_background: bool) -> np.ndarray:
    """Frames as the rule wants them: cut out, enlarged."""
    opaque = bool((sticker.frames[..., 3] == 255).all())
    if opaque and not keep_background:
        cut = cut_out(sticker.frames[..., :3])
        if cut is not None:
            return fit(cut, rule.side, crisp=True)
    return fit(sticker.frames, rule.side)


def _whatsapp_contents(described: dict, moving: bool) -> dict:
    """As ``contents.json`` of WhatsApp's sample apps."""
    identifier = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in described["title"])[:100]
    pack = {
        "identifier": f"{identifier}_{'moving' if moving else 'still'}",
        "name": described["title"][:128],
        "publisher": "OpenCoDi",
        "tray_image_file": described["icon"],
        "image_data_version": "1",
        "avoid_cache": False,
        "animated_sticker_pack": moving,
        "stickers": [{"image_file": entry["file"], "emojis": entry["emoji"]} for entry in described["stickers"]],
    }
    return {"android_play_store_link": "", "ios_app_store_link": "", "sticker_packs": [pack]}


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
