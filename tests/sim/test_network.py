"""The two network models, cuts, and connections that end."""

import msgspec
import pytest

from ratified.consensus.raft.messages import Message
from ratified.node.ports import Connected, Disconnected, Input, Received
from ratified.sim.network import Bytes, Carry, Network
from ratified.sim.options import NetworkModel, NetworkOptions
from ratified.sim.world import World
from ratified.wire.codec import FrameError, PeerCodec, framed
from ratified.wire.peer import Batch, Frame, Ping


class Phone:
    """A machine that writes down what it gets."""

    def __init__(self, world: World) -> None:
        self.up = True
        self.heard: list[tuple[int, Input]] = []
        self.pieces: list[bytes] = []
        self.frames: list[Frame] = []
        self._world = world

    def offer(self, given: Input) -> None:
        self.heard.append((self._world.now, given))

    @property
    def connection(self) -> int:
        return [given.connection for _, given in self.heard if isinstance(given, Connected)][-1]

    @property
    def messages(self) -> list[object]:
        return [
            message
            for _, given in self.heard
            if isinstance(given, Received) and isinstance(given.frame, Batch)
            for _, message in given.frame.messages
        ]

    def dials(self, member: int) -> bool:
        return True

    def receive(self, connection: int, codec: PeerCodec, data: bytes) -> bool:
        try:
            self.frames += codec.feed(data)
        except FrameError:
            return False
        self.pieces.append(data)
        return True

    def count(self, kind: type[Input]) -> int:
        return sum(isinstance(given, kind) for _, given in self.heard)


class Pair:
    """Two machines with a connection between them."""

    def __init__(self, model: NetworkModel, seed: int = 1, carry: Carry | None = None, **options: int) -> None:
        self.world = World(seed)
        self.counters = self.world.counters
        self.network = Network(self.world, (1, 2), model, NetworkOptions(**options), carry, lambda: PeerCodec(Message))
        self.one, self.two = Phone(self.world), Phone(self.world)
        self.network.attach(1, self.one)
        self.network.attach(2, self.two)
        self.network.machine_up(1)
        self.network.machine_up(2)
        self.run(1_000_000)

    def run(self, microseconds: int) -> None:
        self.world.run(self.world.now + microseconds)

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.network.send(1, self.one.connection, Batch([(0, number)]))


def test_the_lower_id_dials_and_both_learn_of_the_connection() -> None:
    pair = Pair(NetworkModel.SESSION)
    assert [given for _, given in pair.one.heard] == [Connected(1, 2)]
    assert [given for _, given in pair.two.heard] == [Connected(1, None)]


@pytest.mark.parametrize("seed", range(10))
def test_a_session_delivers_in_order(seed: int) -> None:
    pair = Pair(NetworkModel.SESSION, seed, latency_most_us=50_000, slow_chance=300_000)
    pair.send(*range(30))
    pair.run(10_000_000)
    assert pair.two.messages == list(range(30))


def test_datagrams_overtake_get_lost_and_double() -> None:
    pair = Pair(NetworkModel.DATAGRAM, latency_most_us=50_000, loss_chance=200_000, duplicate_chance=200_000)
    pair.send(*range(100))
    pair.run(10_000_000)
    got = pair.two.messages
    assert got != sorted(got, key=str)
    assert 0 < len(set(range(100)) - set(got)) < 50
    assert len(got) > len(set(got))
    assert pair.counters["messages reordered"]


def test_a_session_s_frames_wait_at_a_cut_and_go_on_where_it_heals_in_time() -> None:
    pair = Pair(NetworkModel.SESSION, stall_least_us=900_000)
    pair.network.cut(1, 2)
    pair.send(1, 2)
    pair.run(500_000)
    assert pair.two.messages == []
    pair.network.heal(1, 2)
    pair.send(3)
    pair.run(500_000)
    assert pair.two.messages == [1, 2, 3]


