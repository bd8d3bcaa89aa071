"""Lists page by page: where the next page is, as a Link header (RFC 8288)."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote_plus

from google.protobuf.descriptor import Descriptor

from orchestration.gateway.schema import HttpRule
from orchestration.gateway.template import Template
from orchestration.gateway.topfields import ReadString, string_field, string_reader

_ASKED: Final = "page_token"
_ANSWERED: Final = "next_page_token"
_SAFE: Final = "%!#$&'()*+,/:;=?@[]~"
"""What stays as it is in a URL that is already encoded."""


class NextPage:
    """Knows where the next page of one route is."""

    def __init__(self, read: ReadString, spellings: frozenset[str]) -> None:
        self._read = read
        self._spellings = spellings

    def link(self, body: bytes, base: str, query: str) -> str:
        """The Link header's value; empty after the last page.

        Args:
            body: The answer's JSON.
            base: The caller's URL without its query; empty for a link relative to it.
            query: As sent.
        """
        token = self._read(body)
        if not token:
            return ""
        kept = [pair for pair in query.split("&") if pair and self._keeps(pair)]
        kept.append(f"{_ASKED}={quote(token, safe='')}")
        target = quote(f"{base}?{'&'.join(kept)}", safe=_SAFE, errors="surrogateescape")
        return f'<{target}>; rel="next"'

    def _keeps(self, pair: str) -> bool:
        return unquote_plus(pair.partition("=")[0]) not in self._spellings


def next_page(request: Descriptor, sent: Descriptor | None, rule: HttpRule, template: Template) -> NextPage | None:
    """How the pages of a route are linked; None where it has none."""
    asked, answered = string_field(request, _ASKED), string_field(sent, _ANSWERED)
    in_path = any(variable.path == (_ASKED,) for variable in template.variables)
    if asked is None or answered is None or rule.http_method != "GET" or rule.body or in_path:
        return None
    spellings = frozenset({asked.name, asked.json_name, asked.camelcase_name})
    return NextPage(string_reader(answered), spellings)
