"""Anchors move prompts that are no text to where texts are, and nothing else."""

import pytest
import torch
import torch.nn.functional as F

from opencodi import Modality
from opencodi.extras import PromptAnchors
from opencodi.prompts import Condition

from .. import tiny

EXTRAS = {"understood_wording": {}, "prompt_anchors": {}, "audible_names": {}}


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def moved(embeddings: torch.Tensor, anchors: torch.Tensor, **config: float) -> torch.Tensor:
    return PromptAnchors.from_embeddings(anchors, **config)(Condition.from_embedding(embeddings)).tokens[:, 0]


def test_a_prompt_far_from_every_text_comes_to_the_one_it_is_nearest_to():
    anchors = unit(50, 32)
    gap = 1.5 * unit(1, 32, seed=1)  # a region of its own
    strayed = F.normalize(anchors[:20] + gap, dim=-1)
    assert (strayed * anchors[:20]).sum(1).mean() < 0.7
    found = moved(strayed, anchors, scale=2000.0, share=1.0)
    torch.testing.assert_close(found, anchors[(strayed @ anchors.T).argmax(1)], atol=0.05, rtol=0)
    half = moved(strayed, anchors, scale=2000.0, share=0.5)
    torch.testing.assert_close(half.norm(dim=-1), torch.ones(20))
    for nearer, further in ((found, half), (half, strayed)):
        assert (nearer @ anchors.T).amax(1).mean() > (further @ anchors.T).amax(1).mean()
    torch.testing.assert_close(moved(strayed, anchors, share=0.0), strayed)


def test_no_prompt_stays_none_and_further_tokens_stay():
    anchors = PromptAnchors.from_embeddings(unit(5, 8))
    assert not anchors(Condition.zeros(2, 8, like=anchors.anchors)).tokens.any()
    tokens = unit(2, 3, 8, seed=2)
    mask = torch.tensor([[True, True, False]] * 2)
    found = anchors(Condition(tokens, mask))
    assert torch.equal(found.tokens[:, 1:], tokens[:, 1:]) and torch.equal(found.mask, mask)
    assert not torch.equal(found.tokens[:, 0], tokens[:, 0])


def test_a_pipeline_anchors_everything_but_text_and_keeps_anchors_when_saved(tmp_path):
    anchors = PromptAnchors.from_embeddings(unit(4, tiny.WIDTH), scale=30.0, share=0.5)
    plain, anchored = tiny.pipeline(), tiny.pipeline(prompt_anchors=anchors, extras=EXTRAS)
    anchored.save_pretrained(tmp_path)
    again = type(anchored).from_pretrained(tmp_path)
    assert again.prompt_anchors.config.scale == 30.0
    for modality, items in ((Modality.TEXT, ["a dog"]), (Modality.IMAGE, [tiny.media()["image"]])):
        before, after, stored = (pipe.encode_prompt(**{modality: items}).tokens for pipe in (plain, anchored, again))
        assert torch.equal(before, after) == (modality == Modality.TEXT)
        torch.testing.assert_close(stored, after, atol=1e-5, rtol=0)


def test_a_mixture_with_a_picture_is_anchored_once_as_a_whole():
    anchors = PromptAnchors.from_embeddings(unit(4, tiny.WIDTH), scale=30.0, share=0.5)
    plain, anchored = tiny.pipeline(), tiny.pipeline(prompt_anchors=anchors, extras=EXTRAS)
    given = {"text": "a dog", "image": tiny.media()["image"], "weights": {"text": 0.7, "image": 0.3}}
    mixed, found = (pipe.encode_prompt(**given).tokens for pipe in (plain, anchored))
    torch.testing.assert_close(found, anchors.move(mixed))
    assert torch.equal(*(pipe.encode_prompt(text=("a dog", "a ghost")).tokens for pipe in (plain, anchored)))


def test_a_text_that_the_projection_misreads_is_what_its_sentence_means_and_nothing_else():
    names, sentences, extra = unit(50, 32), unit(50, 48, seed=4), 0.4 * unit(1, 32, seed=5)
    anchors = PromptAnchors.from_embeddings(names, sentences, scale=200.0, sentence_scale=200.0)
    misread = Condition.from_embedding(F.normalize(names[:10] + extra, dim=-1))
    found = anchors.understood(misread, sentences[10:20]).tokens[:, 0]
    torch.testing.assert_close(found, names[10:20], atol=0.05, rtol=0)
    assert PromptAnchors.from_embeddings(names).understood(misread, sentences[10:20]) is misread


