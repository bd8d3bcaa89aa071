"""Text that others wrote, made fit to be stored and sent."""

from __future__ import annotations

import re

_SURROGATES = re.compile(r"[\ud800-\udfff]")
_UNFIT = re.compile(r"[\0\ud800-\udfff]")


def encodable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which UTF-8 has no form for; all else that was printed stays.

    >>> encodable("a\\ud800b\\0") == "a\\ufffdb\\0"
    True
    """
    return _SURROGATES.sub("\ufffd", text)


def plain(text: str) -> str:
    """The same, and for NUL, which databases refuse.

    >>> plain("a\\ud800b\\0") == "a\\ufffdb\\ufffd"
    True
    """
    return _UNFIT.sub("\ufffd", text)


def shortened(text: str, longest: int) -> str:
    """The text, of at most ``longest`` characters (3 or more); where some are left out, it ends with an ellipsis.

    >>> shortened("abcdef", 6), shortened("abcdefg", 6)
    ('abcdef', 'abc...')
    """
    return text if len(text) <= longest else text[: longest - 3] + "..."
