"""The page on engines says what the table says."""

from pathlib import Path

from orchestration.service.engines.documentation import render
from orchestration.service.engines.table import ENGINES

PAGE = Path(__file__).parents[3] / "docs" / "engines.md"


def test_the_page_is_what_the_table_makes() -> None:
    again = "python -m orchestration.service.engines.documentation > docs/engines.md"
    assert PAGE.read_text() == render(), f"make it again: {again}"


def test_every_engine_and_key_is_on_it() -> None:
    page = render()
    for engine in ENGINES:
        section = page.split(f"## {engine.name}\n")[1].split("\n## ")[0]
        assert all(f"| `{key.name}` |" in section for key in engine.keys)


def test_no_row_has_a_key_twice() -> None:
    for engine in ENGINES:
        names = [key.name for key in engine.keys]
        assert len(set(names)) == len(names)
        assert all(key.flag or key.variable or engine.name in {"triton", "custom"} for key in engine.keys)