def test_a_text_that_both_understand_keeps_what_no_anchor_says():
    names, sentences, extra = unit(50, 32), unit(50, 48, seed=4), 0.4 * unit(1, 32, seed=5)
    anchors = PromptAnchors.from_embeddings(names, sentences, scale=200.0, sentence_scale=200.0)
    styled = Condition.from_embedding(F.normalize(names[:10] + extra, dim=-1))
    torch.testing.assert_close(anchors.understood(styled, sentences[:10]).tokens, styled.tokens, atol=0.05, rtol=0)


@pytest.mark.parametrize("offload", [None, "enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_a_pipeline_understands_texts_by_their_sentences_wherever_its_parts_are(offload):
    encoder = tiny.text_prompt_encoder()
    texts = ["a dog", "a ghost"]
    sentences = encoder.embed_texts(texts).flip(0)  # the projection takes one for the other
    anchors = PromptAnchors.from_embeddings(
        encoder.encode(texts).tokens[:, 0], sentences, scale=900.0, sentence_scale=900.0
    )
    pipe = tiny.pipeline(prompt_anchors=anchors, extras=EXTRAS)
    if offload:
        getattr(pipe, offload)(device="cpu")
    dog, ghost = (pipe.encode_prompt(text=text).tokens for text in texts)
    torch.testing.assert_close(dog, encoder.encode(["a ghost"]).tokens, atol=0.02, rtol=0)
    torch.testing.assert_close(ghost, encoder.encode(["a dog"]).tokens, atol=0.02, rtol=0)


def test_lengths_do_not_count():
    anchors = PromptAnchors.from_embeddings(unit(5, 8))
    torch.testing.assert_close(anchors.move(0.3 * unit(3, 8)), anchors.move(unit(3, 8)))


def test_free_wording_is_drawn_towards_known_names_by_its_own_share():
    names = unit(50, 32)
    wording = F.normalize(names[:20] + 0.5 * unit(1, 32, seed=3), dim=-1)
    anchors = PromptAnchors.from_embeddings(names, scale=200.0, share=0.5, text_share=0.3)
    moved = anchors(Condition.from_embedding(wording), only_text=True).tokens[:, 0]
    further = anchors(Condition.from_embedding(wording)).tokens[:, 0]
    near = [(each * names[:20]).sum(1).mean().item() for each in (wording, moved, further)]
    assert near == sorted(near) and len(set(near)) == 3
    assert torch.equal(
        anchors(Condition.from_embedding(wording), only_text=True, outputs=[Modality.AUDIO]).tokens[:, 0], moved
    )
    unheard = PromptAnchors.from_embeddings(names, scale=200.0, share=0.5, text_share=0.3, heard_text_share=0.0)
    assert torch.equal(unheard(Condition.from_embedding(wording), only_text=True).tokens[:, 0], moved)
    as_said = unheard(Condition.from_embedding(wording), only_text=True, outputs=[Modality.AUDIO]).tokens[:, 0]
    torch.testing.assert_close(as_said, wording)
    still = PromptAnchors.from_embeddings(names)
    condition = Condition.from_embedding(wording)
    assert still(condition, only_text=True) is condition
    blurred = PromptAnchors.from_embeddings(names, scale=200.0, text_scale=1.0, share=0.3, text_share=0.3)
    assert torch.equal(blurred(condition).tokens, anchors(condition, only_text=True).tokens)
    assert not torch.allclose(blurred(condition, only_text=True).tokens[:, 0], moved, atol=0.01)


def test_beside_a_sound_an_open_prompt_says_a_thing_of_its_kind_that_has_one():
    anchors = unit(20, 32)  # 0 and 1 are kinds; of the first 5 and 6 have a sound, of the second 9
    pairs = torch.tensor([[0, 5], [0, 6], [1, 9]])
    made = PromptAnchors.from_embeddings(anchors, audible_pairs=pairs, scale=2000.0)
    silent = F.normalize(anchors[12:13] + 0.7 * anchors[6:7] + 0.2 * anchors[9:10], dim=-1)
    no_prompt, hint = torch.zeros(1, 32), 0.2 * unit(1, 32, seed=9)

    def said(prompt: torch.Tensor, text: torch.Tensor = silent) -> int:
        return int((made.audible(text, prompt) @ anchors.T).argmax())

    assert said(anchors[:1]) == said(F.normalize(anchors[:1] + hint, dim=-1)) == 6
    assert said(anchors[1:2]) == 9 and said(no_prompt) == 6
    assert said(no_prompt, anchors[9:10]) == 9, "what has a sound stays"
    assert said(anchors[12:13]) == said(anchors[2:3]) == 12, "a named thing, and a kind without sounds, stay"
    assert said(F.normalize(anchors[:1] + anchors[2:3], dim=-1)) == 12, "so does what is only near a kind"
    without = PromptAnchors.from_embeddings(anchors, scale=2000.0)
    assert torch.equal(without.audible(silent, no_prompt), without.move(silent, share=1.0))


def test_where_only_a_sound_is_made_pictures_are_drawn_to_names_that_have_one_and_texts_are_not():
    names = unit(20, 32)
    made = PromptAnchors.from_embeddings(
        names, audible_pairs=torch.tensor([[0, 5], [1, 9]]), scale=2000.0, share=1.0, text_share=1.0
    )
    silent = Condition.from_embedding(F.normalize(names[12:13] + 0.3 * names[9:10], dim=-1))

    def nearest(*outputs: Modality, only_text: bool = False) -> int:
        return int((made(silent, only_text, outputs).tokens[:, 0] @ names.T).argmax())

    assert nearest() == nearest(Modality.AUDIO, Modality.IMAGE) == nearest(Modality.AUDIO, only_text=True) == 12
    assert nearest(Modality.AUDIO) == 9
    without = PromptAnchors.from_embeddings(names, scale=2000.0, share=1.0)
    assert torch.equal(without(silent, outputs=[Modality.AUDIO]).tokens, without(silent).tokens)


def test_a_caption_of_what_is_no_text_is_nothing_but_a_name():
    names = unit(20, 32)
    anchors = PromptAnchors.from_embeddings(names, scale=2000.0, share=0.5, caption_share=1.0)
    seen = Condition.from_embedding(F.normalize(names[:4] + 0.4 * unit(4, 32, seed=3), dim=-1))
    caption, joint = (
        anchors(seen, outputs=outputs).tokens for outputs in ([Modality.TEXT], [Modality.TEXT, Modality.IMAGE])
    )
    torch.testing.assert_close(caption[:, 0], names[:4], atol=0.02, rtol=0)
    assert torch.equal(joint, anchors(seen).tokens) and not torch.allclose(joint, caption, atol=0.01)
    assert torch.equal(anchors(seen, only_text=True, outputs=[Modality.TEXT]).tokens, seen.tokens)


def test_a_pipeline_hears_in_a_picture_what_has_a_sound_unless_it_makes_something_else_too():
    names = unit(6, tiny.WIDTH)
    anchors = PromptAnchors.from_embeddings(names, audible_pairs=torch.tensor([[0, 5]]), scale=2000.0, share=1.0)
    pipe = tiny.pipeline(prompt_anchors=anchors, extras=EXTRAS)
    picture = tiny.media()["image"]

    def nearest(*outputs: Modality) -> int:
        return int((pipe.encode_prompt(image=picture, outputs=outputs or "all").tokens[:, 0] @ names.T).argmax())

    assert nearest(Modality.AUDIO) == 5
    assert nearest(Modality.AUDIO, Modality.IMAGE) == nearest(Modality.IMAGE) == nearest() != 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_anchors_know_what_has_a_sound_when_loaded_again_and_older_ones_do_without(tmp_path, dtype):
    pairs = torch.tensor([[0, 3], [1, 4]])
    PromptAnchors.from_embeddings(unit(5, 8), audible_pairs=pairs).half().save_pretrained(tmp_path / "new")
    PromptAnchors.from_embeddings(unit(5, 8)).save_pretrained(tmp_path / "old")
    again = PromptAnchors.from_pretrained(tmp_path / "new", torch_dtype=dtype)
    assert again.audible_pairs.tolist() == pairs.tolist() and again.dtype == dtype
    assert PromptAnchors.from_pretrained(tmp_path / "old").audible_pairs is None
