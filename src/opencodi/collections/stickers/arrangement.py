"""Where the things of a scene stand: one function per relation, from outlines and sizes to places.

Lengths are in units of a middle-sized thing. Rows grow downwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from .outline import SOLID, Outline

LOWEST_CANOPY = 0.62
"""What stands under a tree with a low crown hides a part of it rather than being tiny."""


@dataclass(frozen=True, eq=False)
class Body:
    """A drawing at a size and a place.

    Attributes:
        outline: what is drawn.
        height: of the whole drawing.
        left: of its rectangle.
        top: of its rectangle.
        seat: how far down something rests on it, as a share of its height; None: on its upper edge.
        rim: how far down its rim is, if it is a container.
        part: number of the scene's part that it shows.
    """

    outline: Outline
    height: float
    left: float = 0.0
    top: float = 0.0
    seat: float | None = None
    rim: float | None = None
    part: int = 0

    @property
    def width(self) -> float:
        return self.height * self.outline.width / self.outline.height

    @property
    def length(self) -> float:
        return max(self.height, self.width)

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def centre(self) -> float:
        return self.left + self.width / 2

    def scaled(self, factor: float) -> Self:
        return replace(self, height=self.height * factor)

    def at(
        self,
        *,
        centre: float | None = None,
        left: float | None = None,
        top: float | None = None,
        bottom: float | None = None,
    ) -> Self:
        """At another place: give ``centre`` or ``left``, and ``top`` or ``bottom``; what is not given stays."""
        if centre is not None:
            left = centre - self.width / 2
        if bottom is not None:
            top = bottom - self.height
        return replace(self, left=self.left if left is None else left, top=self.top if top is None else top)

    def mirrored(self) -> Self:
        return replace(self, outline=self.outline.mirrored())

    def cropped(self, share: float) -> Self:
        """Without the upper ``share`` of it; the rest stays where it is."""
        rows = round(share * self.outline.height)
        rest = self.height * (1 - rows / self.outline.height)
        outline = Outline(np.ascontiguousarray(self.outline.picture[rows:]))
        return replace(self, outline=outline, height=rest, top=self.bottom - rest)


def body(outline: Outline, length: float, seat: float | None = None, rim: float | None = None) -> Body:
    """A drawing whose longer side is ``length``."""
    return Body(outline, length * outline.height / max(outline.height, outline.width), seat=seat, rim=rim)


def on(upper: Body, lower: Body, rng: np.random.Generator) -> list[Body]:
    """``upper`` stands on ``lower``: on its seat, or on the most even part of its upper edge. In drawing order."""
    flat = lower.height < 0.5 * lower.width
    lower = lower.scaled(
        max(1.0, (0.8 if flat else 1.05) * upper.length / lower.length, 0.95 * upper.width / lower.width)
    )
    centre, down = lower.outline.plateau(min(0.7, 0.55 * upper.width / lower.width), (0.25, 0.8))
    if lower.seat is not None:
        down = max(down, lower.seat) if down < 0.8 else lower.seat
    if lower.width < 1.4 * upper.width:
        centre = 0.5 + 0.4 * (centre - 0.5)
    sunk = min(0.08 * upper.height, 0.1)
    return [lower, upper.at(centre=centre * lower.width, bottom=down * lower.height + sunk)]


def inside(content: Body, container: Body, rng: np.random.Generator) -> list[Body]:
    """``content`` looks out of ``container``, before its far side and handle: its lower part is hidden by the near side."""
    content = content.scaled(min(1.0, 0.7 * container.width / content.width, 0.9 * container.length / content.height))
    content = content.scaled(max(1.0, 0.45 * container.width / content.width))
    rim = container.rim or 0.0
    bottom = min(container.height, rim * container.height + 0.35 * content.height)
    near = container.cropped(rim)
    return [container, content.at(centre=container.width * rng.uniform(0.42, 0.58), bottom=bottom), near]


def under(thing: Body, shelter: Body, rng: np.random.Generator) -> list[Body]:
    """``thing`` stands below the canopy of ``shelter``, before its shaft or trunk."""
    edge = min(canopy_edge(shelter.outline), LOWEST_CANOPY)
    shelter = shelter.scaled(
        max(1.0, 1.02 * thing.height / ((1 - edge) * shelter.height), 1.25 * thing.width / shelter.width)
    )
    side = rng.choice((-1, 1)) * rng.uniform(0.05, 0.14)
    return [shelter, thing.at(centre=shelter.width * (0.5 + side), bottom=shelter.height * 1.01)]


def canopy_edge(outline: Outline) -> float:
    """How far down a canopy reaches beside its shaft, as a share of the height."""
    solid = outline.picture[..., 3] > SOLID
    width = outline.width
    columns = np.r_[int(0.2 * width) : int(0.38 * width), int(0.62 * width) : int(0.8 * width)]
    part = solid[: int(0.9 * outline.height), columns]
    last = outline.height - 1 - part[::-1].argmax(0) - (outline.height - len(part))
    return float(np.median(last[part.any(0)])) / outline.height if part.any() else 0.5


def above(upper: Body, lower: Body, rng: np.random.Generator) -> list[Body]:
    """``upper`` hangs or flies over ``lower`` with air between."""
    gap = rng.uniform(0.08, 0.22)
    shift = rng.uniform(-0.2, 0.2) * max(upper.width, lower.width)
    return [lower, upper.at(centre=lower.centre + shift, bottom=lower.top - gap)]


def beside(left: Body, right: Body, rng: np.random.Generator) -> list[Body]:
    """Side by side on one ground."""
    gap = rng.uniform(0.03, 0.15)
    return [left.at(left=0, bottom=0), right.at(left=left.width + gap, bottom=rng.uniform(-0.02, 0.02))]


def in_front(front: Body, back: Body, rng: np.random.Generator) -> list[Body]:
    """``front`` stands nearer and hides a part of ``back``, which is large enough to be seen."""
    back = back.scaled(max(1.0, 1.5 * front.height / back.height, 1.1 * front.width / back.width))
    side = rng.choice((-1, 1)) * rng.uniform(0.12, 0.32)
    back = back.at(left=0, bottom=0)
    return [back, front.at(centre=back.width * (0.5 + side), bottom=0.12 * front.height)]


def behind(back: Body, front: Body, rng: np.random.Generator) -> list[Body]:
    """``back`` looks over ``front`` or past it; about a third of it is hidden."""
    front = front.scaled(np.clip(front.length, 0.75 * back.length, 1.05 * back.length) / front.length)
    front = front.at(left=0, bottom=0)
    hidden = rng.uniform(0.3, 0.4) * back.height
    side = rng.choice((-1, 1)) * rng.uniform(0.1, 0.25)
    top_at = front.top + front.outline.plateau(0.5)[1] * front.height
    bottom = min(0.0, top_at + hidden)
    return [back.at(centre=front.width * (0.5 + side), bottom=bottom), front]


def between(middle: Body, left: Body, right: Body, rng: np.random.Generator) -> list[Body]:
    """Three in a row."""
    placed, edge = [], 0.0
    for each in (left, middle, right):
        placed.append(each.at(left=edge, bottom=rng.uniform(-0.02, 0.02)))
        edge += each.width + rng.uniform(0.02, 0.08)
    return [placed[0], placed[2], placed[1]]


def group(bodies: Sequence[Body], rng: np.random.Generator) -> list[Body]:
    """Several of a kind, in one row or two, none hiding another, so that one can count them."""
    count = len(bodies)
    rows = {1: (1,), 2: (2,), 3: (3,) if rng.random() < 0.5 else (1, 2), 4: (2, 2), 5: (2, 3), 6: (3, 3)}[count]
    if len(rows) == 1 and bodies[0].width > 1.4 * bodies[0].height:
        rows = (1,) * count  # wide things stand over one another
    tallest, widest = max(b.height for b in bodies), max(b.width for b in bodies)
    placed, rest = [], list(bodies)
    for level, number in enumerate(rows):
        for place in range(number):
            shift = (place - (number - 1) / 2) * widest * 1.06
            placed.append(
                rest.pop().at(
                    centre=shift + rng.uniform(-0.02, 0.02), bottom=level * tallest * 1.06 + rng.uniform(-0.03, 0.03)
                )
            )
    return placed


def wearing(head: Body, hat: Body, rng: np.random.Generator) -> list[Body]:
    """``hat`` on the top of ``head``."""
    top = head.outline.picture[: max(1, head.outline.height // 4), :, 3] > SOLID
    columns = np.flatnonzero(top.any(0))
    middle = float(columns.mean()) / head.outline.width if len(columns) else 0.5
    middle = 0.5 if abs(middle - 0.5) < 0.12 else middle
    hat = hat.scaled(0.62 * head.width / hat.width)
    edge = float(np.median(head.outline.top_edge[int(0.35 * head.outline.width) : int(0.65 * head.outline.width)]))
    rest = head.top + head.height * (edge / head.outline.height + 0.1)
    return [head, hat.at(centre=head.left + middle * head.width, bottom=rest)]


def bounds(bodies: Sequence[Body]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of all of them."""
    return (
        min(b.left for b in bodies),
        min(b.top for b in bodies),
        max(b.right for b in bodies),
        max(b.bottom for b in bodies),
    )
