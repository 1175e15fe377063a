"""Distances: of what is made to what is real, and of what the autoencoders give back to what they were given."""

from collections.abc import Sequence
from typing import Any

import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from ....data.augment import audio_batch, over_white
from ....evaluation.distances import frechet_distance
from ....evaluation.share import mean
from ....media import Audio, Media
from ....modality import Modality
from .bench import Bench
from .collection import KIND_OF
from .judging import judge

CHUNK = 32


def measure(bench: Bench) -> dict[str, Any]:
    """Fréchet distances in the judges' features, reconstructions, and the vocoder.

    Returns:
        ``{"frechet": {"image": {"made", "floor", "n_made", "n_real"}}, "image_autoencoder": {"psnr", "ssim"},
        "audio": {"vocoder", "griffin_lim", "autoencoder_and_vocoder"}, "audio_frechet": {the same}}``. ``made`` is the
        distance of everything made for the any-to-any table to the real validation items; ``floor`` that of as many real
        training items, at most ``n_made`` of them, to the same.
    """
    bench.progress.begin("distances", len(KIND_OF) + 2)
    found: dict[str, Any] = {"frechet": {}}
    for modality, kind in KIND_OF.items():
        found["frechet"][modality] = _frechet(bench, modality, kind, bench.made[modality])
        bench.progress.advance(1)
    found["image_autoencoder"] = image_reconstruction(bench)
    bench.progress.advance(1)
    found |= audio_reconstruction(bench)
    bench.progress.advance(1)
    return found


def _frechet(bench: Bench, modality: Modality, kind: str, made: Sequence[Media]) -> dict[str, Any]:
    collection, rng = bench.collection, bench.rng(f"distances {kind}")
    real = collection.media(kind, collection.validation(kind))
    size = min(len(made), bench.budget.floor)
    training = collection.media(kind, collection.training(kind, max(size, 2), rng))
    if not real or len(made) < 2:
        return {"made": None, "floor": None, "n_made": len(made), "n_real": len(real)}
    chosen = [made[place] for place in sorted(rng.permutation(len(made))[:size])]
    features = {
        name: judge(bench.judges, modality, items).features
        for name, items in (("real", real), ("made", chosen), ("training", training))
    }
    return {
        "made": frechet_distance(features["made"], features["real"]),
        "floor": frechet_distance(features["training"], features["real"]),
        "n_made": len(chosen),
        "n_training": len(training),
        "n_real": len(real),
    }


@torch.no_grad()
def image_reconstruction(bench: Bench) -> dict[str, Any]:
    """PSNR in decibels and SSIM of validation pictures sent through the image autoencoder and back, mean per picture."""
    numbers = bench.collection.validation("image", bench.budget.reconstructions, bench.rng("reconstructed pictures"))
    autoencoder = bench.pipeline.image_autoencoder
    psnr, ssim = [], []
    pixels = over_white(bench.collection.items("image", numbers).media)
    for given in pixels.split(CHUNK):
        back = autoencoder(given.to(autoencoder.device, autoencoder.dtype)).float().cpu().clamp(-1, 1)
        pair = ((back + 1) / 2, (given + 1) / 2)
        psnr += peak_signal_noise_ratio(*pair, data_range=1.0, reduction="none", dim=(1, 2, 3)).tolist()
        ssim += structural_similarity_index_measure(*pair, data_range=1.0, reduction="none").tolist()
    return {"psnr": mean(psnr), "ssim": mean(ssim)}


@torch.no_grad()
def audio_reconstruction(bench: Bench) -> dict[str, Any]:
    """Mean absolute log-mel error of validation sounds: the vocoder's, Griffin-Lim's, and of the whole way there and back.

    And the Fréchet distance of what comes back to the sounds themselves, in the judge's features.

    Returns:
        ``{"audio": {way: {"mean", "n"}}, "audio_frechet": {way: distance}}``.
    """
    numbers = bench.collection.validation("sound", bench.budget.reconstructions, bench.rng("reconstructed sounds"))
    autoencoder, vocoder = bench.pipeline.audio_autoencoder, bench.pipeline.audio_vocoder
    mel_of = autoencoder.mel_spectrogram
    errors: dict[str, list[float]] = {"griffin_lim": [], "vocoder": [], "autoencoder_and_vocoder": []}
    heard: dict[str, list[Media]] = {way: [] for way in errors}
    generator = torch.Generator().manual_seed(bench.seed)
    media = bench.collection.items("sound", numbers).media
    for start in range(0, len(media), CHUNK):
        mel = mel_of(audio_batch(media[start : start + CHUNK]))
        made = {"griffin_lim": mel_of.griffin_lim(mel, generator=generator)}
        if vocoder is not None:
            whole = mel.shape[1] // autoencoder.downsampling * autoencoder.downsampling
            coded = autoencoder(mel[:, None, :whole].to(autoencoder.device))[:, 0].cpu()
            made["vocoder"] = vocoder(mel.to(vocoder.device, vocoder.dtype)).float().cpu()
            made["autoencoder_and_vocoder"] = vocoder(coded.to(vocoder.device, vocoder.dtype)).float().cpu()
        for name, waveform in made.items():
            again = mel_of(waveform)
            frames = min(again.shape[1], mel.shape[1])
            errors[name] += (again[:, :frames] - mel[:, :frames]).abs().mean((1, 2)).tolist()
            heard[name] += [Audio(samples, autoencoder.config.sample_rate) for samples in waveform.clamp(-1, 1).numpy()]
    real = bench.collection.media("sound", numbers)
    features = {way: judge(bench.judges, Modality.AUDIO, sounds).features for way, sounds in heard.items() if sounds}
    wanted = judge(bench.judges, Modality.AUDIO, real).features if real else torch.zeros(0, 1)
    return {
        "audio": {way: mean(values) for way, values in errors.items() if values},
        "audio_frechet": {way: frechet_distance(found, wanted) for way, found in features.items()},
    }
