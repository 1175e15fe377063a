"""Every prompt encoder can stand in for every other: the pipeline loops over them and knows nothing else."""

import numpy as np
import pytest
import torch
from PIL import Image

from opencodi.errors import ArgumentError
from opencodi.media import Audio, Video

EMPTY = {
    "text": "",
    "image": Image.new("RGB", (32, 32), (128, 128, 128)),
    "audio": Audio(np.zeros(4096, np.float32), 16000),
    "video": Video(np.full((1, 32, 32, 3), 128, np.uint8), fps=8),
    "clip_text": "",
    # The reference's grey is 127.5, cut off to a byte.
    "clip_image": Image.new("RGB", (32, 32), (127, 127, 127)),
    "clip_video": Video(np.full((1, 32, 32, 3), 127, np.uint8), fps=8),
    "clap_audio": Audio(np.zeros(4096, np.float32), 16000),
}


@pytest.fixture(params=sorted(EMPTY))
def maker(request):
    return request.param, request.getfixturevalue(f"make_{request.param}")


@pytest.fixture
def beside(maker, request):
    """What an encoder is given beside media: clips are read with the image prompt encoder."""
    images = {"video": "make_image", "clip_video": "make_clip_image"}
    return {"image": request.getfixturevalue(images[maker[0]])()} if maker[0] in images else {}


def test_zeros_stand_for_no_prompt(maker):
    condition = maker[1]().unconditional(3)
    assert condition.tokens.shape == (3, 1, 16) and condition.mask.shape == (3, 1)
    assert not condition.tokens.any() and condition.mask.all()


def test_empty_media_stand_for_no_prompt_as_in_the_reference(maker, beside):
    name, make = maker
    encoder = make(unconditional="empty")
    torch.testing.assert_close(
        encoder.unconditional(2, **beside).tokens, encoder.encode([EMPTY[name]] * 2, **beside).tokens
    )
    assert encoder.unconditional(1, **beside).tokens.norm() == pytest.approx(1, abs=1e-5)


def test_encode_is_forward_of_preprocess_and_read_tells_the_same(maker, beside):
    name, make = maker
    encoder = make()
    media = [EMPTY[name], EMPTY[name]]
    made = encoder.preprocess(media, **beside)
    if name == "video":
        made, given = encoder.frames(**made, **beside), {}
    else:
        given = beside
    expected = encoder.encode(media, **beside).tokens
    torch.testing.assert_close(expected, encoder(**made, **given).tokens)
    torch.testing.assert_close(encoder.read(media, **beside)[0].tokens, expected)


def test_an_unknown_unconditional_is_refused(maker):
    with pytest.raises(ArgumentError, match="unconditional"):
        maker[1](unconditional="nothing")
