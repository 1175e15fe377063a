"""Joint generation by evidence: readings add up and reach every output by two ways; the control shows another sample's."""

import pytest
import torch
import torch.nn.functional as F

from opencodi import AnyToAnyPipeline
from opencodi.denoisers import AlignmentAdapter, CaptionBank, Evidence, EvidenceEncoder
from opencodi.errors import ArgumentError, ConfigurationError
from opencodi.sampling import InTurn, Together
from opencodi.sampling.evidence import evidence_context

from .. import tiny

SIZES = {"embedding_dim": tiny.WIDTH, "channels": (8, 8), "num_heads": 2, "norm_num_groups": 2}
SIZES |= {"time_channels": 8, "time_embedding_dim": 16, "num_tokens": 3}
TEMPORAL = {name: tiny.video_temporal().config[name] for name in ("num_heads", "attention_mult", "feed_forward_mult")}
TEMPORAL |= {name: tiny.video_temporal().config[name] for name in ("max_frames", "frame_rate")}


def bank(count: int = 12, **values) -> CaptionBank:
    return CaptionBank.of(torch.randn(count, tiny.WIDTH, generator=tiny.seeded(1)), 4, **values)


def encoders(seed: int = 20) -> dict[str, EvidenceEncoder]:
    made = {
        "text_evidence": EvidenceEncoder(
            **SIZES, latents="vector", in_channels=8, tokens_per_feature=2, template_size=8
        ),
        "image_evidence": EvidenceEncoder(**SIZES, in_channels=4, template_size=256),
        "video_evidence": EvidenceEncoder(**SIZES, in_channels=4, beats=4, temporal=TEMPORAL),
        "audio_evidence": EvidenceEncoder(**SIZES, in_channels=4, beats=4, beats_per_position=2),
    }
    made = {name: tiny.randomise(each, seed + place) for place, (name, each) in enumerate(made.items())}
    for each in made.values():  # sure enough to matter
        each.out.data = 3 * torch.randn(each.out.shape, generator=tiny.seeded(seed))
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> AnyToAnyPipeline:
    pipe = tiny.pipeline(**encoders(), caption_bank=bank())
    folder = tmp_path_factory.mktemp("evidence")
    pipe.save_pretrained(folder)
    return tiny.opened(folder)


def test_a_new_encoder_says_nothing_and_nothing_prompts_by_nothing():
    encoder = EvidenceEncoder(**SIZES, in_channels=4, beats=4, template_size=256)
    read = encoder.evidence(torch.randn(2, 4, 8, 8), torch.tensor([900, 10]))
    assert read.content.shape == (2, 3, tiny.WIDTH) and not read.content.any() and not read.beats.any()
    assert not bank().mixture(torch.zeros(2, tiny.WIDTH), read.content[:, 0]).any()


def test_evidence_of_one_text_becomes_its_embedding_and_of_two_doubts_adds_up():
    known = bank()
    text = known.embeddings[5]
    sure = known.mixture(torch.zeros(1, tiny.WIDTH), 80 * text[None])
    assert F.cosine_similarity(sure, text[None]) > 0.99 and sure.norm() > 0.95
    weak = [known.mixture(torch.zeros(1, tiny.WIDTH), scale * text[None]) for scale in (1.0, 2.0)]
    assert 0 < weak[0].norm() < weak[1].norm() < 1


def test_evidence_turns_a_vague_prompt_and_leaves_one_that_says_all():
    known = bank(spread=1.0)
    first, second = known.embeddings[:2]
    vague = F.normalize((first + second)[None], dim=-1)
    moved = known.mixture(vague, 60 * (first - second)[None])
    assert F.cosine_similarity(moved, first[None]) > F.cosine_similarity(vague, first[None]) + 0.05
    still = known.mixture(vague, torch.zeros(1, tiny.WIDTH))
    torch.testing.assert_close(still, vague)


def test_calibration_is_interpolated_between_its_timesteps():
    encoder = EvidenceEncoder(**SIZES, in_channels=4, calibration=((900, 0.5), (700, 1.0)))
    assert encoder.factor(torch.tensor([999, 900, 800, 100])).tolist() == pytest.approx([0.5, 0.5, 0.75, 1.0])
    alone = EvidenceEncoder(**SIZES, in_channels=4, calibration=((900, 0.5),))
    assert alone.factor(torch.tensor([999, 0])).tolist() == [0.5, 0.5]


def test_what_has_no_time_is_told_no_beats():
    heard = [Evidence(torch.randn(2, 3, 8), torch.randn(2, 4)), Evidence(torch.randn(2, 2, 8))]
    asked = torch.zeros(2, 8)
    assert evidence_context(heard, asked, None).tokens.shape == (2, 1 + 3, 8)
    timed = evidence_context(heard, asked, 2.0)
    assert timed.tokens.shape == (2, 1 + 3 + 4, 8) and timed.seconds[4:].tolist() == [0.25, 0.75, 1.25, 1.75]
    assert timed.seconds[:4].isnan().all()


