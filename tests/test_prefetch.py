"""Reading ahead: in order, no farther than asked, and each error at its own turn."""

import threading

import pytest

from cellcount.io.prefetch import prefetched


def test_results_come_in_order_and_errors_at_their_turn():
    def invert(x):
        return 1 / x

    reads = list(prefetched(invert, [1, 0, 4]))
    assert reads[0]() == 1 and reads[2]() == 0.25
    with pytest.raises(ZeroDivisionError):
        reads[1]()


@pytest.mark.parametrize("depth", [1, 3])
def test_it_reads_the_next_ones_and_no_more(depth):
    started, asked_for = [threading.Event() for _ in range(10)], []

    def read(i):
        asked_for.append(i)
        started[i].set()
        return i

    for i, result in enumerate(prefetched(read, range(10), depth)):
        assert result() == i
        assert started[min(i + depth, 9)].wait(10)  # while item i is in use, the next ones are read ...
        assert len(asked_for) <= i + 1 + depth  # ... and none beyond


def test_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = prefetched(str, range(100))
    assert next(results)() == "0"
    results.close()
    assert threading.active_count() == before


def test_nothing_to_read():
    assert list(prefetched(str, [])) == []
