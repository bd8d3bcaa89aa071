"""Listen addresses."""

from __future__ import annotations

import pytest

from orchestration.service.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:50051", "127.0.0.1", 50051),
        ("localhost:0", "localhost", 0),
        ("[::1]:0", "::1", 0),
        ("[0:0:0:0:0:0:0:1]:65535", "::1", 65535),
        (":8080", "0.0.0.0", 8080),
        (" h:1 ", "h", 1),
    ],
)
def test_an_address_is_split(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no port"),
        ("8080", "has no port"),
        ("h:", '"" is not a port'),
        ("h:65536", '"65536" is not a port'),
        ("h:-1", "is not a port"),
        ("h:http", "is not a port"),
        ("h:٣", "is not a port"),
        ("::1:80", "stands in brackets"),
        ("[::g]:80", "::g"),
        ("a b:80", "is not a host"),
        ("http://h:80", "stands in brackets"),
        ("u@h:80", "is not a host"),
    ],
)
def test_what_is_no_address_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(text)
    assert why in str(caught.value)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "[::1]:2"])
def test_an_address_prints_as_it_is_read(text: str) -> None:
    assert str(parse_address(text)) == text
