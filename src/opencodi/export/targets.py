"""What each app takes: the one table that exports keep to and tests hold every file against. Imports nothing heavy."""

from dataclasses import dataclass

from ..errors import ArgumentError

KIB = 1024


@dataclass(frozen=True)
class FileRule:
    """What one file of a pack may be.

    Attributes:
        kind: ``"webp"``, ``"png"`` (an APNG if it moves) or ``"webm"`` (VP9 with alpha, no sound).
        side: width and height in pixels.
        max_bytes: its size.
        max_seconds: how long it may move; 0 for a still.
        max_fps: frames per second; 0 for a still.
    """

    kind: str
    side: int
    max_bytes: int
    max_seconds: float = 0.0
    max_fps: float = 0.0


@dataclass(frozen=True)
class Target:
    """One app.

    Attributes:
        name: as users write it.
        title: as the app writes it.
        still, moving, icon: the files it takes; ``icon`` is None where a pack has none.
        stickers: fewest and most stickers of a pack.
        max_emoji: how many emoji may tag a sticker.
        mixed: whether one pack may hold stills and moving stickers.
        source: where the app says so.
        read: the month in which that was checked, against copies of it in public repositories.
    """

    name: str
    title: str
    still: FileRule
    moving: FileRule
    icon: FileRule | None
    stickers: tuple[int, int]
    max_emoji: int
    mixed: bool
    source: str
    read: str = "November 2026"


TARGETS = {
    target.name: target
    for target in (
        Target(
            name="telegram",
            title="Telegram",
            still=FileRule("webp", 512, 512 * KIB),
            moving=FileRule("webm", 512, 256 * KIB, max_seconds=3, max_fps=30),
            icon=FileRule("webp", 100, 128 * KIB),
            stickers=(1, 120),
            max_emoji=20,
            mixed=True,
            source="https://core.telegram.org/stickers and https://core.telegram.org/bots/api#inputsticker; "
            "bytes of stills: Limits.swift of https://github.com/TelegramMessenger/TelegramStickersImport",
        ),
        Target(
            name="whatsapp",
            title="WhatsApp",
            still=FileRule("webp", 512, 100 * KIB),
            # Its own checker refuses frames shorter than 8 ms, which is 125 a second.
            moving=FileRule("webp", 512, 500 * KIB, max_seconds=10, max_fps=125),
            icon=FileRule("png", 96, 50 * KIB),
            stickers=(3, 30),
            max_emoji=3,
            mixed=False,
            source="https://github.com/WhatsApp/stickers (README and Limits.swift)",
        ),
        Target(
            name="discord",
            title="Discord",
            still=FileRule("png", 320, 512_000),
            moving=FileRule("png", 320, 512_000, max_seconds=5, max_fps=60),
            icon=None,
            stickers=(1, 60),
            max_emoji=1,
            mixed=True,
            source="https://discord.com/developers/docs/resources/sticker (Create Guild Sticker)",
        ),
    )
}
"""Name → what that app takes."""


def parse_targets(names: str) -> list[Target]:
    """Read ``"telegram,discord"`` or ``"all"``.

    Raises:
        ArgumentError: if a name is unknown or none is given.
    """
    listed = [name.strip().lower() for name in names.split(",") if name.strip()]
    unknown = [name for name in listed if name not in TARGETS and name != "all"]
    if unknown or not listed:
        said = f"unknown app {unknown[0]!r}" if unknown else "no app given"
        raise ArgumentError(f"--for: {said}; choose from {', '.join(TARGETS)}, or all")
    return [target for name, target in TARGETS.items() if name in listed or "all" in listed]


def table() -> str:
    """The rules as a table in Markdown, as ``docs/export.md`` shows it."""
    rows = [
        "| app | still | moving | icon | stickers a pack | emoji a sticker |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for target in TARGETS.values():
        fewest, most = target.stickers
        moving = f"{_file(target.moving)}, {target.moving.max_seconds:g} s, {target.moving.max_fps:g} frames a second"
        icon = _file(target.icon) if target.icon else "none"
        count = f"{fewest} to {most}" + ("" if target.mixed else ", all still or all moving")
        rows.append(f"| {target.title} | {_file(target.still)} | {moving} | {icon} | {count} | {target.max_emoji} |")
    return "\n".join(rows)


def _file(rule: FileRule) -> str:
    kind = {"webp": "WebP", "webm": "WebM (VP9)", "png": "APNG" if rule.max_seconds else "PNG"}[rule.kind]
    return f"{kind}, {rule.side}x{rule.side}, {rule.max_bytes:,} bytes"
