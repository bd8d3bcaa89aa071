"""The reference pages say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.service.cli import reference
from orchestration.service.settings import SECTIONS, Settings

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("name", "page"), [("configuration.md", reference.configuration_page), ("cli.md", reference.cli_page)]
)
def test_a_page_is_up_to_date(name: str, page: object) -> None:
    assert callable(page)
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == page(), "run: python -m orchestration.service.cli.reference"


def test_every_knob_stands_in_a_section_with_a_description() -> None:
    documented = {name: field for section in SECTIONS for name, field in section.model_fields.items()}
    assert documented.keys() == Settings.model_fields.keys()
    assert all(field.description and field.description.endswith(".") for field in documented.values())
    assert not any(field.is_required() for field in documented.values())
