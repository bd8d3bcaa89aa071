"""Files from gateways that fail and lie: what is read is what was named, or an error."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.providers.ipfs.files import IpfsFiles
from orchestration.service.providers.ipfs.gateways import GatewaySpec, parse_gateways
from tests.support.ipfs_encoder import DIRECTORY, Blocks
from tests.support.ipfs_gateway import FakeGateway, gateway

TEXT = random.Random(7).randbytes(700_000)


@asynccontextmanager
async def files(cache: Path, *gateways: FakeGateway, max_bytes: int = 10_000_000) -> AsyncGenerator[IpfsFiles]:
    timeouts = {"hang": 0.3}
    specs = [GatewaySpec(url=item.url, timeout_s=timeouts.get(item.mode, 30.0)) for item in gateways]
    reader = IpfsFiles(specs, cache, max_bytes=max_bytes)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.close()


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("size", [0, 1, 1000, 262_144, 262_145, 700_000])
async def test_files_of_one_and_of_many_blocks(tmp_path: Path, version: int, size: int) -> None:
    blocks = Blocks()
    cid = blocks.file(TEXT[:size], version=version)
    async with gateway(blocks.kept) as good, files(tmp_path, good) as reader:
        assert await reader.read(cid) == TEXT[:size]
        assert len(good.asked) == len(blocks.kept)


async def test_a_tree_of_several_levels(tmp_path: Path) -> None:
    blocks = Blocks()
    cid = blocks.file(TEXT[:10_000], chunk=100, width=4)
    async with gateway(blocks.kept) as good, files(tmp_path, good) as reader:
        assert await reader.read(cid) == TEXT[:10_000]


@pytest.mark.parametrize("mode", ["404", "410", "429", "500", "502", "504", "lie", "longer", "html", "hang", "cut"])
async def test_the_next_gateway_is_asked(tmp_path: Path, mode: str) -> None:
    blocks = Blocks()
    cid = blocks.file(TEXT[:300_000])
    async with gateway(blocks.kept, mode) as bad, gateway(blocks.kept) as good, files(tmp_path, bad, good) as reader:
        assert await reader.read(cid) == TEXT[:300_000]
        assert bad.asked
        assert len(good.asked) == len(blocks.kept)


async def test_a_gateway_that_lied_is_left_alone(tmp_path: Path) -> None:
    blocks = Blocks()
    cid = blocks.file(TEXT)
    async with gateway(blocks.kept, "lie") as liar, gateway(blocks.kept) as good, files(tmp_path, liar, good) as reader:
        assert await reader.read(cid) == TEXT
        assert len(liar.asked) == 1, "the blocks after the first lie were not asked of it"


async def test_what_no_gateway_has_is_told_with_what_each_did(tmp_path: Path) -> None:
    cid = Blocks().file(b"never stored")
    async with gateway({}) as empty, gateway({}, "500") as broken, files(tmp_path, empty, broken) as reader:
        with pytest.raises(ProviderUnavailableError) as caught:
            await reader.read(cid)
    assert caught.value.reason == "IPFS_UNAVAILABLE"
    assert cid in caught.value.message
    assert "with 404" in caught.value.message
    assert "with 500" in caught.value.message
    assert empty.url in caught.value.message


async def test_what_was_read_once_needs_no_gateway(tmp_path: Path) -> None:
    blocks = Blocks()
    cid = blocks.file(TEXT)
    async with gateway(blocks.kept) as good, files(tmp_path, good) as reader:
        await reader.read(cid)
    async with files(tmp_path) as reader:
        assert await reader.read(cid) == TEXT


async def test_a_block_damaged_on_disk_is_fetched_again(tmp_path: Path) -> None:
    blocks = Blocks()
    cid = blocks.file(TEXT)
    async with gateway(blocks.kept) as good, files(tmp_path, good) as reader:
        await reader.read(cid)
        victim = tmp_path / cid[-2:] / cid
        victim.write_bytes(b"rust")
        asked = len(good.asked)
        assert await reader.read(cid) == TEXT
        assert len(good.asked) == asked + 1
        assert victim.read_bytes() != b"rust"


async def test_a_cid_may_hold_the_file_itself(tmp_path: Path) -> None:
    async with files(tmp_path) as reader:
        assert await reader.read("bafkqaaa") == b""
        assert await reader.read("bafkqablimvwgy3y") == b"hello"


async def test_a_cycle_and_a_flood_end(tmp_path: Path) -> None:
    blocks = Blocks()
    cid = blocks.file(TEXT)
    async with gateway(blocks.kept) as good, files(tmp_path, good, max_bytes=1000) as reader:
        with pytest.raises(ProviderError, match="more than 1000 bytes") as caught:
            await reader.read(cid)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("links", "unixfs", "words"),
    [
        ([], DIRECTORY, "a directory, not a file"),
        ([], b"\x08\x02\x18\x05", "says that the file has 5 bytes"),
        ([b"\x12\x20" + b"\1" * 32], b"\x08\x02", "1 links and 0 sizes"),
        ([b"junk"], b"\x08\x02", "cannot be read"),
        ([], b"\xff\xff", "cannot be read"),
        ([], b"\x08\x04", "a symbolic link"),
    ],
)
async def test_blocks_that_are_no_file_are_refused(
    tmp_path: Path, links: list[bytes], unixfs: bytes, words: str
) -> None:
    blocks = Blocks()
    cid = blocks.node(links, unixfs)
    async with gateway(blocks.kept) as good, files(tmp_path, good) as reader:
        with pytest.raises(ProviderError, match=words) as caught:
            await reader.read(cid)
    assert (caught.value.reason, caught.value.retryable) == ("IPFS_NO_FILE", False)


async def test_blocks_that_are_yet_to_be_read_are_bounded(tmp_path: Path) -> None:
    """One block names thousands, each of which may name thousands again."""
    blocks = Blocks()
    leaf = b"\x12\x20" + b"\1" * 32  # a block that is nowhere: none of them is asked for
    many = 4097
    cid = blocks.node([leaf] * many, b"\x08\x02" + b"\x20\x00" * many)
    async with gateway(blocks.kept) as good, files(tmp_path, good) as reader:
        with pytest.raises(ProviderError, match="more than 4096 blocks") as caught:
            await reader.read(cid)
    assert (caught.value.retryable, len(good.asked)) == (False, 1)


async def test_blocks_are_kept_for_a_time(tmp_path: Path) -> None:
    blocks = Blocks()
    cid = blocks.file(TEXT[:1000])
    async with gateway(blocks.kept) as good, files(tmp_path, good) as reader:
        await reader.read(cid)
        kept = tmp_path / cid[-2:] / cid
        await reader.forget_older(kept.stat().st_mtime - 1)
        assert kept.exists()
        await reader.forget_older(kept.stat().st_mtime + 1)
        assert not kept.exists()
        assert await reader.read(cid) == TEXT[:1000]


def test_gateways_are_given_with_their_limits() -> None:
    found = parse_gateways("https://one.example;timeout_s=2.5;at_once=1, http://127.0.0.1:9/,")
    assert found == (
        GatewaySpec(url="https://one.example", timeout_s=2.5, at_once=1),
        GatewaySpec(url="http://127.0.0.1:9"),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one.example", "is no gateway"),
        ("ftp://one.example", "is no gateway"),
        ("https://a?b=c", "is no gateway"),
        ("https://a;timeout_s=0", "timeout_s=0' of gateway https://a is wrong"),
        ("https://a;at_once=x", "at_once=x' of gateway https://a is wrong"),
        ("https://a;speed=9", "speed=9' of gateway https://a is wrong"),
    ],
)
def test_a_gateway_that_makes_no_sense_is_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_gateways(text)
