"""Whether an answer has the shape of what was asked for: a success that is something else tells nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeGuard, TypeVar, cast

from orchestration.service.providers.base import ProviderError, ProviderUnavailableError
from orchestration.service.providers.http_client import Answer
from orchestration.service.providers.kubernetes.names import Json, is_json

_T = TypeVar("_T")


def object_in(answer: Answer, name: str = "") -> Json:
    """The object in an answer; with a name, the one that is called so. Raises `ProviderUnavailableError` BAD_ANSWER."""
    found = _json(answer)
    if not _is_object(found):
        raise _other("an object", answer)
    if name and found["metadata"]["name"] != name:
        raise _other(f"the object {name!r}", answer)
    return found


def page_in(answer: Answer) -> tuple[list[Json], str, str]:
    """A list's items, where its next page begins (empty: it has none) and its version; raises as `object_in`."""
    page = _json_by_turns(answer)
    metadata = page.get("metadata") if is_json(page) else None
    if not is_json(page) or not is_json(metadata) or not str(page.get("kind", "List")).endswith("List"):
        raise _other("a list", answer)
    items: object = page.get("items", "")
    if items is None:  # an empty list, as Go may write it
        items = list[Json]()
    if not _is_objects(items):
        raise _other("a list of objects", answer)
    following: object = metadata.get("continue") or ""
    version: object = metadata.get("resourceVersion") or ""
    if not isinstance(following, str) or not isinstance(version, str):
        raise _other("a list with a version", answer)
    return items, following, version


def projected_page_in(answer: Answer, to: Callable[[Json], _T]) -> tuple[list[_T], str, str]:
    """The same, of each item what ``to`` makes of it. It holds up no other thread, however large the page is."""
    items, following, version = page_in(answer)
    return [to(item) for item in items], following, version


def api_groups_in(answer: Answer) -> frozenset[str]:
    """Groups and versions, such as ``apps/v1``, of the answer that tells all there are; raises as `object_in`."""
    found = _json(answer)
    items: object = found.get("groups") if is_json(found) and found.get("kind") == "APIGroupList" else None
    if not isinstance(items, list):
        raise _other("the groups of its API", answer)
    groups = [item for item in cast("list[object]", items) if is_json(item)]
    versions = [item for group in groups for item in cast("list[object]", group.get("versions") or [])]
    return frozenset(str(item.get("groupVersion")) for item in versions if is_json(item))


def bad_answer(text: str) -> ProviderUnavailableError:
    """What cannot be used: nothing is known, and it is asked for again."""
    return ProviderUnavailableError(text, reason="BAD_ANSWER")


def _json(answer: Answer) -> object:
    try:
        found: object = answer.json()
    except ProviderError as error:
        raise bad_answer(f"kubernetes: {error.message}") from error
    return found


def _json_by_turns(answer: Answer) -> object:
    """The same of what may be large: read in one go it would keep every other thread waiting."""
    try:
        found: object = json.loads(answer.body, object_hook=_as_it_is)
    except (ValueError, RecursionError):
        return _json(answer)  # which says what is wrong
    return found


def _as_it_is(item: Json) -> Json:
    """Python of no effect, in which the interpreter lets other threads have their turn."""
    return item


def _is_object(item: object) -> TypeGuard[Json]:
    metadata = item.get("metadata") if is_json(item) else None
    return is_json(metadata) and isinstance(metadata.get("name"), str)


def _is_objects(items: object) -> TypeGuard[list[Json]]:
    return isinstance(items, list) and all(_is_object(item) for item in cast("list[object]", items))


def _other(wanted: str, answer: Answer) -> ProviderUnavailableError:
    return bad_answer(f"kubernetes answered something else than {wanted}: {answer.text[:200]!r}")
