"""Anchors are made from the collection's names and kinds."""

import torch

from opencodi.collections.stickers.anchors import audible_pairs, make_anchors
from opencodi.collections.stickers.captions import kind_captions
from opencodi.data.shards import load_concepts
from opencodi.prompts import Condition, TextPromptEncoder
from opencodi.training.components import load_component

from ...training.tiny_recipes import DATA


def test_names_and_kinds_stay_where_they_are(trained):
    anchors = make_anchors(trained / "model", DATA, scale=2000.0, share=1.0, text_share=1.0)
    concepts = list(load_concepts(DATA).values())
    kinds = {text for concept in concepts for text in kind_captions(concept)}
    assert anchors.config.num_anchors == len({concept["name"] for concept in concepts} | kinds)
    encoder = load_component(TextPromptEncoder, trained / "model", "text_prompt_encoder")
    known = encoder.encode([concepts[0]["name"], "an animal"])
    moved = anchors(Condition(known.tokens, known.mask), only_text=True)
    torch.testing.assert_close(moved.tokens, known.tokens, atol=0.02, rtol=0)


def test_each_kind_knows_its_names_that_have_a_sound():
    names = {
        "panda": "animal-mammal",
        "zebra": "animal-mammal",
        "rooster": "animal-bird",
        "bird": "animal-bird",
        "OK": "",
    }
    concepts = [{"name": name, "subgroup": subgroup} for name, subgroup in names.items()]
    texts = sorted({text for concept in concepts for text in kind_captions(concept)} | names.keys())
    pairs = audible_pairs(texts, concepts, heard={"panda", "rooster", "OK"})
    found = {(texts[kind], texts[name]) for kind, name in pairs.tolist()}
    assert {("an animal", "panda"), ("some animal", "rooster"), ("a bird", "rooster"), ("a mammal", "panda")} < found
    assert ("a mammal", "rooster") not in found and {name for _, name in found} == {"panda", "rooster"}
    assert not any(kind == "bird" for kind, _ in found), "a bird is a thing of its own, silent or not"
    assert audible_pairs(texts, concepts, heard=set()) is None and audible_pairs(texts, concepts, heard={"OK"}) is None


def test_anchors_of_a_collection_with_sounds_know_them(trained):
    counts = [make_anchors(trained / "model", DATA, least_sounds=least).config.num_audible for least in (1, 2, 100)]
    assert counts[0] >= counts[1] > counts[2] == 0
