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
