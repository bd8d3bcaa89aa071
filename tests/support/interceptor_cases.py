"""Interceptors that do all that interceptors may do, for comparing the ways in which handlers can be served."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support import interceptors_around, interceptors_asked, interceptors_forms
from tests.support.interceptor_tools import Make

CASES: Mapping[str, Make] = {**interceptors_asked.CASES, **interceptors_around.CASES, **interceptors_forms.CASES}
"""Name -> what makes the interceptors, outermost first, given what they tell their notes to."""
