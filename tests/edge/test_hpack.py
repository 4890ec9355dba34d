"""Header blocks: the examples of RFC 7541, what it forbids, and what a client could make us keep."""

from __future__ import annotations

import random
import tracemalloc
from itertools import count

import hpack
import pytest
from hpack.exceptions import HPACKError

from ratified.edge import huffman
from ratified.edge.hpack import Decoder, Header, HeadersTooLarge, HpackError, encode

LIST_BYTES_MAX = 16 << 10
FIRST_DYNAMIC = 62
ADD_AB = bytes.fromhex("4001610162")
"""Puts ``a: b`` into the table."""

REQUEST_1 = ":method GET|:scheme http|:path /|:authority www.example.com"
REQUEST_2 = f"{REQUEST_1}|cache-control no-cache"
REQUEST_3 = ":method GET|:scheme https|:path /index.html|:authority www.example.com|custom-key custom-value"
DATE = "date Mon, 21 Oct 2013 20:13:21 GMT"
RESPONSE_1 = f":status 302|cache-control private|{DATE}|location https://www.example.com"
RESPONSE_2 = RESPONSE_1.replace("302", "307")
COOKIE = "set-cookie foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
RESPONSE_3 = (
    f":status 200|cache-control private|{DATE.replace(':21', ':22')}|location https://www.example.com"
    f"|content-encoding gzip|{COOKIE}"
)
REQUESTS = (
    (REQUEST_1, ":authority www.example.com"),
    (REQUEST_2, "cache-control no-cache|:authority www.example.com"),
    (REQUEST_3, "custom-key custom-value|cache-control no-cache|:authority www.example.com"),
)
"""What is sent, and the table behind it."""
RESPONSES = (
    (RESPONSE_1, f"location https://www.example.com|{DATE}|cache-control private|:status 302"),
    (RESPONSE_2, f":status 307|location https://www.example.com|{DATE}|cache-control private"),
    (RESPONSE_3, f"{COOKIE}|content-encoding gzip|{DATE.replace(':21', ':22')}"),
)


def fields(text: str) -> tuple[Header, ...]:
    pairs = (each.split(" ", 1) for each in text.split("|") if each)
    return tuple((name.encode(), value.encode()) for name, value in pairs)


def decoded(block: bytes, decoder: Decoder | None = None) -> tuple[Header, ...]:
    return (decoder or Decoder(LIST_BYTES_MAX)).decode(block).fields


def table_of(decoder: Decoder) -> tuple[Header, ...]:
    """The dynamic table, the newest first, as indexes show it."""
    found: list[Header] = []
    for index in count(FIRST_DYNAMIC):
        try:
            found += decoded(bytes([0x80 | index]), decoder)
        except HpackError:
            break
    return tuple(found)