def test_all_outputs_are_made_together_from_every_prompt(model):
    for inputs in ({}, {"text": "a rooster"}, {"image": tiny.media()["image"], "text": "a red apple"}):
        made = tiny.latents(model, outputs="all", guidance_scale=2.0, **inputs)
        assert len(made) == 4 and all(torch.isfinite(each).all() for each in made.values())
    media = model(text="a rooster", outputs=["video", "audio"], num_inference_steps=2)
    assert media.video and media.audio


def test_evidence_reaches_by_the_prompt_and_by_the_sublayers(model):
    asked = {"outputs": ["image", "audio"], "text": "a rooster", "num_inference_steps": 3}
    made = tiny.latents(model, **asked)["image"]
    assert tiny.differ(made, tiny.latents(model, **asked, plan=Together(evidence=False))["image"])
    for part in ("image_alignment", "audio_evidence"):
        kept, other = (
            model.parts.get(part),
            tiny.randomise(type(model.parts.get(part))(**model.parts.get(part).config), 99),
        )
        model.parts.set(part, other)
        assert tiny.differ(made, tiny.latents(model, **asked)["image"], by=1e-5), part
        model.parts.set(part, kept)
    # The prompt alone: new sub-layers change nothing.
    denoiser = model.parts.get("image_denoiser")
    plain = AlignmentAdapter.for_denoiser(denoiser, **tiny.ALIGNMENT, temporal=tiny.video_temporal().config)
    kept = model.parts.get("image_alignment")
    model.parts.set("image_alignment", plain)
    by_prompt = tiny.latents(model, **asked)["image"]
    model.parts.set("audio_evidence", EvidenceEncoder(**encoders()["audio_evidence"].config))
    assert tiny.differ(by_prompt, tiny.latents(model, **asked)["image"], by=1e-5)
    model.parts.set("audio_evidence", encoders()["audio_evidence"])
    model.parts.set("image_alignment", kept)


def test_in_the_control_partners_are_those_of_another_sample(model):
    asked = {"outputs": ["image", "audio"], "text": ["a rooster", "a rooster"], "num_inference_steps": 3}
    seeds = [tiny.seeded(1), tiny.seeded(2)]
    made = tiny.latents(model, **asked, generator=seeds)
    seeds = [tiny.seeded(1), tiny.seeded(2)]
    swapped = tiny.latents(model, **asked, generator=seeds, extras=["swapped_partners"])
    assert tiny.differ(made["image"], swapped["image"], by=1e-5) and tiny.differ(
        made["audio"], swapped["audio"], by=1e-5
    )
    alone = {**asked, "text": "a rooster"}  # one's own partner is oneself
    one, other = (tiny.latents(model, **alone, extras=extras) for extras in ([], ["swapped_partners"]))
    torch.testing.assert_close(one, other)


def test_texts_walk_ahead_and_the_ticks_are_counted(model):
    ticks = []
    model(
        text="a rooster",
        outputs=["text", "image"],
        num_inference_steps=2,
        output_type="latent",
        callback_on_step_end=lambda pipe, step, times, tensors: ticks.append(set(times)),
    )
    assert ticks[-1] == {"image"} and len(ticks) == model.num_ticks(["text", "image"], num_inference_steps=2)


def test_a_model_without_evidence_refuses_it_and_works_as_before():
    pipe = tiny.pipeline(audio_evidence=encoders()["audio_evidence"], caption_bank=bank())
    made = tiny.latents(pipe, outputs=["image", "audio"], text="a rooster")
    before = tiny.latents(tiny.pipeline(), outputs=["image", "audio"], text="a rooster")
    assert all(torch.equal(made[m], before[m]) for m in made)
    with pytest.raises(ArgumentError, match="no image_evidence"):
        tiny.latents(pipe, outputs=["image", "audio"], text="a rooster", plan=Together(evidence=True))


def test_a_model_without_environment_encoders_can_only_exchange_evidence():
    denoiser, temporal = tiny.image_denoiser(), tiny.video_temporal().config
    bare = {**tiny.ALIGNMENT, "environment_channels": ()}
    pipe = tiny.pipeline(
        **encoders(),
        caption_bank=bank(),
        image_alignment=tiny.randomise(AlignmentAdapter.for_denoiser(denoiser, **bare, temporal=temporal), 3),
        audio_alignment=tiny.alignment(tiny.audio_denoiser(), 15, environment_channels=()),
    )
    made = tiny.latents(pipe, outputs=["image", "audio"], text="a rooster")
    assert all(torch.isfinite(each).all() for each in made.values())
    with pytest.raises(ConfigurationError, match=r"use Together\(\)"):
        tiny.latents(pipe, outputs=["image", "audio"], text="a rooster", plan=InTurn())
