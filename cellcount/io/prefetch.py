"""Reading the next items, or writing the last ones, while the current one is processed."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetched(
    function: Callable[[T], R], items: Iterable[T], depth: int = 1, *, threads: int = 1, drop: bool = True
) -> Generator[Callable[[], R]]:
    """Call a function on each item, up to `depth` items ahead, in threads.

    Parameters
    ----------
    function : callable of one item
    items : iterable
        Drawn in the thread of the consumer, one after the other.
    depth : int
        Number of results that may wait in memory, in addition to the one in use.
    threads : int
        In which the function is called; 0: in that of the consumer, when it asks.
    drop : bool
        Whether calls that wait are left out when the consumer stops early; else it waits for them.

    Yields
    ------
    callable
        One for each item, in their order: it waits for the result and returns it, or raises the error of the function.
    """
    if not threads:
        for item in items:
            yield partial(function, item)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="prefetch") as reader:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(reader.submit(function, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result
            while waiting:
                yield waiting.popleft().result
        finally:
            for future in waiting if drop else ():
                future.cancel()
