"""Which number of steps a model should take."""

import importlib

import pytest


@pytest.mark.parametrize(
    ("means", "taken"),
    [
        ({4: 0.79, 8: 0.80, 50: 0.80}, 4),
        ({4: 0.78, 8: 0.79, 50: 0.80}, 8),
        ({4: 0.5, 8: 0.6, 50: 0.8}, 50),
        ({4: 0.85, 8: 0.9, 50: 0.8}, 4),
    ],
)
def test_the_fewest_steps_within_one_point_of_the_most(means, taken):
    assert importlib.import_module("choose_steps").fewest(means) == taken


@pytest.mark.parametrize(("near", "taken"), [(101.5, 4), (103, 8)])
def test_what_is_made_in_few_steps_is_as_near_to_real_items(near, taken):
    shares, distances = {4: 0.8, 8: 0.8, 50: 0.8}, {4: near, 8: 100, 50: 100}
    assert importlib.import_module("choose_steps").fewest(shares, distances) == taken
