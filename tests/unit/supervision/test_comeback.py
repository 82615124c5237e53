"""People ask where the seconds of a restart went."""

from __future__ import annotations

from daemon.supervision.comeback import Comeback


def test_a_worker_s_return_is_told_in_parts() -> None:
    """They add up to the whole."""
    comeback = Comeback(10.0)
    for state, now_s in (("STARTED", 10.01), ("JOINING", 10.3), ("LOADING", 10.4)):
        comeback.reached(state, now_s)
    comeback.reached("JOINING", 10.7)  # rank 0 waits for the others
    comeback.reached("READY", 11.0)
    assert comeback.describe() == (
        "1.000 s after the end of the last: a new process 0.010 s, imports and model card 0.290 s, "
        "links and plan 0.100 s, layers 0.600 s"
    )


def test_tries_that_failed_count_for_the_process_that_made_it() -> None:
    """Five kills in a row are one return."""
    comeback = Comeback(10.0)
    for state, now_s in (
        ("STARTED", 10.1),
        ("JOINING", 10.5),
        ("STARTED", 12.0),
        ("LOADING", 12.5),
    ):
        comeback.reached(state, now_s)
    comeback.reached("READY", 13.0)
    assert comeback.describe() == (
        "3.000 s after the end of the last: a new process 2.000 s, imports 0.500 s, "
        "tokenizer 0.500 s"
    )
