"""What a frozen EfficientNet-Lite0 knows of photographs before anything is trained, and how fast it sees.

    python benchmarks/vision_features.py --data FOLDER --size 128

Named photographs over white are named among all names of the collection: by the nearest drawing in the space of features
(centred, five styles), and by the sentence embeddings of the ImageNet classes, weighted by their probabilities.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from opencodi.data.augment import over_white
from opencodi.data.shards import find_data, load_concepts, load_images
from opencodi.prompts.text import TextPromptEncoder, find_minilm
from opencodi.prompts.vision_network import class_names, pretrained_vision_network

STYLES = ("fluent-3d", "fluent-emoji", "noto", "openmoji", "twemoji")
AT_ONCE = 32


@torch.no_grad()
def seen(network: torch.nn.Module, pictures: np.ndarray, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 RGBA [N, H, W, 4] → embeddings [N, 1280] and logits [N, 1000]."""
    found = []
    for start in range(0, len(pictures), AT_ONCE):
        pixels = over_white(pictures[start : start + AT_ONCE])
        if pixels.shape[-1] != size:
            pixels = F.interpolate(pixels, size=(size, size), mode="bicubic", antialias=True)
        last = network.features(pixels.contiguous(memory_format=torch.channels_last), (len(network.blocks) - 1,))[0]
        embeddings = network.head(last).mean((2, 3))
        found.append((embeddings, network.classifier(embeddings)))
    embeddings, logits = (torch.cat(each) for each in zip(*found))
    return embeddings, logits


def report(way: str, nearest: torch.Tensor, truth: torch.Tensor) -> None:
    """One line: the shares of the photographs whose own name is the first, and among the first five [N, 5]."""
    right = nearest == truth[:, None]
    print(f"| {way} | {100 * right[:, 0].float().mean():.0f} | {100 * right.any(1).float().mean():.0f} |")


def rate(network: torch.nn.Module, size: int, dtype: torch.dtype) -> float:
    """Pictures a second of processor time, channels last."""
    network = network.to(dtype)
    pixels = torch.randn(16, 3, size, size).to(dtype).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        network(pixels)
        started = time.process_time()
        for _ in range(3):
            network(pixels)
    return 48 / (time.process_time() - started)


def main() -> None:
    """Print the table and the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--size", type=int, default=128)
    given = parser.parse_args()
    folder, network = find_data(given.data), pretrained_vision_network(1000).to(memory_format=torch.channels_last)
    photos, drawings = load_images(folder, ("photos",)), load_images(folder, ("images",))
    photos = photos.subset([i for i, record in enumerate(photos.records) if record.get("concept")])
    drawings = drawings.subset([i for i, record in enumerate(drawings.records) if record["style"] in STYLES])
    names = sorted({concept["name"] for concept in load_concepts(folder).values()})
    place = {name: number for number, name in enumerate(names)}
    truth, drawn = (torch.tensor([place[record["name"]] for record in each.records]) for each in (photos, drawings))
    text = TextPromptEncoder.from_sentence_transformer(find_minilm())
    words = torch.cat([text.embed_texts([f"a {name}" for name in names[i : i + 64]]) for i in range(0, len(names), 64)])
    classes = torch.cat([text.embed_texts(class_names()[i : i + 64]) for i in range(0, 1000, 64)])
    embeddings, logits = seen(network, photos.media, given.size)
    others, _ = seen(network, drawings.media, given.size)
    print(
        f"{len(truth)} photographs at {given.size} pixels, {len(names)} names\n| way | top-1 % | top-5 % |\n|---|---|---|"
    )
    mean = others.mean(0)
    cosines = F.normalize(embeddings - mean, dim=-1) @ F.normalize(others - mean, dim=-1).T
    report("nearest drawing", drawn[cosines.topk(5).indices], truth)
    report("names of classes", (F.normalize(logits.softmax(1) @ classes, dim=-1) @ words.T).topk(5).indices, truth)
    for dtype in (torch.float32, torch.bfloat16):
        print(f"{dtype}: {rate(network, given.size, dtype):.0f} pictures a second")


if __name__ == "__main__":
    main()
