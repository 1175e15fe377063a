"""Which pictures a diffuser learns to draw."""

import numpy as np
import pytest

from opencodi.data.shards import Items
from opencodi.errors import ConfigurationError
from opencodi.training.stages.pairs import of_styles

DRAWN = [("cat", "noto"), ("cat", "flat"), ("ghost", "noto"), ("ghost", "pencil"), ("dog", "flat")]


def pictures() -> Items:
    records = [{"concept": concept, "style": style} for concept, style in DRAWN]
    return Items(np.arange(len(DRAWN))[:, None], records)


def chosen(*arguments) -> list[tuple[str, str]]:
    items = of_styles(pictures(), *arguments)
    assert [DRAWN[i] for i in items.media[:, 0]] == [(r["concept"], r["style"]) for r in items.records]
    return [(r["concept"], r["style"]) for r in items.records]


def test_only_pictures_of_the_styles_are_learned():
    assert chosen(["flat"]) == [("cat", "flat"), ("dog", "flat")]
    assert chosen([]) == DRAWN


def test_a_concept_that_no_style_shows_can_be_learned_in_the_others():
    assert chosen(["flat"], True) == [("cat", "flat"), ("ghost", "noto"), ("ghost", "pencil"), ("dog", "flat")]


def test_a_style_nobody_drew_is_refused_and_the_known_ones_named():
    with pytest.raises(ConfigurationError, match="there are flat, noto, pencil"):
        of_styles(pictures(), ["oil"])
