"""Training and validation items, on the sample collection in tests/data."""

from pathlib import Path

import numpy as np

from opencodi.collections.stickers.splits import VALIDATION_SHARE, position, split, style_family
from opencodi.data.shards import Items, load_images

DATA = Path(__file__).parents[2] / "data"


def test_the_split_is_whole_disjoint_and_stable():
    items = load_images(DATA)
    training, validation = split(items)
    assert len(training) + len(validation) == len(items) and len(validation) > 0
    again, _ = split(items)
    assert again.records == training.records


def test_nearly_equal_drawings_fall_on_the_same_side():
    training, validation = split(load_images(DATA))
    groups = [{(r["concept"], style_family(r["style"])) for r in part.records} for part in (training, validation)]
    assert not groups[0] & groups[1]


def test_a_recording_validates_only_if_it_does_so_under_all_of_its_names():
    sirens, bells = (
        [{"concept": str(number), "source": "a game", "detail": detail} for number in range(999)]
        for detail in ("siren", "bell")
    )
    validating = [record for record in sirens if position(record) < VALIDATION_SHARE][:2]
    other = next(record for record in sirens if position(record) >= VALIDATION_SHARE)
    bell = next(record for record in bells if position(record) < VALIDATION_SHARE)
    training, validation = split(Items(np.arange(3), [*validating, bell]))
    assert not training.records and validation.records == [*validating, bell]
    training, validation = split(Items(np.arange(4), [*validating, other, bell]))
    assert training.records == [*validating, other] and validation.records == [bell]
