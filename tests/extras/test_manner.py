"""Styles and motions are read beside what a prompt is about, and kept apart from it."""

import pytest
import torch
import torch.nn.functional as F

from opencodi import Modality
from opencodi.errors import ArgumentError
from opencodi.extras import MannerReader
from opencodi.extras.manner import MANNER, with_manner
from opencodi.prompts import Condition, mix

from .. import tiny

STYLES, MOTIONS = ["noto", "twemoji", "openmoji"], ["bouncing", "spinning"]


def reader(**config) -> MannerReader:
    sizes = {"sentence_dim": 16, "feature_dim": 24, "embedding_dim": tiny.WIDTH, "hidden_size": 8, "harmonics": 3}
    return tiny.randomise(MannerReader(STYLES, MOTIONS, **sizes, **config), 12)


def says(made: MannerReader, *names: str, alone: bool = False) -> MannerReader:
    """A reader for which every text says these manners, and nothing else if ``alone``."""
    last = made.text_head[-1]
    last.weight.data.zero_()
    last.bias.data = torch.tensor([1.0 if name in names else -1.0 for name in (*STYLES, *MOTIONS)] + [2.0 * alone - 1])
    return made


def prompt(count: int = 2, manner: torch.Tensor | None = None) -> Condition:
    tokens = F.normalize(torch.randn(count, 1, tiny.WIDTH, generator=torch.Generator().manual_seed(0)), dim=-1)
    return Condition(tokens, torch.ones(count, 1, dtype=torch.bool), {} if manner is None else {MANNER: manner})


def manner_of(condition: Condition) -> torch.Tensor | None:
    return condition.attributes.get(MANNER)


def test_a_text_says_how_and_keeps_what_unless_it_says_nothing_else():
    sentences = torch.randn(2, 16)
    both = says(reader(), "twemoji", "spinning")(prompt(), Modality.TEXT, sentences)
    assert manner_of(both).tolist() == [[0, 1, 0, 0, 1]] * 2 and torch.equal(both.tokens, prompt().tokens)
    only = says(reader(), "twemoji", alone=True)(prompt(), Modality.TEXT, sentences)
    assert manner_of(only).tolist() == [[0, 1, 0, 0, 0]] * 2 and not only.tokens.any()
    neither = says(reader(), alone=True)(prompt(), Modality.TEXT, sentences)
    assert torch.equal(neither.tokens, prompt().tokens), "a text that names no manner is about something"


def test_a_picture_shows_one_style_or_none_and_counts_less_than_words():
    made = reader(shown_share=0.4)
    shown = manner_of(made(prompt(), Modality.IMAGE, torch.randn(2, 24)))
    assert (
        shown.shape == (2, 5) and not shown[:, 3:].any() and set(shown.unique().tolist()) <= {0.0, 0.4000000059604645}
    )
    made.picture_head[-1].bias.data[-1] = 100.0  # no style at all
    assert not manner_of(made(prompt(), Modality.IMAGE, torch.randn(2, 24))).any()
    assert manner_of(made(prompt(), Modality.AUDIO, torch.randn(2, 24))) is None


def test_of_a_mixture_the_strongest_style_and_motion_are_meant():
    picture = prompt(1, torch.tensor([[0.5, 0, 0, 0, 0]]))
    words = prompt(1, torch.tensor([[0, 0, 1.0, 0, 1.0]]))
    made = reader()
    assert manner_of(made.decided(mix([picture, words, prompt(1)], [1, 1, 1]))).tolist() == [[0, 0, 1, 0, 1]]
    assert manner_of(made.decided(mix([picture, words], [3, 1]))).tolist() == [[1, 0, 0, 0, 1]]
    assert manner_of(made.decided(mix([picture, words], [1, 0]))).tolist() == [[1, 0, 0, 0, 0]]
    clip = with_manner(picture, torch.tensor([[0.0, 1, 0, 0, 0]]) * manner_of(picture).amax())  # in another style
    assert manner_of(made.decided(mix([picture, clip], [1, 1]))).tolist() == [[0, 0, 0, 0, 0]]
    assert manner_of(made.decided(mix([picture, clip], [3, 1]))).tolist() == [[1, 0, 0, 0, 0]]
    assert manner_of(mix([prompt(1), prompt(1)], [1, 1])) is None


