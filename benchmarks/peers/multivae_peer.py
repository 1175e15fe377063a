"""Train a multimodal VAE of the package multivae on our items, and sample from it; in the peer's environment (README.md).

python benchmarks/peers/multivae_peer.py train --output FOLDER --minutes 60
python benchmarks/peers/multivae_peer.py sample --output FOLDER
"""

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

ITEMS, WEIGHTS, SETTINGS, RESUME, SAMPLES = (
    *("items.safetensors", "peer.safetensors", "peer.json", "peer_training.pt", "peer_samples.safetensors"),
)
REPORT_SECONDS, CHECKPOINT_SECONDS = 20, 120
CHUNK = 64


@dataclass
class PeerItems:
    """What ``items.py`` wrote: ``tensors`` and ``notes``, as ``items.prepare`` returns them."""

    tensors: dict[str, torch.Tensor]
    notes: dict[str, Any]

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "PeerItems":
        """From its file; all of it goes to ``device``."""
        with safe_open(folder / ITEMS, "pt") as file:
            notes = {key: json.loads(value) for key, value in file.metadata().items()}
        return cls(load_file(folder / ITEMS, device), notes)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one item of each modality."""
        audio = (1, *self.tensors["train.sounds"].shape[2:])
        return {"image": (3, 64, 64), "audio": audio, "text": (len(self.notes["concepts"]),)}

    def images(self, part: str, places: torch.Tensor) -> torch.Tensor:
        """[B] → float32 [B, 3, 64, 64] in [0, 1]."""
        return self.tensors[f"{part}.images"][places].float() / 255

    def sounds(self, part: str, places: torch.Tensor, versions: torch.Tensor) -> torch.Tensor:
        """[B], [B] → normalised log-mel, float32 [B, 1, T, M]."""
        return self.tensors[f"{part}.sounds"][places, versions].float().unsqueeze(1)

    def names(self, concepts: torch.Tensor) -> torch.Tensor:
        """[B] → one-hot float32 [B, names]."""
        return F.one_hot(concepts, len(self.notes["concepts"])).float().to(self.tensors["train.images"].device)

    def known(self, name: str) -> np.ndarray:
        """What is known of the training items, by which they are chosen."""
        return self.tensors[f"train.{name}"].cpu().numpy()

    def draw(self, count: int, rng: np.random.Generator, other_styles: float) -> dict[str, torch.Tensor]:
        """Training sounds, each with the name and a random picture of its concept.

        Args:
            count: B.
            rng: of all choices.
            other_styles: share of pictures from all styles; the others are drawn in OpenCoDi's, where there is one.

        Returns:
            ``image`` [B, 3, 64, 64], ``audio`` [B, 1, T, M], ``text`` [B, names].
        """
        concepts = self.known("sound_concepts")
        weights = np.bincount(concepts)[concepts] ** -0.5  # some concepts have 200 sounds, most have three
        sounds = rng.choice(len(concepts), count, p=weights / weights.sum())
        owners, in_family = self.known("image_concepts"), self.known("in_family")
        pictures = []
        for concept, other in zip(concepts[sounds], rng.random(count) < other_styles):
            own = np.flatnonzero(owners == concept)
            drawn_alike = own[in_family[own]]
            pictures.append(rng.choice(own if other or not len(drawn_alike) else drawn_alike))
        versions = rng.integers(0, self.tensors["train.sounds"].shape[1], count)
        return {
            "image": self.images("train", torch.tensor(np.array(pictures))),
            "audio": self.sounds("train", torch.tensor(sounds), torch.tensor(versions)),
            "text": self.names(torch.tensor(concepts[sounds])),
        }

    def prompts(self, modality: str) -> torch.Tensor:
        """Every validation item of a modality, or every name: [N, …]."""
        if modality == "text":
            return torch.eye(len(self.notes["concepts"]))
        places = torch.arange(len(self.tensors[f"prompt.{'images' if modality == 'image' else 'sounds'}"]))
        return self.images("prompt", places) if modality == "image" else self.sounds("prompt", places, 0 * places)


def train(folder: Path, asked: argparse.Namespace) -> None:
    """Train for the wall time asked for, or go on where a run of the same settings was stopped."""
    from peer_networks import MultimodalBaseDataset, build

    items = PeerItems.load(folder, asked.device)
    settings = {name: value for name, value in vars(asked).items() if name not in ("action", "output", "device")}
    torch.manual_seed(asked.seed)
    model = build(asked.model, items.shapes, asked.latent_dim, asked.private_dim, asked.alpha)
    model = model.to(asked.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=asked.learning_rate, betas=(0.9, 0.99))
    step, before, used_before = 0, 0.0, 0.0
    if (folder / RESUME).exists():
        kept = torch.load(folder / RESUME, map_location=asked.device, weights_only=True)
        if kept["settings"] != settings:
            raise SystemExit(f"error: {folder} holds a run with other settings: {kept['settings']}")
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        step, before, used_before = kept["step"], kept["seconds"], kept["cpu_seconds"]

    total, started, used = asked.minutes * 60, time.perf_counter() - before, used_before
    busy_before = time.process_time() - used_before
    seconds = reported = saved = before
    losses: list[float] = []
    while seconds < total:
        for group in optimizer.param_groups:
            group["lr"] = asked.learning_rate * 0.5 * (1 + math.cos(math.pi * seconds / total))
        torch.manual_seed(asked.seed * 1_000_003 + step)
        batch = items.draw(asked.batch_size, np.random.default_rng([asked.seed, step]), asked.other_styles)
        loss = model(MultimodalBaseDataset(batch)).loss_sum / asked.batch_size
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1000.0)
        optimizer.step()
        step += 1
        losses.append(loss.item())
        seconds, used = time.perf_counter() - started, time.process_time() - busy_before
        if seconds - reported > REPORT_SECONDS:
            each = f"items/s {step * asked.batch_size / seconds:.1f} ({step * asked.batch_size / used:.1f} of CPU time)"
            print(f"{seconds / 60:.1f} min  step {step}  loss {np.mean(losses):.1f}  {each}", flush=True)
            reported, losses = seconds, []
        if seconds - saved > CHECKPOINT_SECONDS or seconds >= total:
            kept = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "settings": settings}
            torch.save(kept | {"step": step, "seconds": seconds, "cpu_seconds": used}, folder / f"{RESUME}.part")
            os.replace(folder / f"{RESUME}.part", folder / RESUME)
            saved = seconds
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    about = {
        **settings,
        "device": asked.device,
        "steps": step,
        "seconds": seconds,
        "cpu_seconds": used,
        "parameters": parameters,
    }
    (folder / SETTINGS).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def sample(folder: Path, asked: argparse.Namespace) -> None:
    """Every modality from every other, and all three together, into one file.

    Keys: ``text_to_image`` and so on, from the posterior's mean: the peer's best guess; ``prior_image`` and so on from
    the prior, ``mixture_image`` and so on from a Gaussian mixture fitted to the training posteriors, which multivae
    offers for better samples. Images uint8 [N, 3, 64, 64]; audio log-mel [N, T, M]; text logits [N, names].
    """
    from peer_networks import GaussianMixtureSampler, GaussianMixtureSamplerConfig, MultimodalBaseDataset, build

    items, settings = PeerItems.load(folder), json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    sizes = (settings["latent_dim"], settings["private_dim"])
    model = build(settings["model"], items.shapes, *sizes, settings["alpha"]).eval()
    model.load_state_dict(load_file(folder / WEIGHTS))
    torch.manual_seed(asked.seed)
    np.random.seed(asked.seed)

    def stored(modality: str, made: torch.Tensor) -> torch.Tensor:
        if modality == "image":
            return (made.clamp(0, 1) * 255).round().byte()
        return made.squeeze(1) * items.notes["mel_std"] + items.notes["mel_mean"] if modality == "audio" else made

    found: dict[str, torch.Tensor] = {}
    for source in items.shapes:
        targets = [target for target in items.shapes if target != source]
        chunks = [
            model.predict(MultimodalBaseDataset({source: chunk}), source, targets, return_mean=True)
            for chunk in items.prompts(source).split(CHUNK)
        ]
        for target in targets:
            found[f"{source}_to_{target}"] = stored(target, torch.cat([chunk[target] for chunk in chunks]))

    rng = np.random.default_rng(asked.seed)
    mixture = GaussianMixtureSampler(model, GaussianMixtureSamplerConfig(n_components=asked.components))
    mixture.fit(MultimodalBaseDataset(items.draw(asked.fitted, rng, settings["other_styles"])))
    latents = {"prior": model.generate_from_prior(asked.samples), "mixture": mixture.sample(asked.samples)}
    for way, latent in latents.items():
        for modality, made in model.decode(latent).items():
            found[f"{way}_{modality}"] = stored(modality, made)
    save_file({name: value.contiguous() for name, value in found.items()}, folder / SAMPLES)
    print(folder / SAMPLES, {name: tuple(value.shape) for name, value in found.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    training, sampling = actions.add_parser("train"), actions.add_parser("sample")
    for one in (training, sampling):
        one.add_argument("--output", type=Path, required=True, help="folder that items.py wrote into")
        one.add_argument("--seed", type=int, default=0)
    training.add_argument("--minutes", type=float, required=True, help="wall time")
    training.add_argument("--device", default="cpu", help="cpu (one thread) or cuda")
    training.add_argument("--model", default="mvtcae", choices=("mvtcae", "mmvae+"))
    training.add_argument("--latent-dim", type=int, default=128)
    training.add_argument("--private-dim", type=int, default=32, help="of each modality; mmvae+ only")
    training.add_argument("--alpha", type=float, default=5 / 6, help="mvtcae only; see peer_networks.build")
    training.add_argument("--batch-size", type=int, default=64)
    training.add_argument("--learning-rate", type=float, default=1e-3)
    training.add_argument("--other-styles", type=float, default=0.25, help="share of pictures drawn from all styles")
    sampling.add_argument("--samples", type=int, default=500, help="of all three modalities together")
    sampling.add_argument("--components", type=int, default=64, help="of the mixture")
    sampling.add_argument("--fitted", type=int, default=4096, help="training triples the mixture is fitted to")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    {"train": train, "sample": sample}[asked.action](asked.output, asked)


if __name__ == "__main__":
    main()
