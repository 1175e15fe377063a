"""Each item once per epoch, whatever draws the batches; a shuffle that reads nearly in order."""

import numpy as np
import pytest

from opencodi.data.epochs import BatchRandom, draw_items, epoch_order


def batches(items, size, numbers, seed=3):
    return np.concatenate([draw_items(BatchRandom(n, (seed, n, 0)), items, size) for n in numbers])


@pytest.mark.parametrize(("items", "size"), [(1, 4), (10, 3), (100, 32), (1024, 64), (3000, 7)])
def test_each_item_comes_once_per_epoch(items, size):
    epochs = 3
    drawn = batches(items, size, range(-(-epochs * items // size)))[: epochs * items].reshape(epochs, items)
    assert all(sorted(epoch) == list(range(items)) for epoch in drawn)
    assert items < 10 or not np.array_equal(drawn[0], drawn[1])


def test_who_draws_a_batch_and_in_which_order_changes_nothing():
    whole = batches(50, 8, range(12)).reshape(12, 8)
    for number in (11, 0, 5):
        assert np.array_equal(batches(50, 8, [number]), whole[number])
    assert not np.array_equal(batches(50, 8, range(12), seed=4).reshape(12, 8), whole)


@pytest.mark.parametrize("items", [32, 35, 64, 67, 100])
def test_a_buffer_smaller_than_the_data_still_draws_each_item_once(items):
    places = np.arange(2 * items)
    drawn = epoch_order(items, 0, places, block=4, blocks=4).reshape(2, items)
    assert all(sorted(epoch) == list(range(items)) for epoch in drawn)
    # 16 neighbouring places need items of four blocks only
    assert len(np.unique(drawn[0][:16] // 4)) == 4


def test_draws_outside_a_run_are_any_items():
    assert set(draw_items(np.random.default_rng(0), 5, 1000)) == set(range(5))
