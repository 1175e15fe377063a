"""The words that leave open which thing is meant."""

from opencodi.collections.stickers.captions import every_caption, kind_captions
from opencodi.collections.stickers.kinds import KINDS, STRAYS, kinds_of
from opencodi.data.shards import concepts_in, load_concepts

from ...training.tiny_recipes import DATA


def test_kinds_are_named_broadest_first():
    assert kinds_of({"name": "owl", "subgroup": "animal-bird"}) == ("animal", "bird")
    assert kind_captions({"name": "owl", "subgroup": "animal-bird"})[:3] == ["an animal", "animal", "some animal"]
    assert kinds_of({"name": "grinning face", "subgroup": "face-smiling"}) == ("face", "smiley")


def test_what_is_not_of_the_kind_of_its_subgroup_has_none():
    assert kinds_of({"name": "bus", "subgroup": "transport-ground"}) == ("vehicle",)
    assert "bus stop" in STRAYS and kinds_of({"name": "bus stop", "subgroup": "transport-ground"}) == ()
    assert kind_captions({"name": "nameless"}) == []


def test_kinds_of_the_collection_are_among_its_captions():
    concepts = load_concepts(DATA)
    kinds = {kind for concept in concepts.values() for kind in kinds_of(concept)}
    assert kinds and kinds <= {kind for some in KINDS.values() for kind in some} | {"face", "smiley"}
    assert {f"some {kind}" for kind in kinds} <= set(every_caption(DATA))


def test_concepts_that_sound_are_read_without_sounds():
    assert concepts_in(DATA, "sounds") <= set(load_concepts(DATA)) and concepts_in(DATA, "sounds")