def test_a_session_breaks_where_its_frames_wait_too_long_and_nothing_of_it_arrives_later() -> None:
    pair = Pair(NetworkModel.SESSION)
    pair.network.cut(1, 2)
    pair.send(1)
    pair.run(3_000_000)
    pair.network.heal(1, 2)
    pair.run(3_000_000)
    assert pair.two.messages == []
    assert (pair.one.count(Disconnected), pair.two.count(Disconnected)) == (1, 1)
    assert (pair.one.count(Connected), pair.two.count(Connected)) == (2, 2)


def test_a_cut_is_directed_and_overlapping_cuts_heal_one_by_one() -> None:
    pair = Pair(NetworkModel.DATAGRAM)
    pair.network.cut(1, 2)
    pair.network.cut(1, 2)
    pair.network.heal(1, 2)
    pair.send(1)
    pair.network.send(2, pair.two.connection, Batch([(0, 5)]))
    pair.run(1_000_000)
    assert (pair.one.messages, pair.two.messages) == ([5], [])
    pair.network.heal(1, 2)
    pair.send(2)
    pair.run(1_000_000)
    assert pair.two.messages == [2]


def test_handshakes_and_pings_keep_their_order_between_datagrams() -> None:
    pair = Pair(NetworkModel.DATAGRAM, latency_most_us=50_000, loss_chance=1_000_000)
    for _ in range(5):
        pair.network.send(1, pair.one.connection, Ping())
    pair.run(1_000_000)
    assert pair.two.count(Received) == 5


@pytest.mark.parametrize(("silent", "least_us"), [(False, 0), (True, 200_000)])
def test_peers_notice_a_killed_process_at_once_and_a_lost_machine_late(silent: bool, least_us: int) -> None:
    pair = Pair(NetworkModel.SESSION)
    died_at = pair.world.now
    pair.two.up = False
    pair.network.machine_down(2, silent=silent)
    pair.run(5_000_000)
    noticed_at = next(at for at, given in pair.one.heard if isinstance(given, Disconnected))
    assert least_us <= noticed_at - died_at
    assert silent or noticed_at - died_at < 10_000
    assert pair.two.count(Disconnected) == 0


def test_hanging_up_comes_behind_what_was_sent() -> None:
    pair = Pair(NetworkModel.SESSION, latency_most_us=50_000)
    number = pair.one.connection
    pair.send(1, 2, 3)
    pair.network.hang_up(1, number)
    pair.send(4)
    pair.run(60_000)
    assert pair.two.messages == [1, 2, 3]
    assert pair.two.count(Disconnected) == 1
    assert pair.network.peer_of(2, number) is None


def test_a_frame_is_carried_as_another_one_or_lost() -> None:
    carried: list[tuple[int, int, Frame]] = []

    def carry(source: int, target: int, frame: Frame) -> Frame | None:
        carried.append((source, target, frame))
        return Batch([(0, "another")]) if isinstance(frame, Batch) else None

    pair = Pair(NetworkModel.SESSION, carry=carry)
    pair.send(1)
    pair.network.send(2, pair.two.connection, Ping())
    pair.run(1_000_000)
    assert carried == [(1, 2, Batch([(0, 1)])), (2, 1, Ping())]
    assert pair.two.messages == ["another"]
    assert pair.one.count(Received) == 0


def test_a_strangers_bytes_come_piece_by_piece_to_the_real_decoder() -> None:
    pair = Pair(NetworkModel.SESSION)
    data = framed(msgspec.msgpack.encode(Ping()))
    pair.network.stranger_bytes(2, Bytes(data, 5, 100), 1_000)
    pair.run(250)
    assert pair.two.pieces == [data[:5], data[5:10], data[10:15]]
    assert pair.two.frames == []
    pair.run(10_000)
    assert pair.two.frames == [Ping()]
    assert pair.two.count(Disconnected) == 1, "the stranger has hung up"


def test_bytes_that_are_no_frame_end_their_connection_and_nothing_else() -> None:
    pair = Pair(NetworkModel.SESSION)
    pair.network.stranger_bytes(2, Bytes(b"GET / HTTP/1.1", 4, 100), 1_000_000)
    assert pair.two.count(Disconnected) == 1
    assert pair.two.pieces == []
    pair.send(1)
    pair.run(10_000)
    assert pair.two.messages == [1]