def test_the_style_of_a_picture_is_followed_unless_a_text_names_a_thing_and_counts_as_much():
    made, picture = reader(), prompt(2, torch.tensor([[0.5, 0, 0, 0, 0]] * 2))
    words = prompt(2, torch.tensor([[0, 0, 0, 0, 0], [0, 0, 1.0, 0, 1.0]]))
    manner_alone = Condition(torch.zeros_like(words.tokens), words.mask, words.attributes)

    def meant(text: Condition, *weights: float) -> list[list[float]]:
        led = made.led_by_texts([text, picture], [Modality.TEXT, Modality.IMAGE], weights)
        return manner_of(made.decided(mix(led, weights))).tolist()

    assert meant(words, 1, 1) == [[0, 0, 0, 0, 0], [0, 0, 1, 0, 1]]
    assert meant(words, 0.2, 0.8) == [[1, 0, 0, 0, 0], [1, 0, 0, 0, 1]]
    assert meant(manner_alone, 1, 1) == [[1, 0, 0, 0, 0], [0, 0, 1, 0, 1]]
    assert manner_of(made.led_by_texts([picture, prompt()], [Modality.IMAGE, Modality.AUDIO], [1, 9])[0]).any()


def test_a_manner_follows_its_prompt_and_must_fit_it():
    manner = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0]])
    assert manner_of(prompt(2, manner).repeated(2))[:, 0].tolist() == [1, 1, 0, 0]
    assert manner_of(prompt(1, manner[:1]).spread(3)).shape == (3, 5)
    assert manner_of(prompt(2, manner).to(torch.float16)).dtype == torch.float16
    with pytest.raises(ArgumentError, match="attributes: manner"):
        prompt(3, manner)


def test_where_no_style_is_named_one_is_drawn_by_its_chance():
    made = reader(unnamed_styles={"noto": 0.25, "openmoji": 0.5})
    named = prompt(400, torch.tensor([[0, 1.0, 0, 0, 1.0]]).repeat(400, 1))
    generators = [torch.Generator().manual_seed(seed) for seed in range(400)]
    assert torch.equal(manner_of(made.in_some_style(named, generators)), manner_of(named))
    drawn = manner_of(made.in_some_style(prompt(400), [torch.Generator().manual_seed(seed) for seed in range(400)]))
    shares = drawn.mean(0)
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.0, 0.5, 0.0, 0.0]), atol=0.08, rtol=0)
    assert set(drawn.sum(1).tolist()) == {0.0, 1.0}
    assert manner_of(reader().in_some_style(prompt(), generators[:2])) is None


def test_things_rest_unless_a_motion_is_meant_and_then_move_in_a_loop():
    made = reader()
    still = made.courses(prompt(2, torch.tensor([[1.0, 0, 0, 0, 0]] * 2)), 8)
    assert torch.equal(still, torch.eye(2, 3).expand(2, 8, 2, 3)) and torch.equal(made.courses(prompt(), 8), still)
    moving = prompt(2, torch.tensor([[0, 0, 0, 1.0, 0], [0, 0, 0, 0, 1.0]]))
    courses = made.courses(moving, 8)
    assert (courses - still).abs().amax((1, 2, 3)).min() > 0.05
    # A clip of twice the frames shows the same course, at every other frame.
    torch.testing.assert_close(made.courses(moving, 16)[:, ::2], courses)


def test_a_pipeline_reads_the_manner_of_every_input_and_keeps_its_reader(tmp_path):
    sizes = {"feature_dim": tiny.image_prompt_encoder().tower.described_dim}
    made = says(
        tiny.randomise(MannerReader(STYLES, MOTIONS, 16, embedding_dim=tiny.WIDTH, hidden_size=8, **sizes)),
        "openmoji",
        alone=True,
    )
    named = {"manner": {}, "manner_decision": {}}
    pipe, plain = tiny.pipeline(manner_reader=made, extras=named), tiny.pipeline()
    pipe.save_pretrained(tmp_path)
    seen = []
    pictures = {name: tiny.media()[name] for name in ("image", "video")}
    for each in (pipe, type(pipe).from_pretrained(tmp_path)):
        assert list(each.extras) == list(named)
        each.set_progress_bar_config(disable=True)
        seen.append(
            each(text="openmoji", **pictures, num_inference_steps=1, generator=tiny.seeded(), output_type="latent")
        )
    # A text that names only a style adds nothing to what the picture and the clip show.
    alone = plain(**pictures, num_inference_steps=1, generator=tiny.seeded(), output_type="latent")
    for made_latents in seen:
        torch.testing.assert_close(made_latents.image, seen[0].image, atol=2e-3, rtol=0)
        assert made_latents.image.shape == alone.image.shape
