"""Worlds that once found something. Each keeps its seed and its story, for ever."""

import pytest

from ratified.sim.arguments import Arguments
from ratified.sim.simulation import simulate

STORIES = [
    (
        "A range of one key, whose slice was full with it, began again at that key in every further slice, for ever: "
        "with the default limits a value over 256 KiB was enough.",
        Arguments(seed=1, scenario="fault-free", network="session", duration_us=1_000_000),
    ),
    (
        "Nine watches of three groups found six places on three nodes: who has seen everything must make room.",
        Arguments(seed=38, scenario="everything", network="datagram", duration_us=3_000_000),
    ),
    (
        "A leader answered the earlier start of an origin whose machine was lost, by a connection that led to it: "
        "the check of forwarded numbers took it for the present start.",
        Arguments(seed=88, scenario="everything", network="datagram", duration_us=3_000_000),
    ),
    (
        "A put was applied between the opening of a watch and its first answer, which said that the watch stood at the "
        "put's revision already; its event came behind that.",
        Arguments(seed=878, scenario="everything", network="datagram", duration_us=1_000_000, engine="paxos"),
    ),
    (
        "Many writes timed out and their order was known from the log, but not where the reads between them belong: "
        "the search put all the writes first, and gave up.",
        Arguments(seed=30321, scenario="unreliable-network", network="session", duration_us=2_000_000),
    ),
    (
        "A leader's disk began epoch 1 after a quorum had begun epoch 2 and committed in it; the check asked of epoch "
        "1 what only epoch 2 has.",
        Arguments(seed=52719, scenario="everything", network="session", duration_us=1_000_000, engine="zab"),
    ),
    (
        "A leader of ZAB sent a follower that was seven entries behind all of them at once, one a message; datagrams "
        "overtook one another, the link ended, and the next one began in the same way, for ever.",
        Arguments(seed=31, scenario="unreliable-network", network="datagram", duration_us=3_000_000, engine="zab"),
    ),
    (
        "A leader of ZAB that missed a message dropped the follower and did not say so. Too many of them waited to "
        "find out, so it stepped down, leader after leader, and no lease lived to its end.",
        Arguments(seed=213, scenario="everything", network="datagram", duration_us=3_000_000, engine="zab"),
    ),
    (
        "Answers to an Accept were lost, and its slots cut from the peer's log meanwhile: it ignored what came again, "
        "and a leader of Paxos with a full window sent it no more. Later the leader was told, and kept a range for "
        "each gap.",
        Arguments(seed=26, scenario="unreliable-network", network="datagram", duration_us=1_000_000, engine="paxos"),
    ),
    (
        "A leader that was elected with a full disk, because nobody else had begun, kept the lead when it had had room "
        "meanwhile and its disk was full again.",
        Arguments(seed=54, scenario="disks", network="session", duration_us=3_000_000, engine="zab"),
    ),
    (
        "A snapshot was sent in pieces as large as a window of one byte. Each fitted into one frame and was "
        "acknowledged before the next, so the window never held anything up, and never grew.",
        Arguments(seed=1631, scenario="crashes", network="session", duration_us=1_000_000, engine="raft"),
    ),
    (
        "A cut of the log was written while a later one waited for its batch, and the segments of the later one went "
        "with those of the first. Who was killed then had a log that is damaged.",
        Arguments(seed=1334, scenario="strangers", network="datagram", duration_us=2_000_000, engine="raft"),
    ),
    (
        "Who had told of chosen values, and had left the cluster since, stayed among those to be asked for them.",
        Arguments(seed=252, scenario="members", network="session", duration_us=3_000_000, engine="paxos"),
    ),
    (
        "A leader that let its group rest asked for a lease all the same; grants are answers, and woke it again.",
        Arguments(seed=4, scenario="leases", network="session", duration_us=3_000_000, engine="raft"),
    ),
    (
        "Who asked how far its watches had come waited for one that was then cancelled; in a group that rests nothing "
        "else made the node look again.",
        Arguments(seed=18, scenario="disks", network="session", duration_us=3_000_000, engine="raft"),
    ),
    (
        "A message of 58 kB went to five members in frames of 50 bytes, and that was held against the turn, though no "
        "server has such frames.",
        Arguments(seed=2285, scenario="crashes", network="datagram", duration_us=2_000_000, engine="raft"),
    ),
    (
        "All that two members lacked went to them in one message of half a megabyte, which their links took eight "
        "election timeouts for; the check of progress gave them ten in all, and a leader was lost on the way.",
        Arguments(seed=1213, scenario="strangers", network="datagram", duration_us=2_000_000, engine="paxos"),
    ),
    (
        "A checkpoint in pieces of 500 bytes took longer than the patience with logs, which was over as it ended, "
        "before others had heard of it.",
        Arguments(seed=1099, scenario="checkpoints", network="session", duration_us=2_000_000, engine="paxos"),
    ),
    (
        "Two of four members had logs too short for a checkpoint, so nothing was cut; segments of the others that had "
        "no entries, and would go with the next cut, were held against them.",
        Arguments(seed=2875, scenario="leader-failures", network="session", duration_us=2_000_000, engine="zab"),
    ),
    (
        "Entries that had waited for their cluster table were applied in a turn in which nothing else touched the "
        "group; nobody looked at what had waited for them, and a lease never ended.",
        Arguments(seed=13, scenario="everything", network="session", duration_us=3_000_000),
    ),
    (
        "Keys were counted while a long command was set aside, and the simulated processor charged a row for each, as "
        "it does nowhere else: they are read many times as fast.",
        Arguments(seed=48, scenario="large-requests", network="session", duration_us=3_000_000),
    ),
    (
        "A log was cut beyond a snapshot on its way, since much of it was kept; each one came too late "
        "for what was written meanwhile, and the member never caught up.",
        Arguments(seed=6031, scenario="absences", network="datagram", duration_us=2_000_000),
    ),
]


@pytest.mark.parametrize(("story", "arguments"), STORIES, ids=[str(arguments.seed) for _, arguments in STORIES])
def test_the_world_with_this_seed(story: str, arguments: Arguments) -> None:
    report = simulate(arguments)
    assert report.broken is None, f"{story}\n{report.broken}\n{report.replay}"
