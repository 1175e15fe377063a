import torch

from opencodi.sampling.noise import Noise, initial_noise, streams
from opencodi.training.objective import draw_noise
from tests.denoisers.tiny_nets import image_net


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


def test_frames_share_as_much_noise_as_asked_and_stay_standard_normal():
    noise = initial_noise((2, 16, 4, 32, 32), streams([1, 2], "video"), shared_frame_noise=0.9)
    assert abs(correlation(noise[0, :, 0], noise[0, :, 3]) - 0.9) < 0.02
    assert abs(correlation(noise[0, :, 0], noise[1, :, 0])) < 0.05
    assert abs(noise.std().item() - 1) < 0.02
    own = initial_noise((2, 16, 4, 32, 32), streams([1, 2], "video"))
    assert abs(correlation(own[0, :, 0], own[0, :, 3])) < 0.05


def test_a_clips_noise_does_not_depend_on_its_place_in_the_batch():
    both = initial_noise((2, 4, 3, 8, 8), streams([1, 2], "video"), shared_frame_noise=0.5)
    alone = initial_noise((1, 4, 3, 8, 8), streams([2], "video"), shared_frame_noise=0.5)
    assert torch.equal(both[1:], alone)


def test_the_first_draw_of_each_sample_is_the_noise_it_would_have_alone():
    source = Noise([1, 2], lambda _: (2, 4, 3, 8, 8), lambda _: 0.5)
    alone, three = source.draw("video"), source.draw("video", draws=3)
    assert three.shape == (6, 4, 3, 8, 8) and torch.equal(three[::3], alone)
    assert all(abs(correlation(three[0], other)) < 0.1 for other in three[1:])
    given = Noise([1, 2], lambda _: (2, 4), lambda _: 0.0, {"text": torch.ones(2, 4)})
    assert torch.equal(given.draw("text", draws=2), torch.ones(4, 4))


def test_pictures_share_nothing():
    assert torch.equal(
        initial_noise((1, 4, 8, 8), streams([3], "image"), shared_frame_noise=0.9),
        initial_noise((1, 4, 8, 8), streams([3], "image")),
    )


def test_training_draws_the_noise_that_the_network_is_sampled_with():
    denoiser = image_net(temporal=True, shared_frame_noise=0.8)
    noise = draw_noise((1, 16, 4, 32, 32), denoiser, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert abs(correlation(noise[0, :, 0], noise[0, :, 2]) - 0.8) < 0.03
    picture = draw_noise((1, 16, 32, 32), denoiser, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert picture.shape == (1, 16, 32, 32) and abs(picture.std().item() - 1) < 0.02
