"""What a click on an example puts into the form."""

from dataclasses import dataclass, field
from pathlib import Path

_FOLDER = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Example:
    """One filled form; what is not named becomes empty."""

    title: str
    outputs: tuple[str, ...]
    text: str = ""
    files: dict[str, str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


EXAMPLES = (
    Example("A scene in words", ("image", "video", "audio"), "a guitar, bouncing, openmoji style"),
    Example("A photograph", ("image", "text"), files={"image": str(_FOLDER / "cat.jpg")}),
    Example("A recorded sound", ("image", "text"), files={"audio": str(_FOLDER / "crow.ogg")}),
    Example(
        "Two inputs blended",
        ("image", "video"),
        "noto style, swinging",
        files={"audio": str(_FOLDER / "bell.ogg")},
        weights={"text": 1.0, "audio": 0.5},
    ),
    Example("CoDi: teddy bear", ("video", "audio"), "Teddy bear on a skateboard, 4k, high resolution"),
    Example("CoDi: cyberpunk", ("image", "text"), "Cyberpunk vibe", files={"image": str(_FOLDER / "cat.jpg")}),
)
"""The last two are the paper's own (its Figure 1); its photograph is not ours to ship."""
