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


def test_calls_that_wait_are_finished_where_they_are_not_to_be_dropped():
    done, begun, gate = [], threading.Event(), threading.Event()

    def write(item):
        begun.set()
        gate.wait(10)
        done.append(item)

    for drop, expected in ((True, [0]), (False, [0, 1])):
        done.clear(), begun.clear(), gate.clear()
        results = prefetched(write, range(100), drop=drop)
        next(results)  # the second waits
        assert begun.wait(10)
        threading.Timer(0.2, gate.set).start()
        results.close()
        assert done == expected
