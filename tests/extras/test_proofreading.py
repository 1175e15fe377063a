"""A text is drawn once more from what it says, before the others read it."""

import torch

from opencodi import Modality
from opencodi.extras import PromptAnchors

from .. import tiny

SEED = 3
WITH_ANCHORS = {"prompt_anchors": {}, "audible_names": {}, "proofreading": {}}


def texts(pipe, outputs="text", **more):
    return pipe(outputs=outputs, num_inference_steps=3, generator=torch.Generator().manual_seed(SEED), **more)


def test_the_text_is_what_its_own_words_give_as_a_prompt():
    plain, proofreading = tiny.pipeline(), tiny.pipeline(extras={"proofreading": {}})
    first = texts(plain).text
    expected = texts(plain, text=first, guidance_scale=2.0, output_type="latent").text
    found = texts(proofreading, guidance_scale=2.0, output_type="latent").text
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_what_it_says_is_drawn_all_the_way_to_the_anchors():
    anchor = torch.nn.functional.normalize(
        torch.randn(1, tiny.WIDTH, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    pipe = tiny.pipeline(extras=WITH_ANCHORS, prompt_anchors=PromptAnchors.from_embeddings(anchor, share=0.1))
    # With one anchor every text means that, so what was said first makes no difference.
    a, b = (texts(pipe, text=text, guidance_scale=2.0, output_type="latent").text for text in ("a dog", "a ghost"))
    torch.testing.assert_close(a, b)


def test_beside_a_sound_a_prompt_that_leaves_it_open_gives_a_name_that_has_one():
    encoder = tiny.text_prompt_encoder()
    known = encoder.encode(["an animal", "a rooster", "a red apple"]).tokens[:, 0]
    anchors = {"scale": 900.0, "share": 0.0}
    deaf, hearing = (
        tiny.pipeline(
            extras=WITH_ANCHORS, prompt_anchors=PromptAnchors.from_embeddings(known, audible_pairs=pairs, **anchors)
        )
        for pairs in (None, torch.tensor([[0, 1]]))
    )

    def latents(pipe, outputs, **more):
        return texts(pipe, outputs, output_type="latent", guidance_scale=2.0, **more).text

    rooster = latents(tiny.pipeline(), "text", text="a rooster")
    for given in ({"text": "an animal"}, {}):
        torch.testing.assert_close(latents(hearing, ["text", "audio"], **given), rooster, atol=1e-3, rtol=0)
        assert torch.equal(latents(hearing, "text", **given), latents(deaf, "text", **given)), "there is no sound"
    for given in ({"text": "a red apple"}, {"image": tiny.media()["image"]}):
        assert torch.equal(*(latents(pipe, ["text", "audio"], **given) for pipe in (deaf, hearing)))


def test_a_callback_sees_and_may_replace_the_proofread_text():
    seen = []

    def look(pipe, step, timesteps, tensors):
        seen.append(tensors["latents"][Modality.TEXT].clone())
        return {"latents": {Modality.TEXT: torch.zeros_like(seen[-1])}} if len(seen) == 6 else None

    pipe = tiny.pipeline(extras={"proofreading": {}})
    without = texts(pipe, output_type="latent").text
    found = texts(pipe, output_type="latent", callback_on_step_end=look).text
    assert len(seen) == 6 and not found.any()
    torch.testing.assert_close(seen[-1], without)
