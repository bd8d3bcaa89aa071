"""Every case of requests, templates, values, bodies, errors and headers has a test that names it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

CASES: Final = {
    "A templates": "001 002 004 005 007 008 010 011 013 014 016",
    "B matching": "017 019 020 022 023 025 026 028 029 031 032 034 035 037 038 040",
    "C decoding": "041 043 044 046 047 049 050",
    "D query": "052 053 055 056 058 059 061 062 064 065 067 068 070 071 073 074",
    "E values": "076 077 079 080 082 083 085 086 088 089 091 092 094 095 097 098 100 101 103 104",
    "F bodies": "106 107 109 110 112 113 115 116 118 119 121 122 124 125 127 128 130 131 133 134",
    "G limits": "136 137 139 140 142",
    "H methods": "143 145 146 148 149",
    "I errors": "151 152 154 155 157 158 160 161 163 164 166 167 169",
    "J headers": "170 172 173 175 176 178 179 181 182 184 185 187",
    "K responses": "188 190 191 193 194",
}


def test_every_case_has_a_test() -> None:
    here = Path(__file__)
    texts = [path.read_text() for path in here.parents[1].rglob("test_*.py") if path != here]
    named = {found for text in texts for found in re.findall(r"\bT(\d{3})\b", text)}
    missing = {section: sorted(set(ids.split()) - named) for section, ids in CASES.items()}
    assert not {section: ids for section, ids in missing.items() if ids}
