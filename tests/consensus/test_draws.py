"""Keyed draws are the same in every process, for ever."""

from ratified.consensus.draws import key_of, mix, splitmix64


def test_known_answers() -> None:
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    assert key_of("kill") == mix(*b"kill") == 0xFEE735A9BFE5832B


def test_texts_in_another_order_are_other_keys() -> None:
    assert len({key_of(text) for text in ("", "a", "ab", "ba", "a\0", "\0a")}) == 6
