"""Test vectors of the wire format, from `coupler.md`; shared by the tests of every transport."""

from __future__ import annotations

ENQUEUE = bytes.fromhex(
    "5251554382bed87e220000000700000088776655443322110000000000000000050000000000000000000000"
    "0000000009000000000000000201"
)
GET_CORRECTIONS = bytes.fromhex(
    "52515543a15b2d88110000000800000000000000000000000000000000000000010000000000000001"
)
RESET = bytes.fromhex("52515543cf597a97080000000900000000000000000000000000000000000000")
FUNCTION_IDS = {
    "enqueue_syndromes": 0x7ED8BE82,
    "get_corrections": 0x882D5BA1,
    "reset_decoder": 0x977A59CF,
    "mock_decode": 0x6C45A6D6,
    "test_predecoder": 0xDB693FE9,
    "rpc_increment": 0x191B6322,
    "predecode": 0xEAD9E510,
    "addThem": 0x5A6C901E,
    "occupation": 0x9CBD40FA,
    "": 0x811C9DC5,
}
