from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ripstop.demo.shares import bounds, is_within


@given(total=st.integers(1, 100_000), share=st.floats(0, 1))
def test_the_mean_is_always_within_its_bounds(total: int, share: float) -> None:
    least, most = bounds(total, share)
    assert 0 <= least <= total * share <= most <= total


@given(total=st.integers(50, 2_000), share=st.sampled_from([0.1, 0.5, 0.9]), seed=st.integers(0, 1000))
def test_bounds_grow_slower_than_the_number_of_draws(total: int, share: float, seed: int) -> None:
    def width(n: int) -> float:
        least, most = bounds(n, share)
        return (most - least) / n

    assert width(total * 100) < width(total)


def test_a_sound_split_is_accepted_again_and_again() -> None:
    draw = random.Random(7)
    for _ in range(200):
        assert is_within(sum(draw.random() < 0.1 for _ in range(600)), 600, 0.1)


@pytest.mark.parametrize("count", [0, 20, 300, 600])
def test_a_wrong_split_is_refused(count: int) -> None:
    assert not is_within(count, 600, 0.1)


def test_nothing_is_no_proof() -> None:
    assert not is_within(0, 0, 0.5)
    assert not is_within(0, 0, 0.0)
