"""A vocoder and its discriminator share one optimizer, so each may only learn from its own losses."""

import torch

from opencodi.training.discriminator import SpectrogramDiscriminator, adversarial_losses

RESOLUTIONS = ((64, 16), (128, 32))


def setup(generator):
    discriminator = SpectrogramDiscriminator(RESOLUTIONS, channels=4)
    real = torch.sin(torch.arange(2048) * torch.tensor([[0.1], [0.3]]))
    made = (0.3 * torch.randn(2, 2048, generator=generator)).requires_grad_()
    return discriminator, made, real


def test_each_side_learns_only_from_its_own_losses(generator):
    discriminator, made, real = setup(generator)
    losses = adversarial_losses(discriminator, made, real)
    weights = list(discriminator.parameters())
    for name in ("adversarial", "feature_matching"):
        gradients = torch.autograd.grad(losses[name], [made, *weights], allow_unused=True, retain_graph=True)
        assert gradients[0].abs().max() > 0 and all(gradient is None for gradient in gradients[1:])
    gradients = torch.autograd.grad(losses["discriminator"], [made, *weights], allow_unused=True)
    assert gradients[0] is None and all(gradient is not None for gradient in gradients[1:])


def test_the_discriminator_learns_to_tell_and_what_is_made_to_fool_it(generator):
    discriminator, made, real = setup(generator)
    optimizer = torch.optim.AdamW(discriminator.parameters(), lr=3e-3)
    for _ in range(30):
        loss = adversarial_losses(discriminator, made, real)["discriminator"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    told = adversarial_losses(discriminator, made, real)
    assert told["discriminator"] < 0.5  # 2 when it cannot tell
    (gradient,) = torch.autograd.grad(told["adversarial"], [made])
    better = made.detach() - 0.05 * gradient.sign()
    assert adversarial_losses(discriminator, better, real)["adversarial"] < told["adversarial"]


def test_recordings_themselves_have_no_distance_of_features(generator):
    discriminator, _, real = setup(generator)
    assert adversarial_losses(discriminator, real, real)["feature_matching"] == 0
