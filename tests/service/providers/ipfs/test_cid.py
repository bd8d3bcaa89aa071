"""CIDs in both versions, against values that other implementations made."""

from __future__ import annotations

import hashlib

import pytest

from orchestration.service.providers.ipfs import base58
from orchestration.service.providers.ipfs.cid import DAG_PB, RAW, CidError, from_bytes, parse
from tests.support.ipfs_encoder import cid_v0, cid_v1

KNOWN = [
    # Kubo: `echo "hello world" | ipfs add`; and of the text without its newline as a raw leaf
    ("QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o", b"\n\x12\x08\x02\x12\x0chello world\n\x18\x0c", 0, DAG_PB),
    ("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", b"hello world", 1, RAW),
]


@pytest.mark.parametrize(("text", "block", "version", "codec"), KNOWN)
def test_known_cids(text: str, block: bytes, version: int, codec: int) -> None:
    cid = parse(text)
    assert (cid.version, cid.codec, str(cid)) == (version, codec, text)
    assert cid.matches(block)
    assert not cid.matches(block + b"\0")
    assert not cid.matches(b"")


def test_no_result_of_a_job_is_a_cid_of_zeros() -> None:
    assert parse("QmNLei78zWmzUdbeRB3CiUfAizWUrbeeZh5K1rhAQKCh51").digest == bytes(32)


def test_every_writing_of_a_cid_is_the_same() -> None:
    digest = hashlib.sha256(b"x").digest()
    binary = bytes([1, DAG_PB, 0x12, 0x20]) + digest
    texts = [cid_v1(digest, DAG_PB), "z" + base58.encode(binary), "f" + binary.hex()]
    assert {parse(text) for text in texts} == {from_bytes(binary)}
    assert str(parse(texts[1])) == texts[0]
    assert str(parse(cid_v0(digest))) == cid_v0(digest)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "1 to 512 characters"),
        ("b" * 600, "1 to 512 characters"),
        ("Qm" + "0" * 44, "no character of base58"),
        ("xyz", "the prefix 'x'"),
        ("bAFK", "lower case"),
        ("b1", "no CID"),
        ("fzz", "no CID"),
        ("f01", "no CID"),
        ("f0170", "no CID"),
        ("f0170" + "1220" + "00" * 31, "31 bytes, and 32 are announced"),
        ("f0170" + "1320" + "00" * 32, "hash function 0x13"),
        ("f0270" + "1220" + "00" * 32, "CID version 2"),
        ("f" + "1220" + "00" * 32, "version 0 has no prefix"),
        ("f0155" + "00" + "c801" + "00" * 200, "hash function 0x0"),
        ("f" + "ff" * 12, "more than 63 bits"),
    ],
)
def test_what_is_no_cid_is_told(text: str, words: str) -> None:
    with pytest.raises(CidError, match=words):
        parse(text)


@pytest.mark.parametrize(
    ("data", "text"), [(b"", ""), (b"\0\0\1", "112"), (b"hello world", "StV1DL6CwTryKyV"), (b"\xff" * 4, "7YXq9G")]
)
def test_base58(data: bytes, text: str) -> None:
    assert (base58.encode(data), base58.decode(text)) == (text, data)
