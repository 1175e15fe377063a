"""Which items a diffuser learns from, how often, and with which prompts."""

import numpy as np
import pytest
import torch

from opencodi.collections.stickers.captions import styled_captions
from opencodi.collections.stickers.paired_sets import image_set, of_styles, of_voices, styled_set
from opencodi.collections.stickers.splits import split
from opencodi.data.paired import THING, PairedSet, Prompts, draw_kinds
from opencodi.data.shards import Items, load_images
from opencodi.errors import ConfigurationError
from opencodi.training.components import ModelFolder, save_component

from ... import tiny
from ...training.making import make_task
from ...training.tiny_recipes import DATA

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


def test_sounds_stay_and_speech_is_of_the_voices():
    records = [{"concept": "cat"}, {"concept": "cat", "voice": "ada"}, {"concept": "dog", "voice": "bob"}]
    items = Items(np.arange(3)[:, None], records)
    assert of_voices(items, ["bob"]).media[:, 0].tolist() == [0, 2]
    assert of_voices(items, []).media[:, 0].tolist() == [0, 1, 2]
    with pytest.raises(ConfigurationError, match="there are ada, bob"):
        of_voices(items, ["eve"])


def paired_set() -> PairedSet:
    """Three items; the prompt of kind k of item i is the number 10 * k + i, k counting text, image and thing from 1."""
    rows = [np.array([0]), np.array([1]), np.array([2])]
    prompts = {
        kind: Prompts(torch.tensor([[10.0 * place], [10.0 * place + 1], [10.0 * place + 2]]), list(rows))
        for place, kind in enumerate(("text", "image", THING), start=1)
    }
    prompts[THING].rows[2] = np.array([], dtype=int)
    return PairedSet(torch.zeros(3, 1), ["cat", "dog", "arrow"], ["cat", "dog", "arrow"], prompts, name_share=0.5)


def test_kinds_of_prompts_come_in_their_shares():
    kinds = draw_kinds(np.random.default_rng(0), 4000, {"text": 0.5, THING: 0.2})
    shares = {kind: kinds.count(kind) / 4000 for kind in ("text", THING, None)}
    assert shares == pytest.approx({"text": 0.5, THING: 0.2, None: 0.3}, abs=0.03)


def test_open_prompts_favour_some_concepts_and_others_do_not():
    items, rng = paired_set(), np.random.default_rng(0)
    items.favour({"dog"}, 8.0)
    for shares, expected in (({}, 0.8), ({THING: 1.0}, 0.8), ({"text": 1.0}, 1 / 3)):
        drawn, condition = items.draw_prompted(rng, 2000, shares)
        assert (drawn == 1).mean() == pytest.approx(expected, abs=0.04)
        assert condition.shape == (2000, 1) and bool(condition.any()) == bool(shares)


def test_what_has_no_kind_is_prompted_by_text():
    found = paired_set().conditions(np.array([0, 1, 2, 2]), [THING, "image", THING, None], np.random.default_rng(0))
    assert found[:, 0].tolist() == [30.0, 21.0, 12.0, 0.0]


def test_pictures_of_every_style_are_prompted_by_what_names_it_and_never_openly(tmp_path):
    for name in ("text_prompt_encoder", "image_autoencoder"):
        save_component(getattr(tiny, name)(), tmp_path / name)
    arguments = DATA, {"images": 1.0}, ModelFolder(tmp_path), 0.5, ("text", THING)
    plain, _ = image_set(*arguments, ("noto",), False)
    styled = styled_set(*arguments)
    everything, _ = split(load_images(DATA, ["images"]))
    assert len(styled) == len(everything) > len(plain)
    expected = {text for record in everything.records for text in styled_captions(record)}
    assert len(styled.prompts["text"].tokens) == len(expected)
    both = make_task(
        "image_diffuser",
        tmp_path,
        network={"model_channels": 16, "num_attention_heads": 1, "norm_num_groups": 4},
        scheduler={"class": "DDIMScheduler"},
        shards={"images": 1.0},
        prompt_shares={"text": 0.8, THING: 0.1},
        name_share=0.5,
        condition_noise=0.0,
        styles=("noto",),
        styled_share=0.25,
    ).items
    assert both.weights[len(plain) :].sum() == pytest.approx(0.25)
    both.favour({"nothing"}, 5.0)
    assert both.open_weights[: len(plain)].sum() == pytest.approx(1)
    drawn, _ = both.draw_prompted(np.random.default_rng(0), 500, {THING: 0.5})
    assert (drawn < len(plain)).all()
