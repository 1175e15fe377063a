"""Scenes show what their captions say."""

import numpy as np
import pytest

from opencodi.collections.stickers.arrangement import canopy_edge
from opencodi.collections.stickers.colours import COLOURS, main_hue, recoloured
from opencodi.collections.stickers.compositing import alpha_box, lay, premultiplied, straight
from opencodi.collections.stickers.grounds import GROUNDS
from opencodi.collections.stickers.scene_captions import plain_caption, plural, scene_caption
from opencodi.collections.stickers.scene_sampling import is_withheld, random_scene
from opencodi.collections.stickers.scenes import Part, Scene, draw_scene, place
from opencodi.collections.stickers.things import Drawings, things

from .drawn import DRAWN, drawn_items


@pytest.fixture(scope="module")
def drawings() -> Drawings:
    return Drawings(drawn_items())


def scene(*names: str, relation: str = "", **values) -> Scene:
    return Scene("noto", tuple(Part(name) for name in names), relation, **values)


def bodies(drawings: Drawings, shown: Scene, seed: int) -> dict:
    return {body.part: body for body in place(shown, drawings, np.random.default_rng(seed))}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_on_a_thing_rests_on_its_upper_edge(drawings, seed):
    placed = bodies(drawings, scene("teddy bear", "skateboard", relation="on"), seed)
    bear, board = placed[0], placed[1]
    assert board.top < bear.bottom < board.bottom and bear.top < board.top - 0.5 * bear.height
    assert board.left < bear.centre < board.right


@pytest.mark.parametrize("seed", range(5))
def test_what_is_under_an_umbrella_is_below_its_canopy_and_not_wider(drawings, seed):
    placed = bodies(drawings, scene("dog", "umbrella", relation="under"), seed)
    dog, umbrella = placed[0], placed[1]
    canopy = umbrella.top + canopy_edge(umbrella.outline) * umbrella.height
    assert dog.top >= canopy - 0.03 * umbrella.height and dog.width < umbrella.width
    assert 0.25 < canopy_edge(umbrella.outline) < 0.4


@pytest.mark.parametrize("relation, first_is_left", [("left of", True), ("right of", False)])
def test_left_and_right_are_what_a_viewer_calls_so(drawings, relation, first_is_left):
    for seed in range(5):
        placed = bodies(drawings, scene("cat", "house", relation=relation), seed)
        left, right = (0, 1) if first_is_left else (1, 0)
        assert placed[left].right <= placed[right].left


def test_above_leaves_air_and_in_front_hides_a_part_but_not_most(drawings):
    for seed in range(5):
        placed = bodies(drawings, scene("rocket", "full moon", relation="above"), seed)
        assert placed[0].bottom < placed[1].top
        placed = bodies(drawings, scene("dog", "house", relation="in front of"), seed)
        dog, house = placed[0], placed[1]
        assert dog.top > house.top and dog.width * dog.height < 0.5 * house.width * house.height
        assert dog.left < house.right and dog.right > house.left


def test_the_lower_part_of_what_is_in_a_bucket_is_hidden_by_its_near_side(drawings):
    shown = scene("cat", "bucket", relation="in")
    placed = place(shown, drawings, np.random.default_rng(0))
    container, content, near = placed
    assert near.part == container.part == 1 and content.part == 0
    assert content.top < container.top + container.height * things()["bucket"].rim < content.bottom < container.bottom


def test_a_number_is_shown_as_so_many_things_apart(drawings):
    for count in range(2, 7):
        placed = place(Scene("noto", (Part("red apple", count),)), drawings, np.random.default_rng(count))
        assert len(placed) == count
        for number, one in enumerate(placed):
            for other in placed[:number]:
                apart_across = one.right <= other.left + 0.05 or other.right <= one.left + 0.05
                apart_down = one.bottom <= other.top + 0.05 or other.bottom <= one.top + 0.05
                assert apart_across or apart_down


def test_size_words_change_how_large_a_thing_is(drawings):
    def share(scale: str) -> float:
        picture = draw_scene(Scene("noto", (Part("house", scale=scale),)), drawings, np.random.default_rng(0))
        top, _, bottom, _ = alpha_box(picture)
        return (bottom - top) / len(picture)

    assert share("tiny") < 0.35 < share("small") < 0.6 < share("big")


def test_a_free_scene_is_transparent_and_one_with_a_ground_opaque(drawings):
    free = draw_scene(scene("cat"), drawings, np.random.default_rng(0))
    assert (free[..., 3] == 0).mean() > 0.05
    for ground in (*GROUNDS, "red"):
        picture = draw_scene(scene("cat", ground=ground), drawings, np.random.default_rng(0))
        assert (picture[..., 3] == 255).all(), ground
    assert (
        draw_scene(scene("cat", mood="cyberpunk", ground="neon city"), drawings, np.random.default_rng(0))[..., 3]
        == 255
    ).all()


def test_night_is_darker_and_black_and_white_has_no_colour(drawings):
    def colours(**values) -> np.ndarray:
        picture = draw_scene(scene("cat", **values), drawings, np.random.default_rng(0)).astype(float)
        return picture[picture[..., 3] > 250][:, :3]

    assert colours(ground="night").mean() < 0.6 * colours(ground="meadow").mean()
    assert np.ptp(colours(mood="black and white"), axis=1).max() <= 2


