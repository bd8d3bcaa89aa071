"""The tree of routes: which one a method and a path lead to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from orchestration.gateway.template import Template, Wildcard

T = TypeVar("T")

ANY_METHOD = "*"
"""The method of a route that answers every method."""


class _Node(Generic[T]):
    """What may follow a prefix of the path."""

    __slots__ = ("ends", "literals", "many", "one")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.one: _Node[T] | None = None
        self.many: _Node[T] | None = None
        self.ends: dict[str, dict[str, T]] = {}
        """Routes that end here: by verb, then by HTTP method."""


class RouteTree(Generic[T]):
    """Routes by shape. A literal goes before ``*``, and ``*`` before ``**``, at every segment, with backtracking."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._exact: dict[str, dict[str, T]] = {}
        self._verbs: set[str] = set()

    def add(self, method: str, template: Template, route: T) -> T | None:
        """Add a route. Gives the one that already has this method and shape, which then stays."""
        node = self._root
        for segment in template.segments:
            node = _child(node, segment)
        there = node.ends.setdefault(template.verb, {}).setdefault(method, route)
        if there is not route:
            return there
        if template.verb:
            self._verbs.add(template.verb)
        literals = [each for each in template.segments if isinstance(each, str)]
        if len(literals) == len(template.segments) and "%" not in template.text:
            self._exact.setdefault(template.text, {})[method] = route
        return None

    def find_exact(self, method: str, path: str) -> T | None:
        """The route of a path of literals alone, spelt as in its template."""
        methods = self._exact.get(path)
        return None if methods is None else methods.get(method)

    def has_exact(self, path: str) -> bool:
        """Whether a route of any method has this path of literals alone."""
        return path in self._exact

    def find(self, method: str, segments: Sequence[str], verb: str | None) -> tuple[T, bool] | None:
        """The route, and whether the verb was taken as such.

        Args:
            method: The HTTP method; a HEAD is answered where a GET is.
            segments: The path's segments, percent-decoded, the last with its verb.
            verb: What follows the last colon of the last segment as it was sent, or None.
        """
        if verb is not None and verb in self._verbs:
            route = _find(self._root, _without(segments, verb), 0, verb, method)
            if route is not None:
                return route, True
        route = _find(self._root, segments, 0, "", method)
        return None if route is None else (route, False)

    def methods(self, segments: Sequence[str], verb: str | None) -> set[str]:
        """The HTTP methods that this path has a route for."""
        found: set[str] = set()
        if verb is not None and verb in self._verbs:
            _collect(self._root, _without(segments, verb), 0, verb, found)
        if not found:
            _collect(self._root, segments, 0, "", found)
        return found


def _without(segments: Sequence[str], verb: str) -> Sequence[str]:
    return [*segments[:-1], segments[-1][: -len(verb) - 1]]


def _child(node: _Node[T], segment: str | Wildcard) -> _Node[T]:
    if isinstance(segment, str):
        return node.literals.setdefault(segment, _Node())
    if segment is Wildcard.ONE:
        node.one = node.one or _Node()
        return node.one
    node.many = node.many or _Node()
    return node.many


def _find(node: _Node[T], segments: Sequence[str], at: int, verb: str, method: str) -> T | None:
    if at == len(segments):
        return _route_at(node, verb, method)
    segment = segments[at]
    below = node.literals.get(segment)
    if below is not None:
        found = _find(below, segments, at + 1, verb, method)
        if found is not None:
            return found
    if node.one is not None and segment:
        found = _find(node.one, segments, at + 1, verb, method)
        if found is not None:
            return found
    return _find_many(node, segments, at, verb, method)


def _find_many(node: _Node[T], segments: Sequence[str], at: int, verb: str, method: str) -> T | None:
    many = node.many
    if many is None:
        return None
    if many.literals:
        for taken in range(at, len(segments)):
            below = many.literals.get(segments[taken])
            if below is not None:
                found = _find(below, segments, taken + 1, verb, method)
                if found is not None:
                    return found
            if not segments[taken]:
                break  # ``**`` takes no empty segment
    return _pick(many, verb, method) if _spans(segments, at) else None


def _route_at(node: _Node[T], verb: str, method: str) -> T | None:
    found = _pick(node, verb, method)
    if found is None and node.many is not None:
        return _pick(node.many, verb, method)
    return found


def _pick(node: _Node[T], verb: str, method: str) -> T | None:
    methods = node.ends.get(verb)
    if methods is None:
        return None
    found = methods.get(method)
    if found is None and method == "HEAD":
        found = methods.get("GET")
    return methods.get(ANY_METHOD) if found is None else found


def _spans(segments: Sequence[str], at: int) -> bool:
    """Whether ``**`` may take the rest: no empty segment, or a lone one, which is zero segments after a slash."""
    return all(segments[at:]) or (len(segments) - at == 1 and not segments[at])


def _collect(node: _Node[T], segments: Sequence[str], at: int, verb: str, found: set[str]) -> None:
    if at == len(segments):
        found.update(node.ends.get(verb, ()))
        if node.many is not None:
            found.update(node.many.ends.get(verb, ()))
        return
    segment = segments[at]
    if segment in node.literals:
        _collect(node.literals[segment], segments, at + 1, verb, found)
    if node.one is not None and segment:
        _collect(node.one, segments, at + 1, verb, found)
    if node.many is None:
        return
    for taken in range(at, len(segments)):
        below = node.many.literals.get(segments[taken])
        if below is not None:
            _collect(below, segments, taken + 1, verb, found)
        if not segments[taken]:
            break
    if _spans(segments, at):
        found.update(node.many.ends.get(verb, ()))
