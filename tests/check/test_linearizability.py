"""The history checker: known histories, and brute force over all orders of small random ones."""

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from ratified.check.linearizability import Linearizable, NotLinearizable, Operation, Undecided, linearize
from ratified.check.register import Call, Delete, Get, Held, Put, Register, Result, Swap

Op = Operation[Call, Result]


def op(call: Call, result: Result, invoked: int, returned: int | None, client: int = 0) -> Op:
    return Operation(client, call, invoked, returned, result)


def test_an_empty_history_is_linearizable() -> None:
    assert linearize([], Register()) == Linearizable(())


def test_a_read_may_see_either_side_of_a_write_that_overlaps_it() -> None:
    for seen in (None, (b"a", 1)):
        history = [op(Put(b"a"), None, 0, 10), op(Get(), seen, 5, 6)]
        assert isinstance(linearize(history, Register()), Linearizable)


def test_a_read_that_misses_a_write_that_returned_before_it_is_found() -> None:
    history = [op(Put(b"a"), None, 0, 1), op(Get(), None, 2, 3)]
    assert linearize(history, Register()) == NotLinearizable((0,), 1)


def test_two_reads_that_see_a_write_come_and_go_are_found() -> None:
    history = [op(Put(b"a"), None, 0, 10), op(Get(), (b"a", 1), 1, 2), op(Get(), None, 3, 4)]
    assert isinstance(linearize(history, Register()), NotLinearizable)


def test_a_write_of_unknown_outcome_may_take_effect_late_or_never() -> None:
    write = op(Put(b"b"), None, 2, None)
    before = op(Put(b"a"), None, 0, 1)
    for seen in ((b"a", 1), (b"b", 2)):
        assert isinstance(linearize([before, write, op(Get(), seen, 5, 6)], Register()), Linearizable)
    late = [before, write, op(Get(), (b"a", 1), 5, 6), op(Get(), (b"b", 2), 7, 8)]
    assert isinstance(linearize(late, Register()), Linearizable)


def test_a_write_of_unknown_outcome_takes_effect_at_most_once() -> None:
    history = [
        op(Put(b"b"), None, 0, None),
        op(Get(), (b"b", 1), 1, 2),
        op(Delete(), (b"b", 1), 3, 4),
        op(Get(), (b"b", 1), 5, 6),
    ]
    assert isinstance(linearize(history, Register()), NotLinearizable)


def test_two_swaps_of_one_version_do_not_both_succeed() -> None:
    history = [op(Swap(0, b"a"), True, 0, 10), op(Swap(0, b"b"), True, 0, 10)]
    assert isinstance(linearize(history, Register()), NotLinearizable)


def test_the_order_given_back_explains_the_history() -> None:
    history = [op(Put(b"b"), (b"a", 1), 0, 10), op(Put(b"a"), None, 0, 10), op(Get(), (b"b", 2), 11, 12)]
    assert linearize(history, Register()) == Linearizable((1, 0, 2))


def test_a_search_that_takes_too_long_is_undecided_and_not_wrong() -> None:
    history = [op(Put(b"a"), None, 0, 10), op(Put(b"b"), None, 0, 10)]
    assert linearize(history, Register(), steps_max=1) == Undecided(1)


def test_many_writes_of_unknown_outcome_stay_affordable() -> None:
    history = [op(Put(bytes([n])), None, n, None) for n in range(60)]
    history += [op(Get(), (bytes([n]), n // 6 + 1), 100 + 2 * n, 101 + 2 * n) for n in range(0, 60, 6)]
    assert isinstance(linearize(history, Register(), steps_max=50_000), Linearizable)


def test_reads_are_explained_as_soon_as_they_can_be_among_many_writes_that_the_log_orders() -> None:
    writes = [Operation[Call, Result](n, Put(bytes([n])), n, None, None, hint=n) for n in range(20)]
    reads = [op(Get(), (bytes([n]), n + 1), 100 + n, 101 + n) for n in range(0, 20, 3)]
    assert isinstance(linearize(writes + reads, Register(), steps_max=1_000), Linearizable)


def test_two_unknown_writes_between_two_reads_are_found() -> None:
    history = [op(Put(b"a"), None, 0, None), op(Put(b"b"), None, 0, None), op(Get(), (b"b", 2), 1, 2)]
    assert linearize(history, Register()) == Linearizable((0, 1, 2))


def test_an_unknown_delete_is_not_taken_for_an_unknown_read() -> None:
    history = [
        op(Get(), None, 0, None),
        op(Delete(), None, 0, None),
        op(Put(b"a"), None, 0, 9),
        op(Put(b"b"), None, 0, 9),
    ]
    assert isinstance(linearize(history, Register()), Linearizable)


CALLS = st.one_of(
    st.builds(Put, st.sampled_from([b"a", b"b"])),
    st.just(Get()),
    st.just(Delete()),
    st.builds(Swap, st.integers(0, 2), st.sampled_from([b"a", b"b"])),
)
HELD = st.one_of(st.none(), st.tuples(st.sampled_from([b"a", b"b"]), st.integers(1, 3)))


@st.composite
def histories(draw: st.DrawFn) -> list[Op]:
    history = []
    for _ in range(draw(st.integers(1, 5))):
        call = draw(CALLS)
        invoked = draw(st.integers(0, 8))
        returned = draw(st.one_of(st.none(), st.integers(invoked, 10)))
        result: Result = True if isinstance(call, Swap) and draw(st.booleans()) else draw(HELD)
        history.append(op(call, result, invoked, returned))
    return history


def explained_by_some_order(history: list[Op]) -> bool:
    known = [position for position, done in enumerate(history) if done.returned is not None]
    unknown = [position for position, done in enumerate(history) if done.returned is None]
    for chosen in range(1 << len(unknown)):
        taken = known + [position for bit, position in enumerate(unknown) if chosen >> bit & 1]
        if any(allowed(history, order) for order in permutations(taken)):
            return True
    return False


def allowed(history: list[Op], order: tuple[int, ...]) -> bool:
    state: Held = None
    for place, position in enumerate(order):
        done = history[position]
        for earlier in order[:place]:
            # An operation that comes earlier in the order must not have been invoked after this one returned.
            if done.returned is not None and history[earlier].invoked > done.returned:
                return False
        ok, state = Register().step(state, done.call, done.result, done.returned is not None)
        if not ok:
            return False
    return True


@settings(max_examples=400, deadline=None)
@given(histories())
def test_the_search_agrees_with_trying_every_order(history: list[Op]) -> None:
    assert isinstance(linearize(history, Register()), Linearizable) == explained_by_some_order(history)
