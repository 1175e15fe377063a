"""Anchors are made from the collection's names and kinds."""

import torch

from opencodi.data.captions import kind_captions
from opencodi.data.shards import load_concepts
from opencodi.prompts import Condition, TextPromptEncoder
from opencodi.training.anchors import make_anchors
from opencodi.training.components import load_component

from .tiny_recipes import DATA


def test_names_and_kinds_stay_where_they_are(trained):
    anchors = make_anchors(trained / "model", DATA, scale=2000.0, share=1.0, text_share=1.0)
    concepts = list(load_concepts(DATA).values())
    kinds = {text for concept in concepts for text in kind_captions(concept)}
    assert anchors.config.num_anchors == len({concept["name"] for concept in concepts} | kinds)
    encoder = load_component(TextPromptEncoder, trained / "model", "text_prompt_encoder")
    known = encoder.encode([concepts[0]["name"], "an animal"])
    moved = anchors(Condition(known.tokens, known.mask), only_text=True)
    torch.testing.assert_close(moved.tokens, known.tokens, atol=0.02, rtol=0)
