"""Bounds on JSON Schemas, so that checking a payload takes time that grows with the payload, and not faster.

A schema is a graph: some edges apply another schema to the same value (`allOf`, `$ref`, ...), others to a part of it
(`properties`, `items`, ...). What multiplies the work for one value are the ways through edges of the first sort, so
they are counted and limited. A schema that comes back to itself through a part may multiply the work at each level:
there a meter counts the steps.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from midstream_server.domain.errors import Refused
from midstream_server.domain.schemas.errors import schema_invalid

MAX_DEPTH: Final = 64
MAX_SCHEMAS: Final = 10_000
MAX_WAYS: Final = 1_000
MAX_PATTERNS: Final = 100
METER: Final = "x-midstream-meter"

_SAME_ONE = ("not", "if", "then", "else")
_SAME_LIST = ("allOf", "anyOf", "oneOf")
_SAME_MAP = ("dependentSchemas",)
_PART_ONE = ("items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties")
_PART_LIST = ("prefixItems",)
_PART_MAP = ("properties", "patternProperties")
_DEFINITIONS = ("$defs", "definitions")
_REFUSED = ("$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary")


Refuse = Callable[[str], Refused]


class Bounds(NamedTuple):
    """`cyclic`: where, as pointers, a `$ref` leads back to what holds it."""

    cyclic: frozenset[str]


class _Node(NamedTuple):
    schema: dict[str, Any]
    same: list[str]
    parts: list[str]


def check_bounds(schema: Any, stream_id: str) -> Bounds:
    """Raises Refused: SCHEMA_INVALID."""

    def refuse(problem: str) -> Refused:
        return schema_invalid(problem, stream_id=stream_id)

    if _depth(schema) > MAX_DEPTH:
        raise refuse(f"the JSON Schema is nested deeper than {MAX_DEPTH} levels")
    nodes = _graph(schema, refuse)
    patterns = sum("pattern" in node.schema for node in nodes.values())
    patterns += sum(1 for node in nodes.values() for _ in _inner(node.schema, "", ("patternProperties",), dict))
    if patterns > MAX_PATTERNS:
        raise refuse(f"the JSON Schema has {patterns} patterns, at most {MAX_PATTERNS} are allowed")
    _check_ways(nodes, refuse)
    return Bounds(frozenset(_cyclic_references(nodes)))


def metered(schema: Any, bounds: Bounds) -> Any:
    """The schema with a meter before each reference that is cyclic: without steps left, it fits nothing."""
    if not bounds.cyclic:
        return schema
    return _metered(schema, "", bounds.cyclic)


def _metered(value: Any, pointer: str, cyclic: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_metered(each, f"{pointer}/{index}", cyclic) for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    changed = {name: _metered(each, f"{pointer}/{_quote(name)}", cyclic) for name, each in value.items()}
    if pointer in cyclic:
        # At the end of `allOf`, so that pointers to what is there already stay right.
        reference = {"if": {METER: True}, "then": {"$ref": changed.pop("$ref")}, "else": False}
        changed["allOf"] = [*changed.get("allOf", []), reference]
    return changed


def _depth(value: Any) -> int:
    deepest = 0
    waiting = [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        if isinstance(each, dict | list):
            deepest = max(deepest, depth)
            waiting += [(inner, depth + 1) for inner in (each.values() if isinstance(each, dict) else each)]
    return deepest


def _graph(root: Any, refuse: Refuse) -> dict[str, _Node]:
    anchors = dict(_anchors(root))
    nodes: dict[str, _Node] = {}
    waiting = [""]
    while waiting:
        pointer = waiting.pop()
        if pointer in nodes:
            continue
        schema = _at(root, pointer)
        if not isinstance(schema, dict):
            continue
        if len(nodes) >= MAX_SCHEMAS:
            raise refuse(f"the JSON Schema has more than {MAX_SCHEMAS:,} schemas within it")
        for word in _REFUSED:
            if word in schema:
                raise refuse(f"{word} is not supported; use $ref with a pointer into the schema")
        if pointer and "$id" in schema:
            raise refuse(f"{pointer} has an $id of its own, which is not supported; refer to it by a pointer")
        same = [
            *(f"{pointer}/{word}" for word in _SAME_ONE if word in schema),
            *_inner(schema, pointer, _SAME_LIST, list),
            *_inner(schema, pointer, _SAME_MAP, dict),
        ]
        if "$ref" in schema:
            same.append(_target(schema["$ref"], root, anchors, refuse))
        parts = [
            *(f"{pointer}/{word}" for word in _PART_ONE if word in schema),
            *_inner(schema, pointer, _PART_LIST, list),
            *_inner(schema, pointer, _PART_MAP, dict),
        ]
        nodes[pointer] = _Node(schema, same, parts)
        waiting += [*same, *parts, *_inner(schema, pointer, _DEFINITIONS, dict)]
    return nodes


def _inner(schema: dict[str, Any], pointer: str, words: tuple[str, ...], kind: type) -> Iterator[str]:
    for word in words:
        held: Any = schema.get(word)
        fits = isinstance(held, kind)
        if fits:
            names = range(len(held)) if kind is list else held
            yield from (f"{pointer}/{word}/{_quote(str(name))}" for name in names)


def _target(reference: Any, root: Any, anchors: dict[str, str], refuse: Refuse) -> str:
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise refuse(f"$ref {reference!r} leads out of the schema; only references that begin with # are followed")
    fragment = unquote(reference[1:])
    pointer = anchors.get(fragment, fragment) if fragment and not fragment.startswith("/") else fragment
    if (pointer and not pointer.startswith("/")) or _at(root, pointer) is None:
        raise refuse(f"$ref {reference!r} leads to nothing")
    return pointer


def _anchors(root: Any) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        pointer, value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("$anchor"), str):
                yield value["$anchor"], pointer
            waiting += [(f"{pointer}/{_quote(name)}", each) for name, each in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{pointer}/{index}", each) for index, each in enumerate(value)]


def _at(root: Any, pointer: str) -> Any:
    """What a pointer leads to; None where it leads to nothing, or to what is no schema."""
    value = root
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value if isinstance(value, dict | bool) else None


def _quote(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _check_ways(nodes: dict[str, _Node], refuse: Refuse) -> None:
    """In how many ways a schema applies others to the same value. Iterative: chains may be long."""
    ways: dict[str, int] = {}
    for start in nodes:
        path = {start: iter(nodes[start].same)}
        while path:
            pointer, following = next(reversed(path.items()))
            wanted = next((each for each in following if each in nodes and each not in ways), None)
            if wanted is None:
                ways[pointer] = 1 + sum(ways.get(each, 1) for each in nodes[pointer].same)
                if ways[pointer] > MAX_WAYS:
                    raise refuse(f"{pointer or 'the schema'} applies more than {MAX_WAYS:,} schemas to the same value")
                path.popitem()
            elif wanted in path:
                raise refuse(f"{wanted or 'the schema'} refers to itself for the same value")
            else:
                path[wanted] = iter(nodes[wanted].same)


def _cyclic_references(nodes: dict[str, _Node]) -> Iterator[str]:
    """Where there is a way from a reference's target back to the reference."""
    component = _components(nodes)
    for pointer, node in nodes.items():
        if "$ref" in node.schema and component[node.same[-1]] == component[pointer] and node.same[-1] in nodes:
            yield pointer


def _components(nodes: dict[str, _Node]) -> dict[str, int]:
    """The number of each schema's strongly connected component (Kosaraju)."""
    edges = {pointer: [each for each in (*node.same, *node.parts) if each in nodes] for pointer, node in nodes.items()}
    back: dict[str, list[str]] = {pointer: [] for pointer in nodes}
    for pointer, targets in edges.items():
        for target in targets:
            back[target].append(pointer)
    order: list[str] = []
    seen: set[str] = set()
    for start in edges:
        path = [] if start in seen else [(start, iter(edges[start]))]
        seen.add(start)
        while path:
            pointer, following = path[-1]
            wanted = next((each for each in following if each not in seen), None)
            if wanted is None:
                order.append(pointer)
                path.pop()
            else:
                seen.add(wanted)
                path.append((wanted, iter(edges[wanted])))
    component: dict[str, int] = {}
    for start in reversed(order):
        waiting = [start]
        while waiting:
            pointer = waiting.pop()
            if pointer not in component:
                component[pointer] = len(component) if pointer == start else component[start]
                waiting += back[pointer]
    return component
