"""The peer and OpenCoDi side by side: our judges, the same validation items, the same concepts to choose from.

python benchmarks/peers/compare.py --output FOLDER
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from opencodi import AnyToAnyPipeline, Audio, Modality
from opencodi.collections.stickers.evaluation.any_to_any import CAPTION
from opencodi.collections.stickers.evaluation.bench import Bench
from opencodi.collections.stickers.evaluation.budget import QUICK
from opencodi.collections.stickers.evaluation.coherence import VAGUE
from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.collections.stickers.evaluation.judging import judge, known_concepts
from opencodi.collections.stickers.evaluation.run import rounded
from opencodi.collections.stickers.judges.networks import load_judges
from opencodi.evaluation.accuracy import in_top
from opencodi.evaluation.agreement import agreement, expected_agreement
from opencodi.evaluation.share import share_by_group
from opencodi.media import Media

PAIRS = [(source, target) for source in ("text", "image", "audio") for target in ("image", "audio", "text")]
PAIRS = [(source, target) for source, target in PAIRS if source != target]
SETS = (("image", "text"), ("audio", "text"), ("image", "audio"), ("image", "audio", "text"))
KINDS = {"image": "image", "audio": "sound"}
"""The kind of real item that stands for a modality in the collection."""


@dataclass
class Comparison:
    """What both are asked and who judges.

    Attributes:
        bench: OpenCoDi's model, the judges, the shards, the seed.
        codes: the peer's concepts, in the order of its text logits.
        among: those of them that both judges know: the only ones asked for and the only ones to choose from.
        numbers: {modality: numbers in the shard of the validation items the peer was asked with, in its order}.
    """

    bench: Bench
    codes: list[str]
    numbers: Mapping[str, list[int]]
    among: list[str] = field(init=False)

    def __post_init__(self):
        known = [set(known_concepts(self.bench.judges, Modality(name))) for name in KINDS]
        self.among = [code for code in self.codes if all(code in judged for judged in known)]

    def asked(self, source: str) -> tuple[list[int], list[str]]:
        """(places among the peer's prompts of this modality, their concepts): those of concepts in ``among``."""
        if source == "text":
            concepts = self.codes
        else:
            records = self.bench.collection.records[KINDS[source]]
            concepts = [records[number]["concept"] for number in self.numbers[source]]
        kept = [(place, code) for place, code in enumerate(concepts) if code in self.among]
        return [place for place, _ in kept], [code for _, code in kept]

    def opinion(self, modality: str, made: Sequence[Media]) -> torch.Tensor:
        """Media → scores [B, among] of what each shows, sounds like or says.

        A text says the concept whose name's sentence embedding is nearest: like the judges, it always says one of
        ``among``, and the name itself says itself.
        """
        if modality != Modality.TEXT:
            labels = known_concepts(self.bench.judges, Modality(modality))
            logits = judge(self.bench.judges, Modality(modality), made).concept_logits
            return logits[:, [labels.index(code) for code in self.among]]
        encoder = self.bench.pipeline.text_prompt_encoder
        names = [self.bench.collection.name(code) for code in self.among]
        with torch.no_grad():
            said, named = (encoder.embed_sentences(**encoder.preprocess(words)) for words in (list(made), names))
        return said @ named.T

    def peer_opinion(self, modality: str, made: torch.Tensor) -> torch.Tensor:
        """What the peer made, as in its file → the same. Its sounds go through our vocoder, as ours do."""
        if modality == Modality.TEXT:
            return made[:, [self.codes.index(code) for code in self.among]]
        if modality == Modality.IMAGE:
            return self.opinion(modality, [Image.fromarray(each) for each in made.permute(0, 2, 3, 1).numpy()])
        vocoder, rate = self.bench.pipeline.audio_vocoder, self.bench.pipeline.audio_autoencoder.config.sample_rate
        with torch.no_grad():
            waves = torch.cat([vocoder(chunk.float()).clamp(-1, 1) for chunk in made.split(32)])
        return self.opinion(modality, [Audio(wave, rate) for wave in waves.numpy()])


def cross_scores(opinion: torch.Tensor, among: Sequence[str], wanted: Sequence[str]) -> dict[str, Any]:
    """Scores [N, among] and the N concepts asked for → ``top1``, ``top5``, means over concepts: each counts the same."""
    found: dict[str, Any] = {"n": len(wanted), "concepts": len(set(wanted))}
    return found | {f"top{top}": share_by_group(in_top(opinion, among, wanted, top), wanted)["share"] for top in (1, 5)}


def joint_scores(groups: Sequence[Sequence[torch.Tensor]]) -> dict[str, Any]:
    """Do outputs made together show the same concept?

    Args:
        groups: one per prompt: scores [N, among] of each output, samples in the same order.

    Returns:
        ``agree``: share of samples in which the best concept is the same. ``chance``: the same for outputs that are
        drawn independently, but as often of each concept (high where all samples are alike). ``distinct``: how many
        concepts were agreed on.
    """
    agreed, chance, total, concepts = 0, 0.0, 0, set()
    for outputs in groups:
        labels = [[str(best) for best in scores.argmax(1).tolist()] for scores in outputs]
        hits, count = agreement(labels)
        agreed, total, chance = agreed + hits, total + count, chance + count * expected_agreement(labels)
        concepts |= {sample[0] for sample in zip(*labels) if len(set(sample)) == 1}
    return {"agree": agreed / total, "chance": chance / total, "n": total, "distinct": len(concepts)}


def real_scores(comparison: Comparison) -> dict[str, Any]:
    """What the judges say of the validation items themselves, as outputs: the ceiling of every score."""
    found = {}
    for modality, kind in KINDS.items():
        places, wanted = comparison.asked(modality)
        media = comparison.bench.collection.media(kind, [comparison.numbers[modality][place] for place in places])
        found[modality] = cross_scores(comparison.opinion(modality, media), comparison.among, wanted)
    return found


def peer_scores(comparison: Comparison, made: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Cross and joint coherence of the peer's samples: ``{"cross": {"text_to_image": …}, "joint": {"prior": …}}``."""
    cross, joint = {}, {}
    for source, target in PAIRS:
        places, wanted = comparison.asked(source)
        opinion = comparison.peer_opinion(target, made[f"{source}_to_{target}"][places])
        cross[f"{source}_to_{target}"] = cross_scores(opinion, comparison.among, wanted)
    for way in ("prior", "mixture"):
        opinions = {name: comparison.peer_opinion(name, made[f"{way}_{name}"]) for name in ("image", "audio", "text")}
        joint[way] = {"+".join(names): joint_scores([[opinions[name] for name in names]]) for names in SETS}
    return {"cross": cross, "joint": joint}


def our_scores(comparison: Comparison, samples: int, texts: int | None = None) -> dict[str, Any]:
    """The same of OpenCoDi's, with its own steps and guidance; the joint ways are no prompt, and vague prompts.

    Args:
        comparison: the model and the items.
        samples: of each set of outputs and each way.
        texts: at most so many names are asked for; None: all.
    """
    bench, cross, joint = comparison.bench, {}, {}
    for source, target in PAIRS:
        places, wanted = comparison.asked(source)
        if source == "text":
            wanted = wanted[:texts]
            prompts: list[Any] = [CAPTION[Modality(target)](bench.collection.name(code)) for code in wanted]
        else:
            prompts = bench.collection.media(KINDS[source], [comparison.numbers[source][place] for place in places])
        name = f"{source}_to_{target}"
        made = bench.make(name, {Modality(source): prompts}, [Modality(target)])[Modality(target)]
        cross[name] = cross_scores(comparison.opinion(target, made), comparison.among, wanted)
        if target == "text":
            names = [bench.collection.name(code).lower() for code in wanted]
            exact = [said.strip().lower() == own for said, own in zip(made, names)]
            cross[name]["exact"] = share_by_group(exact, wanted)["share"]
        print(f"{name}: {cross[name]}", flush=True)
    vague = [prompt for prompt in VAGUE if prompt]
    for way, asked in (("no prompt", [None]), ("vague prompts", vague)):
        joint[way] = {}
        for outputs in SETS:
            groups = []
            for prompt in asked:
                count = -(-samples // len(asked))
                given = {Modality.TEXT: [prompt] * count} if prompt else {}
                made = bench.make(f"together {prompt}", given, [Modality(name) for name in outputs], count)
                groups.append([comparison.opinion(name, made[Modality(name)]) for name in outputs])
            joint[way]["+".join(outputs)] = joint_scores(groups)
            print(f"{way}, {'+'.join(outputs)}: {joint[way]['+'.join(outputs)]}", flush=True)
    return {"cross": cross, "joint": joint}


def table(results: Mapping[str, Any]) -> str:
    """The results as two Markdown tables, in per cent."""

    def share(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f}"

    def row(*cells: str) -> str:
        return "| " + " | ".join(cells) + " |"

    names, among = [f"{source}_to_{target}" for source, target in PAIRS], results["among"]
    peer = results["peer"]["name"]
    lines = [row(f"top-1 / top-5 of {among} concepts, %", *(name.replace("_to_", " → ") for name in names))]
    lines += [row("---", *["---:"] * len(names))]
    limits = [results["real"].get(target) for _, target in PAIRS]
    lines += [row("real items", *(f"{share(x['top1'])} / {share(x['top5'])}" if x else "100" for x in limits))]
    for title, part in ((peer, results["peer"]), ("OpenCoDi", results["ours"])):
        cells = [part["cross"][name] for name in names]
        lines += [row(title, *(f"{share(cell['top1'])} / {share(cell['top5'])}" for cell in cells))]
    exact = [results["ours"]["cross"][name].get("exact") for name in names]
    lines += [row("OpenCoDi, the exact name", *("" if value is None else share(value) for value in exact))]
    lines += [row("prompts (concepts)", *(f"{cell['n']} ({cell['concepts']})" for cell in cells)), ""]
    lines += [
        row("same concept (by chance), %", *("+".join(names) for names in SETS)),
        row("---", *["---:"] * len(SETS)),
    ]
    for title, part in ((peer, results["peer"]), ("OpenCoDi", results["ours"])):
        for way, sets in part["joint"].items():
            cells = [f"{share(x['agree'])} ({share(x['chance'])}), {x['distinct']} concepts" for x in sets.values()]
            lines += [row(f"{title}, {way} (n = {next(iter(sets.values()))['n']})", *cells)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder with the peer's items and samples")
    parser.add_argument("--data", type=Path, help="folder of the shards; by default $OPENCODI_DATA")
    parser.add_argument("--model", default="stickers", help="an installed model, or a model folder")
    parser.add_argument("--judges", type=Path, help="judges trained elsewhere; by default those in the package")
    parser.add_argument("--samples", type=int, default=96, help="of ours, for each set of outputs made together")
    parser.add_argument("--texts", type=int, help="at most so many names are asked of ours")
    parser.add_argument("--peer", type=Path, help="an earlier results file: the peer's scores are taken from there")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    pipeline, judges = AnyToAnyPipeline.from_pretrained(asked.model), load_judges(asked.judges)
    pipeline.set_progress_bar_config(disable=True)
    bench = Bench(pipeline, judges, Collection.open(asked.data), QUICK, asked.seed)
    with safe_open(asked.output / "items.safetensors", "pt") as file:
        codes = json.loads(file.metadata()["concepts"])
        numbers = {name: file.get_tensor(f"prompt.{kind}_numbers").tolist() for name, kind in KINDS.items()}
    comparison = Comparison(bench, codes, numbers)
    results = {"among": len(comparison.among), "real": real_scores(comparison)}
    if asked.peer:
        results["peer"] = json.loads(asked.peer.read_text(encoding="utf-8"))["peer"]
    else:
        settings = json.loads((asked.output / "peer.json").read_text(encoding="utf-8"))
        peer = peer_scores(comparison, load_file(asked.output / "peer_samples.safetensors"))
        results["peer"] = {"name": f"multivae, {settings['model'].upper()}", "settings": settings, **peer}
    ours = our_scores(comparison, asked.samples, asked.texts)
    results["ours"] = {"name": asked.model, "settings": dict(pipeline.defaults), **ours}
    (asked.output / "results.json").write_text(json.dumps(rounded(results), indent=1) + "\n", encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
