"""A text is drawn once more from what it says, before the others read it."""

import torch

from opencodi import Modality
from opencodi.prompts import PromptAnchors

from . import tiny

SEED = 3


def texts(pipe, outputs="text", **more):
    return pipe(outputs=outputs, num_inference_steps=3, generator=torch.Generator().manual_seed(SEED), **more)


def test_the_text_is_what_its_own_words_give_as_a_prompt():
    plain, proofreading = tiny.pipeline(), tiny.pipeline(proofread_text=True)
    first = texts(plain).text
    expected = texts(plain, text=first, guidance_scale=2.0, output_type="latent").text
    found = texts(proofreading, guidance_scale=2.0, output_type="latent").text
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_what_it_says_is_drawn_all_the_way_to_the_anchors():
    anchor = torch.nn.functional.normalize(
        torch.randn(1, tiny.WIDTH, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    pipe = tiny.pipeline(proofread_text=True, prompt_anchors=PromptAnchors.from_embeddings(anchor, share=0.1))
    # With one anchor every text means that, so what was said first makes no difference.
    a, b = (texts(pipe, text=text, guidance_scale=2.0, output_type="latent").text for text in ("a dog", "a ghost"))
    torch.testing.assert_close(a, b)


def test_a_callback_sees_and_may_replace_the_proofread_text():
    seen = []

    def look(pipe, step, timesteps, tensors):
        seen.append(tensors["latents"][Modality.TEXT].clone())
        return {"latents": {Modality.TEXT: torch.zeros_like(seen[-1])}} if len(seen) == 3 else None

    pipe = tiny.pipeline(proofread_text=True)
    without = texts(pipe, output_type="latent").text
    found = texts(pipe, output_type="latent", callback_on_step_end=look).text
    assert len(seen) == 3 and not found.any()
    torch.testing.assert_close(seen[-1], without)