def coded(bits: str) -> bytes:
    """A block with one header, ``a``, whose value is a Huffman string of these bits."""
    raw = int(bits, 2).to_bytes(len(bits) // 8)
    return b"\x00\x01a" + bytes([0x80 | len(raw)]) + raw


@pytest.mark.parametrize(
    ("block", "field", "table"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key custom-header", True),
        ("040c2f73616d706c652f70617468", ":path /sample/path", False),
        ("100870617373776f726406736563726574", "password secret", False),
        ("82", ":method GET", False),
    ],
    ids=["C.2.1", "C.2.2", "C.2.3", "C.2.4"],
)
def test_each_representation_of_a_header_reads_as_appendix_c_2_says(block: str, field: str, table: bool) -> None:
    decoder = Decoder(LIST_BYTES_MAX)
    assert decoded(bytes.fromhex(block), decoder) == fields(field)
    assert table_of(decoder) == (fields(field) if table else ())


@pytest.mark.parametrize(
    ("table_bytes_max", "blocks", "expected"),
    [
        pytest.param(
            4096,
            (
                "828684410f7777772e6578616d706c652e636f6d",
                "828684be58086e6f2d6361636865",
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            ),
            REQUESTS,
            id="C.3",
        ),
        pytest.param(
            4096,
            (
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                "828684be5886a8eb10649cbf",
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ),
            REQUESTS,
            id="C.4",
        ),
        pytest.param(
            256,
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
                "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                "4803333037c1c0bf",
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a6970"
                "7738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167"
                "653d333630303b2076657273696f6e3d31",
            ),
            RESPONSES,
            id="C.5",
        ),
        pytest.param(
            256,
            (
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff"
                "6e919d29ad171863c78f0b97c8e9ae82ae43d3",
                "4883640effc1c0bf",
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab"
                "77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ),
            RESPONSES,
            id="C.6",
        ),
    ],
)
def test_blocks_in_a_row_give_the_headers_and_leave_the_tables_of_appendix_c(
    table_bytes_max: int, blocks: tuple[str, ...], expected: tuple[tuple[str, str], ...]
) -> None:
    decoder = Decoder(LIST_BYTES_MAX, table_bytes_max)
    for block, (sent, table) in zip(blocks, expected, strict=True):
        assert decoded(bytes.fromhex(block), decoder) == fields(sent)
        assert table_of(decoder) == fields(table)


def test_a_number_reads_as_appendix_c_1_says() -> None:
    decoder = Decoder(LIST_BYTES_MAX, table_bytes_max=1337)
    assert decoded(bytes.fromhex("2a"), decoder) == ()  # the size of the table: 10 in five bits
    assert decoded(bytes.fromhex("3f9a0a"), decoder) == ()  # 1337 in five bits
    with pytest.raises(HpackError, match="1338"):
        decoded(bytes.fromhex("3f9b0a"), decoder)


BAD = {
    "index 0 (6.1)": "80",
    "an index behind the static table, where the dynamic one is empty (2.3.3)": "be",
    "the index of a name that is none (2.3.3)": "7f8101" + "0162",
    "an index of 2^31": "ffffffff07",
    "a number that never ends": "ff" + "80" * 20,
    "a number that ends with its block": "ff80",
    "a number of nothing but its prefix": "7f",
    "a name that is longer than its block": "000561",
    "a value that is longer than its block": "00016105",
    "no value at all": "000161",
    "a string of 2^28 bytes": "00ff80808080",
    "a table larger than was announced (6.3)": "3fe21f",
    "a table larger than was announced, behind a smaller one": "203fe21f",
    "a size of the table behind a header (4.2)": "8220",
}


@pytest.mark.parametrize("block", BAD.values(), ids=BAD.keys())
def test_what_the_rfc_forbids_is_an_error(block: str) -> None:
    with pytest.raises(HpackError):
        decoded(bytes.fromhex(block))


@pytest.mark.parametrize(
    ("bits", "value"),
    [
        pytest.param("00011" + "111", b"a", id="three bits of padding"),
        pytest.param("00011" * 5 + "1111111", b"aaaaa", id="seven bits of padding"),
        pytest.param("00011" + "00011" + "00011" + "1", b"aaa", id="one bit of padding"),
        pytest.param("11111000" + "00011" + "111", b"&a", id="padding behind a longer code"),
        pytest.param("11111000", b"&", id="no padding"),
        pytest.param("00011" + "111" + "11111111", None, id="padding of eleven bits (5.2)"),
        pytest.param("11111111", None, id="padding of eight bits"),
        pytest.param("00011" + "000", None, id="padding that is no ones"),
        pytest.param("00011" + "110", None, id="padding that begins as it should"),
        pytest.param("1" * 30 + "11", None, id="EOS"),
        pytest.param("00011" + "1" * 30 + "00011", None, id="EOS inside"),
    ],
)
def test_a_huffman_string_ends_in_less_than_eight_ones_and_has_no_eos(bits: str, value: bytes | None) -> None:
    if value is None:
        with pytest.raises(HpackError):
            decoded(coded(bits))
    else:
        assert decoded(coded(bits)) == ((b"a", value),)


def test_each_byte_has_the_huffman_code_of_appendix_b() -> None:
    encoder = hpack.huffman.HuffmanEncoder(
        hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH
    )
    for byte in range(256):
        text = bytes([byte, byte])
        assert huffman.decode(encoder.encode(text)) == text


def test_the_table_may_shrink_and_grow_at_the_beginning_of_a_block() -> None:
    decoder = Decoder(LIST_BYTES_MAX)
    decoded(ADD_AB, decoder)
    assert decoded(bytes.fromhex("203fe11f82"), decoder) == ((b":method", b"GET"),)
    assert table_of(decoder) == ()
    decoded(ADD_AB, decoder)
    assert table_of(decoder) == ((b"a", b"b"),)


def test_a_header_larger_than_the_table_empties_it() -> None:
    decoder = Decoder(LIST_BYTES_MAX, table_bytes_max=64)
    decoded(ADD_AB, decoder)
    assert decoded(b"\x40\x01c" + bytes([40]) + b"d" * 40, decoder) == ((b"c", b"d" * 40),)
    assert table_of(decoder) == ()


def test_a_new_entry_may_name_the_one_that_it_evicts() -> None:
    decoder = Decoder(LIST_BYTES_MAX, table_bytes_max=34)
    decoded(ADD_AB, decoder)
    assert decoded(bytes.fromhex("7e0163"), decoder) == ((b"a", b"c"),)
    assert table_of(decoder) == ((b"a", b"c"),)


def test_a_block_means_what_the_table_says_now_however_often_it_came() -> None:
    decoder = Decoder(LIST_BYTES_MAX)
    newest = bytes([0x80 | FIRST_DYNAMIC])
    decoded(ADD_AB, decoder)
    assert decoded(newest, decoder) == decoded(newest, decoder) == ((b"a", b"b"),)
    decoded(bytes.fromhex("4001630164"), decoder)
    assert decoded(newest, decoder) == decoded(newest, decoder) == ((b"c", b"d"),)
    decoded(b"\x20", decoder)
    with pytest.raises(HpackError):
        decoded(newest, decoder)


def test_a_block_that_comes_again_is_read_once() -> None:
    decoder = Decoder(LIST_BYTES_MAX)
    block = encode((b":method", b"GET"), (b"x", b"y"))
    assert decoder.decode(block) is decoder.decode(block)


def test_a_short_block_that_stands_for_a_long_list_takes_no_memory() -> None:
    decoder = Decoder(LIST_BYTES_MAX)
    large = b"\x40\x01a" + b"\x7f\xa1\x1e" + b"b" * 4000
    assert decoded(large, decoder) == ((b"a", b"b" * 4000),)
    bomb = bytes([0x80 | FIRST_DYNAMIC]) * 16_000  # 64 MB
    tracemalloc.start()
    try:
        with pytest.raises(HpackError, match="more than twice as long"):  # and it is read no further
            decoded(bomb, decoder)
        assert tracemalloc.get_traced_memory()[1] < 64 << 10
    finally:
        tracemalloc.stop()


def test_blocks_and_strings_that_never_come_again_are_not_all_kept() -> None:
    decoder = Decoder(LIST_BYTES_MAX)
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    blocks = [encoder.encode([(b"x", b"%060d" % number)]) for number in range(2_500)]
    tracemalloc.start()
    try:
        for block in blocks:
            decoded(block, decoder)
        assert tracemalloc.get_traced_memory()[0] < 512 << 10
    finally:
        tracemalloc.stop()


def test_a_list_that_is_too_long_still_does_to_the_table_what_it_says() -> None:
    decoder = Decoder(list_bytes_max=100)
    with pytest.raises(HeadersTooLarge):
        decoded(encode((b"x", b"y" * 100)) + ADD_AB, decoder)
    assert table_of(decoder) == ((b"a", b"b"),)


def test_a_list_may_have_as_many_bytes_as_its_limit() -> None:
    assert decoded(encode((b"a", b"b" * 67)), Decoder(list_bytes_max=100)) == ((b"a", b"b" * 67),)
    with pytest.raises(HeadersTooLarge):
        decoded(encode((b"a", b"b" * 68)), Decoder(list_bytes_max=100))


def test_a_size_of_the_table_may_not_stand_behind_a_header_that_is_too_long() -> None:
    with pytest.raises(HpackError):
        decoded(encode((b"x", b"y" * 100)) + b"\x20", Decoder(list_bytes_max=100))


# ---------------------------------------------------------------------------------------------------------------
# Against the library ``hpack``

NAMES = (b":path", b":status", b"accept", b"cookie", b"content-type", b"x-one", b"x-two", b"grpc-timeout")


def drawn_fields(draw: random.Random) -> list[Header]:
    def value() -> bytes:
        return draw.randbytes(draw.choice((0, 1, 5, 30, 300))) if draw.random() < 0.5 else draw.choice(NAMES)

    return [(draw.choice(NAMES), value()) for _ in range(draw.randrange(6))]


@pytest.mark.parametrize("seed", range(4))
def test_what_another_encoder_writes_reads_as_it_was(seed: int) -> None:
    draw = random.Random(seed)
    encoder, decoder = hpack.Encoder(), Decoder(LIST_BYTES_MAX)
    for _ in range(100):
        if draw.random() < 0.1:
            encoder.header_table_size = draw.choice((0, 40, 200, 4096))
        sent = drawn_fields(draw)
        marked = [hpack.HeaderTuple(*each) for each in sent]
        if draw.random() < 0.2:
            marked = [hpack.NeverIndexedHeaderTuple(*each) for each in sent]
        assert decoded(encoder.encode(marked, huffman=draw.random() < 0.5), decoder) == tuple(sent)


def test_what_we_write_reads_as_it_was_to_another_decoder() -> None:
    draw = random.Random(0)
    theirs = hpack.Decoder()
    for _ in range(100):
        sent = [*drawn_fields(draw), (b":status", b"200")]
        assert [tuple(each) for each in theirs.decode(encode(*sent), raw=True)] == sent


def test_a_spoilt_block_is_an_error_or_reads_as_it_does_to_another_decoder() -> None:
    draw = random.Random(0)
    outcomes = {"read": 0, "error": 0}
    for _ in range(400):
        block = bytearray(hpack.Encoder().encode(drawn_fields(draw) or [(b"a", b"b")]))
        for _ in range(draw.randrange(1, 4)):
            block[draw.randrange(len(block))] = draw.randrange(256)
        try:
            ours = decoded(bytes(block))
        except HpackError:
            outcomes["error"] += 1
            continue
        outcomes["read"] += 1
        try:
            theirs = hpack.Decoder().decode(bytes(block), raw=True)
        except HPACKError:
            continue  # it takes numbers, and sizes of tables, for errors that are none
        assert ours == tuple(map(tuple, theirs))
    assert min(outcomes.values()) > 20
