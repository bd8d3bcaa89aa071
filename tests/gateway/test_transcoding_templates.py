"""Section A: path templates are parsed when the gateway starts, and a bad one says where it is bad."""

from __future__ import annotations

import pytest

from orchestration.gateway.template import Template, TemplateError, Wildcard, parse_template

ONE, MANY = Wildcard.ONE, Wildcard.MANY


@pytest.mark.parametrize(
    ("text", "segments", "variables", "verb"),
    [
        pytest.param("/", (), [], "", id="T001-root"),
        pytest.param("/a", ("a",), [], "", id="T001-literal"),
        pytest.param("/*", (ONE,), [], "", id="T001-one"),
        pytest.param("/**", (MANY,), [], "", id="T001-many"),
        pytest.param("/a/{x}", ("a", ONE), [("x", 1, 2, False)], "", id="T001-variable"),
        pytest.param("/{x.y.z=a/*}", ("a", ONE), [("x.y.z", 0, 2, True)], "", id="T001-nested-field"),
        pytest.param("/{x=a/**}:verb", ("a", MANY), [("x", 0, 2, True)], "verb", id="T001-verb"),
        pytest.param("/a/{x=b}/c", ("a", "b", "c"), [("x", 1, 2, False)], "", id="T001-literal-variable"),
        pytest.param("/a/{x=**}/b", ("a", MANY, "b"), [("x", 1, 2, True)], "", id="T008-literal-after"),
        pytest.param("/a/**/b:v", ("a", MANY, "b"), [], "v", id="T008-verb-after"),
        pytest.param("/a%2Fb/%7Ec", ("a/b", "~c"), [], "", id="T016-decoded"),
    ],
)
def test_template_is_parsed(
    text: str, segments: tuple[object, ...], variables: list[tuple[str, int, int, bool]], verb: str
) -> None:
    template: Template = parse_template(text)
    assert template.segments == segments
    assert [(each.name, each.start, each.end, each.multi) for each in template.variables] == variables
    assert template.verb == verb


@pytest.mark.parametrize(
    ("text", "column"),
    [
        pytest.param("", 1, id="T002-empty"),
        pytest.param("//", 2, id="T002-slashes"),
        pytest.param("/a/", 4, id="T002-trailing"),
        pytest.param("/a//b", 4, id="T002-inner"),
        pytest.param("a/b", 1, id="T002-relative"),
        pytest.param("{x}", 1, id="T002-variable"),
        pytest.param("/a:", 4, id="T002-empty-verb"),
        pytest.param("/a:b/c", 5, id="T002-verb-in-the-middle"),
        pytest.param("/a b", 3, id="T002-space"),
        pytest.param("/a%2", 3, id="T002-cut-escape"),
        pytest.param("/{x", 4, id="T002-open"),
        pytest.param("/{}", 3, id="T002-nameless"),
        pytest.param("/{x.}", 5, id="T002-half-name"),
        pytest.param("/{x=}", 5, id="T002-nothing-to-match"),
        pytest.param("/{x}/{x}", 7, id="T002-twice"),
        pytest.param("/a{x}", 3, id="T004-suffix"),
        pytest.param("/{x}a", 5, id="T004-prefix"),
        pytest.param("/a/b{x}c", 5, id="T004-both"),
        pytest.param("/{var=a/{nested=b}}", 9, id="T005"),
        pytest.param("/a/**/*", 7, id="T007-one"),
        pytest.param("/a/**/**", 7, id="T007-many"),
        pytest.param("/a/{x=b/**}/{y=*}", 16, id="T007-variable"),
        pytest.param("/a/**/{y}", 7, id="T007-bare-variable"),
    ],
)
def test_bad_template_names_the_column(text: str, column: int) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template(text)
    assert caught.value.column == column, caught.value
