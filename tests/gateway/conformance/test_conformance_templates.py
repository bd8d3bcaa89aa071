"""The grammar of templates: whatever it makes is parsed and printed again, and whatever else is refused by column."""

from __future__ import annotations

import re
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestration.gateway.template import TemplateError, Wildcard, parse_template, print_template

_NAMES: Final = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,4}", fullmatch=True)
_LITERALS: Final = st.text("abzAZ019-_.~!$&'()+,;@é日", min_size=1, max_size=4) | st.sampled_from(
    ["a%2Fb", "%7e", "%41", "%FF", "%C3%A9", "%20", "%25", "%00"]
)


@st.composite
def templates(draw: st.DrawFn) -> str:
    """Texts that the grammar makes, a ``**`` at most once and nothing variable after it."""
    names = draw(st.lists(st.lists(_NAMES, min_size=1, max_size=3).map(".".join), max_size=3, unique=True))
    parts: list[str] = []
    many = False
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["literal"] if many else ["literal", "*", "**", "variable"]))
        if kind == "variable" and names:
            inner = draw(st.none() | st.lists(st.just("*") | _LITERALS, min_size=1, max_size=3).map("/".join))
            if draw(st.booleans()) and inner is not None:
                inner, many = inner + "/**", True
            parts.append("{" + names.pop() + ("" if inner is None else f"={inner}") + "}")
        elif kind in ("*", "**"):
            many = many or kind == "**"
            parts.append(kind)
        else:
            parts.append(draw(_LITERALS))
    verb = draw(st.none() | _LITERALS)
    return "/" + "/".join(parts) + ("" if verb is None else f":{verb}")


@given(templates())
@settings(deadline=None)
@example("/")
def test_template_is_printed_as_what_it_was_parsed_from(text: str) -> None:
    template = parse_template(text)
    printed = print_template(template)
    again = parse_template(printed)
    assert (again.segments, again.verb) == (template.segments, template.verb)
    assert [(each.path, each.start, each.end, each.multi) for each in again.variables] == [
        (each.path, each.start, each.end, each.multi) for each in template.variables
    ]
    assert print_template(again) == printed
    _check_spans(text)


def _check_spans(text: str) -> None:
    template = parse_template(text)
    many = [segment for segment in template.segments if segment is Wildcard.MANY]
    assert len(many) <= 1
    for variable in template.variables:
        assert 0 <= variable.start < variable.end <= len(template.segments)
        assert text[variable.column - 1 :].startswith(variable.name)


@given(st.text(max_size=20) | st.text("/{}*=:.ab%2", max_size=14) | templates().map(lambda text: text[:-1] + "}"))
@settings(max_examples=1000, deadline=None)
@example("/{a=**")
@example("/a/{x=")
@example("/%")
@example("/a:")
def test_text_is_parsed_or_refused_by_column(text: str) -> None:
    try:
        template = parse_template(text)
    except TemplateError as error:
        column, said = error.column, str(error)
    else:
        assert parse_template(print_template(template)).segments == template.segments
        return
    assert 1 <= column <= len(text) + 1
    assert re.match(rf"column {column}: \S", said)
