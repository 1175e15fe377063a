"""The card of the bundled model is one that the Hugging Face hub understands, and its figures are those that were measured."""

import json
from pathlib import Path

from huggingface_hub import ModelCard

from opencodi.models import resolve

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "evaluation" / "results.json"


def test_the_hub_reads_the_card_and_its_scores_are_the_measured_ones():
    card = ModelCard.load(resolve("stickers") / "README.md")
    data = card.data
    assert (data.library_name, data.pipeline_tag, data.license) == ("diffusers", "any-to-any", "apache-2.0")
    assert card.text.lstrip().startswith("# stickers")
    measured = json.loads(RESULTS.read_text())["any_to_any"]["table"]
    scores = {tuple(each.task_type.split("-to-")): each for each in data.eval_results}
    assert len(scores) == 4
    for (source, made), each in scores.items():
        found = measured[source][made]["top1"]
        assert each.metric_value == found["share"] and f"of {found['n']}" in each.metric_name
