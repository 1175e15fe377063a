"""A folder of recipes: put in order, planned, trained, stopped, resumed, changed."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from opencodi.cli import app
from opencodi.errors import ConfigurationError, TrainingError
from opencodi.training.chain import FINISHED, STOPPED, Stage, in_order, load_stages, run_recipes, trained_again
from opencodi.training.options import Options
from opencodi.training.recipe import Recipe, load_recipe

from .tiny_recipes import DATA, ORDER, RECIPES, shrink


@pytest.fixture(autouse=True)
def _short_plans(monkeypatch):
    monkeypatch.setattr("opencodi.training.plan.LEAST_SECONDS", 0)


def stage(tmp_path, name, reads=(), writes=()):
    return Stage(tmp_path / f"{name}.yaml", Recipe(task="t", model_folder="m", reads=reads, writes=writes, settings={}))


def names(stages):
    return [each.name for each in stages]


def test_the_shipped_recipes_come_in_an_order_that_serves_every_stage():
    found = load_stages(RECIPES)
    assert set(names(found)) == set(ORDER)
    place = {name: number for number, name in enumerate(names(found))}
    made = {}
    for each in found:
        for component in each.recipe.reads:
            assert component in made or component == "text_prompt_encoder", (each.name, component)
        made |= dict.fromkeys(each.recipe.writes, each.name)
    assert place["alignment_text_image"] < place["alignment_video_audio"]


def test_what_is_changed_is_read_after_the_change_unless_the_change_needs_the_reader(tmp_path):
    made, changed = stage(tmp_path, "made", (), ("a",)), stage(tmp_path, "changed", ("a",), ("a",))
    reader = stage(tmp_path, "aaa_reader", ("a",), ("b",))
    assert names(in_order([reader, changed, made])) == ["made", "changed", "aaa_reader"]
    changed = stage(tmp_path, "changed", ("a", "b"), ("a",))
    assert names(in_order([changed, reader, made])) == ["made", "aaa_reader", "changed"]


def test_recipes_without_an_order_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="one, two all make a; keep one of them"):
        in_order([stage(tmp_path, "one", (), ("a",)), stage(tmp_path, "two", (), ("a",))])
    with pytest.raises(ConfigurationError, match="these stages wait for one another"):
        in_order([stage(tmp_path, "one", ("b",), ("a",)), stage(tmp_path, "two", ("a",), ("b",))])


def test_what_rests_on_a_changed_stage_is_trained_again(tmp_path):
    stages = [
        stage(tmp_path, "made", (), ("a",)),
        stage(tmp_path, "other", (), ("x",)),
        stage(tmp_path, "changed", ("a",), ("a",)),
        stage(tmp_path, "reader", ("a",), ("b",)),
    ]
    assert names(trained_again(stages, {"reader"})) == ["reader"]
    assert names(trained_again(stages, {"changed"})) == ["made", "changed", "reader"]


@pytest.fixture
def folder(tmp_path):
    """Recipes of two stages of which the second (by name the first) reads what the other makes."""
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    shrink("image_autoencoder", recipes).rename(recipes / "z_first.yaml")
    values = yaml.safe_load((recipes / "z_first.yaml").read_text())
    values["settings"] |= {"freeze_encoder": True}
    values |= {"reads": ["image_autoencoder"]}
    (recipes / "a_second.yaml").write_text(yaml.safe_dump(values))
    (recipes / "sampling.yaml").write_text("num_inference_steps: 3\n")
    return recipes


def train(folder, **options):
    run_recipes(folder, Options(data=DATA, device="cpu", output=folder.parent / "out", **options))


def states(folder):
    return {each.name: each.state() for each in load_stages(folder, folder.parent / "out")}


def test_a_folder_is_planned_trained_in_order_and_then_left_alone(folder, capsys):
    train(folder)
    said = capsys.readouterr()
    assert set(states(folder).values()) == {FINISHED}
    plan = next(line for line in said.out.splitlines() if line.startswith("all"))
    assert plan.split()[1] == "8", said.out  # two stages of two steps of two items
    assert said.out.index("samples/s") < said.out.index("z_first: new") < said.out.index("a_second: new")
    stamp = (folder.parent / "out" / "training" / "z_first" / "summary.json").stat().st_mtime_ns
    train(folder)
    assert (folder.parent / "out" / "training" / "z_first" / "summary.json").stat().st_mtime_ns == stamp
    assert "all 2 stages are finished" in capsys.readouterr().out


def test_a_changed_recipe_is_refused_or_trained_again_with_what_rests_on_it(folder):
    train(folder)
    out = folder.parent / "out"
    path = folder / "a_second.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 7"))
    with pytest.raises(TrainingError, match=r"a_second: seed is 7 and was 0, unlike .* train z_first, a_second again"):
        train(folder)
    train(folder, override=True)
    assert set(states(folder).values()) == {FINISHED}
    assert json.loads((out / "training" / "a_second" / "summary.json").read_text())["recipe"]["seed"] == 7
    assert {path.name for path in (out / "training" / "replaced").iterdir()} == {"z_first-0", "a_second-0"}


def test_a_folder_whose_time_is_up_goes_on_where_it_stopped(folder, capsys):
    train(folder, minutes=0.0)
    assert states(folder) == {"z_first": STOPPED, "a_second": "new"}
    assert "z_first has stopped; the same command goes on" in capsys.readouterr().out
    train(folder)
    assert set(states(folder).values()) == {FINISHED}


def test_a_component_that_nobody_makes_is_named_before_anything_is_trained(folder):
    (folder / "z_first.yaml").unlink()
    with pytest.raises(TrainingError, match=r"a_second\.yaml: reads image_autoencoder, which no recipe here makes"):
        train(folder)
    assert not (folder.parent / "out").exists()


def test_a_plan_reads_no_data_and_leaves_nothing_behind(folder, monkeypatch):
    monkeypatch.delenv("OPENCODI_DATA", raising=False)
    out = folder.parent / "out"
    said = CliRunner().invoke(app, ["train", str(folder / "a_second.yaml"), "--plan", "--output", str(out)])
    assert said.exit_code == 0, said.output
    row = next(line for line in said.output.splitlines() if line.startswith("a_second")).split()
    assert row[1:3] == ["0.01", "M"] and float(row[9].replace(",", "")) == 4
    assert not out.exists()


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="holds no recipe"):
        load_stages(tmp_path)


def test_recipes_that_name_several_model_folders_need_an_output(folder):
    path = folder / "z_first.yaml"
    path.write_text(yaml.safe_dump({**load_recipe(path).model_dump(mode="json"), "model_folder": "elsewhere"}))
    with pytest.raises(ConfigurationError, match=r"several model folders .*; give --output"):
        load_stages(folder)
