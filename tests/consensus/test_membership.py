"""Configurations by index: which one counts, and for whom (rule 6)."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import Base, Change, Membership
from ratified.consensus.entry import (
    EntryFormatError,
    decode_change,
    decode_configuration,
    encode_change,
    encode_configuration,
    encode_membership,
)
from ratified.consensus.membership import Configurations

OLD = Membership((1, 2, 3))
JOINT = Membership((2, 3, 4), outgoing=(1, 2, 3), learners=(9,))
NEW = Membership((2, 3, 4), learners=(9,))


def configurations(own: int = 1) -> Configurations:
    return Configurations(own, Base(10, (1, 0), OLD))


def test_a_configuration_holds_from_its_entry_on_and_not_when_that_is_truncated() -> None:
    ours = configurations()
    assert list(ours.peers) == [2, 3]
    ours.append(12, JOINT)
    assert (ours.latest, ours.committed, list(ours.peers)) == (JOINT, OLD, [2, 3, 4, 9])
    ours.append(15, NEW)
    assert (ours.latest, list(ours.peers)) == (NEW, [2, 3, 4, 9])
    ours.truncate(13)
    assert ours.latest == JOINT
    ours.truncate(12)
    assert (ours.latest, list(ours.peers)) == (OLD, [2, 3])
    with pytest.raises(AssertionError, match="committed"):
        ours.truncate(10)


def test_what_a_committed_configuration_replaced_counts_no_more() -> None:
    ours = configurations()
    ours.append(12, JOINT)
    ours.append(15, NEW)
    ours.commit_to(11)
    assert ours.committed == OLD
    ours.commit_to(14)
    assert ours.committed == JOINT
    assert ours.may_campaign, "a voter of the outgoing half"
    ours.commit_to(15)
    assert (ours.committed, ours.may_campaign) == (NEW, False)


def test_a_member_on_its_way_out_may_campaign_until_its_successors_are_known_to_be_committed() -> None:
    ours = configurations()
    ours.append(12, NEW)
    assert not ours.is_voter(1)
    assert ours.may_campaign
    ours.truncate(12)
    assert ours.is_voter(1)


def test_quorums_take_both_halves_while_joint_and_never_learners() -> None:
    ours = configurations()
    ours.append(12, JOINT)
    assert not ours.is_quorum([3, 4, 9])
    assert ours.is_quorum([2, 3])
    reached = {1: 1, 2: 5, 3: 4, 4: 9, 9: 99}
    assert ours.quorum_value(lambda member: reached[member]) == 4
    assert [member for member in (1, 4, 9) if ours.is_voter(member)] == [1, 4]


def test_peers_stay_the_same_object_while_nothing_changes() -> None:
    ours = configurations()
    before = ours.peers
    ours.commit_to(11)
    ours.truncate(11)
    assert ours.peers is before


def test_the_configuration_at_any_index_from_the_base_on_is_known() -> None:
    """Where a base is cut, however much later ones are committed, it says which one holds exactly there."""
    ours = configurations()
    ours.append(12, JOINT)
    ours.append(15, NEW)
    ours.commit_to(15)
    assert [ours.at(index) for index in (10, 11, 12, 14, 15, 99)] == [OLD, OLD, JOINT, JOINT, NEW, NEW]
    ours.compact(Base(13, (1, 0), ours.at(13)))
    assert (ours.at(13), ours.at(15), ours.committed, ours.latest) == (JOINT, NEW, NEW, NEW)
    assert not ours.may_campaign
    with pytest.raises(AssertionError, match="is not known"):
        ours.at(12)


def test_a_base_that_replaces_the_log_brings_its_configuration() -> None:
    ours = configurations()
    ours.append(12, JOINT)
    ours.replace(Base(40, (2, 0), NEW))
    assert (ours.at(40), ours.committed, ours.latest, list(ours.peers)) == (NEW, NEW, NEW, [2, 3, 4, 9])


def test_an_entry_holds_a_configuration_and_the_proposers_own_bytes() -> None:
    assert decode_configuration(encode_configuration(JOINT, b"addresses")) == (JOINT, b"addresses")
    assert decode_configuration(encode_membership(JOINT)) == (JOINT, b""), "as written before there were changes"
    with pytest.raises(EntryFormatError):
        decode_configuration(encode_membership(JOINT)[:-1])


def test_a_change_says_what_it_starts_from() -> None:
    change = Change(OLD, NEW, b"addresses")
    assert decode_change(encode_change(change)) == change
    with pytest.raises(EntryFormatError):
        decode_change(encode_membership(OLD))


def test_a_configuration_is_settled_when_it_is_committed_and_not_joint() -> None:
    ours = configurations()
    seen = [ours.is_settled]
    for index, membership in ((12, JOINT), (13, NEW)):
        ours.append(index, membership)
        seen.append(ours.is_settled)
        ours.commit_to(index)
        seen.append(ours.is_settled)
    assert seen == [True, False, False, False, True]
    assert ours.since == 13