def test_a_thing_takes_another_colour_and_keeps_its_others(drawings):
    red = premultiplied(DRAWN["automobile"])
    blue = recoloured(red, "blue")
    assert abs(main_hue(blue) - COLOURS["blue"]) < 0.03
    wheels = red[85:90, 25:35]
    assert (blue[85:90, 25:35] == wheels).all() and (blue[..., 3] == red[..., 3]).all()
    assert recoloured(red, "red") is None
    many = red.copy()
    many[40:80, 10:50, :3], many[40:80, 50:85, :3] = (40, 200, 60), (40, 60, 220)
    assert recoloured(many, "yellow") is None


def test_the_same_generator_makes_the_same_scene_and_another_one_another(drawings):
    def made(seed: int) -> tuple:
        rng = np.random.default_rng(seed)
        shown = random_scene(drawings, rng)
        return shown, draw_scene(shown, drawings, rng), scene_caption(shown, rng)

    first, again, other = made(3), made(3), made(4)
    assert first[0] == again[0] and (first[1] == again[1]).all() and first[2] == again[2]
    assert other[0] != first[0]


def test_withheld_scenes_are_never_trained_on_and_turned_round_they_stay_withheld(drawings):
    rng = np.random.default_rng(0)
    assert not any(is_withheld(random_scene(drawings, rng)) for _ in range(200))
    kept = [random_scene(drawings, rng, withheld=True) for _ in range(50)]
    assert all(is_withheld(shown) for shown in kept)
    turned = {"above": "below", "below": "above", "left of": "right of", "in front of": "behind"}
    several = [shown for shown in kept if shown.relation in turned and not shown.sky]
    assert several
    for shown in several:
        assert is_withheld(Scene(shown.style, shown.parts[::-1], turned[shown.relation]))


def test_all_things_of_a_scene_are_in_one_style_that_has_them(drawings):
    rng = np.random.default_rng(1)
    for _ in range(100):
        shown = random_scene(drawings, rng, withheld=None)
        assert all(name in drawings.places[shown.style] for name in shown.names)


@pytest.mark.parametrize(
    "shown, said",
    [
        (scene("teddy bear", "skateboard", relation="on"), "a teddy bear on a skateboard"),
        (scene("dog", "umbrella", relation="under", ground="rain"), "a dog under an umbrella in the rain"),
        (scene("rocket", "full moon", relation="above"), "a rocket above the moon"),
        (Scene("noto", (Part("red apple", 3),)), "three apples"),
        (Scene("noto", (Part("red apple", colour="blue"),)), "a blue apple"),
        (Scene("noto", (Part("house", scale="tiny"),), mood="cyberpunk"), "a tiny house, cyberpunk vibe"),
        (scene("cat", "house", "house", relation="between"), "a cat between two houses"),
        (scene("bear", "top hat", relation="wearing"), "a bear wearing a top hat"),
        (scene("cat", "dog", "drum"), "a cat, a dog and a drum"),
    ],
)
def test_the_plain_caption_says_what_is_shown(shown, said):
    assert plain_caption(shown) == said


def test_every_caption_of_a_relation_names_both_things(drawings):
    rng = np.random.default_rng(0)
    shown = scene("teddy bear", "skateboard", relation="on")
    captions = {scene_caption(shown, rng) for _ in range(300)}
    assert len(captions) > 60
    assert all("teddy bear" in text.lower() and "skateboard" in text.lower() for text in captions)
    assert any("noto" in text for text in captions) and any("noto" not in text for text in captions)


@pytest.mark.parametrize(
    "one, many",
    [
        ("mouse", "mice"),
        ("box", "boxes"),
        ("slice of pizza", "slices of pizza"),
        ("polar bear", "polar bears"),
        ("candy", "candies"),
        ("monkey", "monkeys"),
        ("church", "churches"),
        ("smiley with sunglasses", "smileys with sunglasses"),
    ],
)
def test_plurals(one, many):
    assert plural(one) == many


def test_every_role_seat_and_noun_is_of_a_thing_with_a_size():
    from importlib.resources import files

    import yaml

    table = yaml.safe_load(files("opencodi.collections.stickers").joinpath("things.yaml").read_text(encoding="utf-8"))
    sized = [name for names in table["sizes"].values() for name in names]
    assert len(sized) == len(set(sized))
    named = {name for members in table["roles"].values() for name in members}
    named |= table["seats"].keys() | table["containers"].keys() | set(table["levelled"]) | set(table["plurals"])
    assert named <= set(sized)


def test_laying_over_a_clear_canvas_changes_nothing_and_edges_blend():
    half = np.zeros((4, 4, 4), np.uint8)
    half[..., 3], half[..., 0] = 128, 128
    canvas = np.zeros((8, 8, 4), np.uint8)
    lay(canvas, half, 2, 2)
    assert (canvas[2:6, 2:6] == half).all() and canvas[0, 0, 3] == 0
    white = np.full((8, 8, 4), 255, np.uint8)
    lay(white, half, -2, 6)
    assert tuple(white[0, 7]) == (255, 127, 127, 255) and (white[3:] == 255).all()
    assert tuple(straight(half)[0, 0]) == (255, 0, 0, 128)
