"""What is fuzzed: templates, URLs and bodies. A target raises where something is wrong with the gateway."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Final

from orchestration.gateway.template import TemplateError, parse_template, print_template
from tests.fuzz.corpus import BODIES, TEMPLATES, URLS
from tests.support.transcoding_client import Answer, Running, running

_SLOW_S: Final = 2.0
"""No answer may cost more of this process's time, in seconds."""


def check_template(text: str) -> None:
    """A text is parsed, and printed as what is parsed alike, or refused by a column of its own."""
    try:
        template = parse_template(text)
    except TemplateError as error:
        column = error.column
    else:
        again = parse_template(print_template(template))
        assert (again.segments, again.verb) == (template.segments, template.verb), text
        return
    assert 1 <= column <= len(text) + 1, (text, column)


def check_answer(answer: Answer, spent: float) -> None:
    """Whatever was asked, the answer is one of the gateway's own, soon, and no failure."""
    assert answer.status < 500, (answer.status, answer.body)
    assert spent < _SLOW_S, spent
    if answer.status >= 400 and answer.body and answer.headers.get("Content-Type") == "application/json":
        error = json.loads(answer.body)["error"]
        assert error["code"] == answer.status
        assert error["message"]


def make_input(seeds: Sequence[str], source: random.Random) -> str:
    """A text of the corpus, with pieces of it cut, doubled, swapped and replaced."""
    text = source.choice(seeds)
    for _ in range(source.randrange(6)):
        start = source.randint(0, len(text))
        end = min(len(text), start + source.choice((0, 0, 1, 2, 5, 20)))
        text = text[:start] + _piece(seeds, text, source) * source.choice((1, 1, 1, 1, 2, 50)) + text[end:]
    return text


def _piece(seeds: Sequence[str], text: str, source: random.Random) -> str:
    kind = source.randrange(5)
    if kind == 0:
        return ""
    if kind == 1:
        return chr(source.choice((source.randrange(128), source.randrange(0x800), source.randrange(0x110000))))
    if kind == 2:
        return source.choice(_SYNTAX)
    origin = text if kind == 3 else source.choice(seeds)
    start = source.randint(0, len(origin))
    return origin[start : start + source.choice((1, 3, 10, 40))]


_SYNTAX: Final = [
    *(
        "/",
        "//",
        ":",
        "{",
        "}",
        "=",
        "*",
        "**",
        "[",
        "]",
        '"',
        ",",
        ".",
        "..",
        "?",
        "&",
        "%",
        "%2F",
        "%zz",
        "%FF",
        "+",
        ";",
    ),
    *(
        "null",
        "NaN",
        "1e999",
        "-0",
        "9223372036854775808",
        "\\ud800",
        "\\u0000",
        '{"@type":',
        '"value":',
        "true",
        "[[[",
    ),
    *(
        "a_self.",
        "a_self",
        "mv_self",
        "t_any",
        "t_struct",
        "t_value",
        "k_int64",
        "r_sub",
        "mk_int32",
        "$alt=",
        "prettyPrint=",
    ),
]


class Service:
    """The test service behind a gateway, for targets that are no coroutines."""

    def __init__(self, runner: asyncio.Runner, running_service: Running) -> None:
        self._runner = runner
        self._running = running_service

    def send(self, method: str, target: str, body: bytes | None = None) -> None:
        """Send a request, and check its answer."""
        began = time.process_time()
        answer = self._runner.run(self._running.send(method, target, body=body))
        check_answer(answer, time.process_time() - began)

    def check_url(self, target: str) -> None:
        """Send a target as it is, as far as a client can."""
        self.send("GET", "/" + target.encode("ascii", "ignore").decode().translate(_NOT_SENT).lstrip("/"))

    def check_body(self, body: str) -> None:
        """Send a body, to a method that takes all of it and to one that takes a field."""
        data = body.encode(errors="surrogatepass")
        self.send("POST", "/v1/everything", data)
        self.send("POST", "/v1/everything/parts/t_struct", data)


_NOT_SENT: Final = dict.fromkeys((*range(33), 127, ord("#")))


@contextmanager
def service() -> Generator[Service, None, None]:
    """The service, in this process."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield Service(runner, runner.run(stack.enter_async_context(running("in_process"))))
        finally:
            runner.run(stack.aclose())


Check = Callable[[str], None]
TARGETS: Final[Mapping[str, tuple[Callable[[Service], Check], Sequence[str]]]] = {
    "templates": (lambda _: check_template, TEMPLATES),
    "urls": (lambda served: served.check_url, URLS),
    "bodies": (lambda served: served.check_body, BODIES),
}
"""Name -> what checks an input, and the corpus."""


class FindingError(Exception):
    """An input that something is wrong with, as short as it could be made."""


def run_target(name: str, seconds: float, seed: int) -> int:
    """Fuzz one target for a time. Gives the number of inputs; raises `FindingError`."""
    make, seeds = TARGETS[name]
    source = random.Random(seed)
    deadline = time.monotonic() + seconds
    tried = 0
    with service() as served:
        check = make(served)
        while time.monotonic() < deadline:
            text = make_input(seeds, source)
            tried += 1
            if (problem := _problem(check, text)) is not None:
                shortest = shrink(lambda shorter: _problem(check, shorter) is not None, text)
                raise FindingError(f"{name}: {shortest!r}: {_problem(check, shortest) or problem}")
    return tried


def _problem(check: Check, text: str) -> str | None:
    try:
        check(text)
    except Exception as error:  # whatever it is, it is a finding
        return f"{type(error).__name__}: {error}"
    return None


def shrink(fails: Callable[[str], bool], text: str) -> str:
    """A shorter text that fails as well: pieces are left out as long as it does."""
    size = len(text) // 2
    while size:
        at = 0
        while at < len(text):
            shorter = text[:at] + text[at + size :]
            if fails(shorter):
                text = shorter
            else:
                at += size
        size //= 2
    return text
