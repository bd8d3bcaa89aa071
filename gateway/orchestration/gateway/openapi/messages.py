"""JSON Schema of messages: components of the document."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor

from orchestration.gateway.openapi.config import JsonObject, OpenApiConfig
from orchestration.gateway.openapi.names import ComponentNames
from orchestration.gateway.openapi.options import Options
from orchestration.gateway.openapi.rules import refuses_zero, sentences
from orchestration.gateway.openapi.values import (
    Place,
    enum_schema,
    is_well_known,
    json_components,
    message_schema,
    value_schema,
)
from orchestration.gateway.schema import is_map

_REF: Final = "#/components/schemas/"
_IGNORE_ALWAYS: Final = "IGNORE_ALWAYS"
_IGNORE_ZERO: Final = "IGNORE_IF_ZERO_VALUE"


class Schemas:
    """Makes the schemas of messages, each once for requests and once for answers.

    Args:
        names: Names of the components.
        options: Rules and behaviours of fields.
        comments: By full names.
        config: What a service says of its fields beside its rules.
        answered: Full names of the messages and enums that answers hold.
        open_objects: Whether requests may hold fields that no message has.
        etags: Whether ``etag`` fields stand in headers, too.
    """

    def __init__(
        self,
        names: ComponentNames,
        options: Options,
        comments: Mapping[str, str],
        config: OpenApiConfig,
        answered: Collection[str],
        *,
        open_objects: bool,
        etags: bool,
    ) -> None:
        self._etags = etags
        self._echoed: set[str] = set()
        self.components: dict[str, JsonObject] = {}
        self._names = names
        self._options = options
        self._comments = comments
        self._config = config
        self._answered = answered
        self._open = open_objects

    def message(self, message: Descriptor, place: Place) -> JsonObject:
        """A reference to the schema of a message, which becomes a component."""
        known = message_schema(message, place)
        return known if known is not None else self._component(message, place, lambda: self.inline(message, place))

    def _component(self, described: Descriptor | EnumDescriptor, place: Place, make: Any) -> JsonObject:
        shared = place is Place.ANSWER or described.full_name not in self._answered
        name = self._names.of(described.full_name) if shared else self._names.of_request(described.full_name)
        if name not in self.components:
            self.components[name] = {}  # messages may hold themselves
            self.components[name] = make()
        return {"$ref": _REF + name}

    def add(self, name: str, schema: JsonObject) -> JsonObject:
        """A reference to a component of any kind; the same schema under the same name is the same component."""
        number, free = 1, self._names.free(name)
        while self.components.setdefault(free, schema) != schema:
            number += 1
            free = self._names.free(f"{name}{number}")
        return {"$ref": _REF + free}

    def inline(self, message: Descriptor, place: Place, without: Collection[str] = ()) -> JsonObject:
        """The schema of a message itself, without some of its fields."""
        fields = [field for field in message.fields if field.name not in without]
        if place is not Place.ANSWER:
            fields = [field for field in fields if "OUTPUT_ONLY" not in self._options.behaviours(field)]
        else:
            fields = [field for field in fields if "INPUT_ONLY" not in self._options.behaviours(field)]
        schema: JsonObject = {"type": "object", **self._text(message, self._options.message_rules(message), place)}
        required = [field.name for field in fields if self.is_required(field, place)]
        if required:
            schema["required"] = required
        schema["properties"] = {field.name: self.field(field, place) for field in fields}
        if place is not Place.ANSWER and not self._open:
            schema["additionalProperties"] = False
        choices = [self._choice(oneof, place, without) for oneof in message.oneofs if _is_choice(oneof)]
        choices = [choice for choice in choices if choice]
        if len(choices) == 1:
            schema |= choices[0]
        elif choices:
            schema["allOf"] = choices
        return schema

    def _choice(self, oneof: OneofDescriptor, place: Place, without: Collection[str]) -> JsonObject:
        """At most one of the members, or exactly one where a rule wants it."""
        members = [field.name for field in oneof.fields if field.name not in without]
        if not members:
            return {}
        each: list[JsonObject] = [{"required": [name]} for name in members]
        if len(members) != len(oneof.fields):
            return {"not": {"anyOf": each}}  # the path has chosen already
        if place is not Place.ANSWER and self._options.oneof_required(oneof):
            return {"oneOf": each}
        return {"oneOf": [{"not": {"anyOf": each}}, *each]}

    def field(self, field: FieldDescriptor, place: Place) -> JsonObject:
        """The schema of a field, with all that is said of it."""
        rules = self._rules(field)
        schema = self._bare(field, place, rules)
        if rules is not None and place is not Place.ANSWER and self._ignored(rules) == _IGNORE_ZERO:
            schema = {"anyOf": [schema, _zero(field)]} if refuses_zero(field, rules) else schema
        if place is not Place.ANSWER:
            schema |= self._config.refinements.get(field.full_name, {})
        if place is Place.BODY and not self.is_required(field, place) and not _is_member(field):
            schema = _or_null(schema)
        schema = {**schema, **self._text(field, rules, place)}
        behaviours = self._options.behaviours(field)
        if place is Place.ANSWER and "OUTPUT_ONLY" in behaviours:
            schema["readOnly"] = True
        if place is Place.BODY and "INPUT_ONLY" in behaviours:
            schema["writeOnly"] = True
        if "IMMUTABLE" in behaviours:
            schema["x-immutable"] = True
        if field.GetOptions().deprecated:
            schema["deprecated"] = True
        return schema

    def value(self, field: FieldDescriptor, place: Place, rules: Any = None) -> JsonObject:
        """One value of a field: of a repeated one an element."""
        if field.enum_type is not None and (rules is None or place is Place.ANSWER) and place is not Place.URL:
            enum = field.enum_type
            return self._component(enum, place, lambda: self._enum(enum, place))
        if field.message_type is None or is_well_known(field):
            schema = value_schema(field, place, rules)
            return schema if place is Place.ANSWER or not self._config.text_pattern else self._checked(schema)
        return self.message(field.message_type, place)

    def segment(self, pattern: str) -> JsonObject:
        """A part of a path that is no field's whole value."""
        patterns = [each for each in (pattern, self._config.text_pattern) if each]
        if len(patterns) == 1:
            return {"type": "string", "pattern": patterns[0]}
        return {"type": "string", **({"allOf": [{"pattern": each} for each in patterns]} if patterns else {})}

    def _checked(self, schema: JsonObject) -> JsonObject:
        """The schema of a value whose strings must match the pattern for all of them."""
        pattern = self._config.text_pattern
        if schema.get("type") == "string" and not schema.keys() & {"pattern", "enum", "format", "const"}:
            return {**schema, "pattern": pattern}
        kinds = {"object": "JsonObject", "array": "JsonArray", None: "JsonValue"}
        if schema.keys() & {"anyOf", "enum", "required"} or schema.get("additionalProperties") is False:
            return schema
        if schema.get("type") not in kinds:
            return schema
        for name, component in json_components(pattern).items():
            self.components.setdefault(name, component)
        return {"$ref": _REF + kinds[schema.get("type")]}

    def is_required(self, field: FieldDescriptor, place: Place) -> bool:
        """Whether a message of this place always holds the field: answers hold all that has no presence."""
        if place is Place.ANSWER:
            return not field.has_presence
        rules = self._rules(field)
        if "REQUIRED" in self._options.behaviours(field) or (rules is not None and rules.required):
            return True
        if rules is None or field.has_presence or self._ignored(rules) == _IGNORE_ZERO:
            return False
        return refuses_zero(field, rules)

    def _rules(self, field: FieldDescriptor) -> Any:
        rules = self._options.rules(field)
        return None if rules is None or self._ignored(rules) == _IGNORE_ALWAYS else rules

    def _ignored(self, rules: Any) -> str:
        name: str = rules.DESCRIPTOR.fields_by_name["ignore"].enum_type.values_by_number[rules.ignore].name
        return name

    def _bare(self, field: FieldDescriptor, place: Place, rules: Any) -> JsonObject:
        if is_map(field):
            return self._map(field, place, rules)
        if not field.is_repeated:
            return self.value(field, place, rules)
        inner = _part(rules, "repeated", place)
        items = inner.items if inner is not None and inner.HasField("items") else None
        schema: JsonObject = {"type": "array", "items": self.value(field, place, items)}
        if inner is not None:
            schema |= _counts(inner.min_items, inner.max_items if inner.HasField("max_items") else None, "Items")
            if inner.unique:
                schema["uniqueItems"] = True
        return schema

    def _map(self, field: FieldDescriptor, place: Place, rules: Any) -> JsonObject:
        assert field.message_type is not None
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        inner = _part(rules, "map", place)
        values = inner.values if inner is not None and inner.HasField("values") else None
        schema: JsonObject = {"type": "object", "additionalProperties": self.value(value, place, values)}
        if inner is not None and inner.HasField("keys") and key.type == FieldDescriptor.TYPE_STRING:
            schema["propertyNames"] = self.value(key, place, inner.keys)
        elif key.type == FieldDescriptor.TYPE_STRING and place is not Place.ANSWER and self._config.text_pattern:
            schema["propertyNames"] = {"pattern": self._config.text_pattern}
        elif key.type == FieldDescriptor.TYPE_BOOL:
            schema["propertyNames"] = {"enum": ["true", "false"]}
        elif key.type != FieldDescriptor.TYPE_STRING:
            schema["propertyNames"] = {"pattern": "^-?(?:0|[1-9][0-9]{0,19})$"}
        if inner is not None:
            schema |= _counts(inner.min_pairs, inner.max_pairs if inner.HasField("max_pairs") else None, "Properties")
        return schema

    def _text(self, described: Descriptor | FieldDescriptor, rules: Any, place: Place) -> JsonObject:
        parts = [self._comments.get(described.full_name, "")]
        if described.name == self._config.idempotency_field and place is not Place.ANSWER:
            parts.append("The header `Idempotency-Key` may give it instead.")
        if described.name == "etag" and self._etags and place is not Place.ANSWER:
            parts.append("The header `If-Match` may give it instead, in quotes.")
        if rules is not None and place is not Place.ANSWER:
            parts += [f"Rule: {said}." if not said.endswith(".") else f"Rule: {said}" for said in sentences(rules)]
        text = "\n\n".join(part for part in parts if part)
        return {"description": text} if text else {}

    def _enum(self, enum: EnumDescriptor, place: Place) -> JsonObject:
        return {**enum_schema(enum, place, echoed=enum.full_name in self._echoed), **self._enum_text(enum)}

    def takes_any_number(self, field: FieldDescriptor) -> bool:
        """Whether a field of an open enum takes numbers that no name has."""
        rules = self._rules(field)
        part = rules.repeated.items if rules is not None and rules.HasField("repeated") else rules
        ruled = part is not None and part.HasField("enum") and bool(part.enum.ListFields())
        return field.enum_type is not None and not field.enum_type.is_closed and not ruled

    def echo(self, fields: Iterable[FieldDescriptor]) -> None:
        """Note fields of requests: what numbers they take for enums answers may hold."""
        self._echoed |= {each.enum_type.full_name for each in fields if each.enum_type and self.takes_any_number(each)}

    def _enum_text(self, enum: EnumDescriptor) -> JsonObject:
        lines = [self._comments.get(enum.full_name, "")]
        values = [(value.name, self._comments.get(f"{enum.full_name}.{value.name}", "")) for value in enum.values]
        if any(text for _, text in values):
            lines.append("\n".join(f"- `{name}`: {' '.join(text.split())}" for name, text in values if text))
        text = "\n\n".join(line for line in lines if line)
        return {"description": text} if text else {}


def _part(rules: Any, kind: str, place: Place) -> Any:
    """The rules of a repeated field or a map; None where there are none that hold."""
    held = rules is not None and place is not Place.ANSWER and rules.HasField(kind)
    return getattr(rules, kind) if held else None


def _zero(field: FieldDescriptor) -> JsonObject:
    """The value that a rule may ignore."""
    if is_map(field):
        return {"type": "object", "maxProperties": 0}
    if field.is_repeated:
        return {"type": "array", "maxItems": 0}
    return {"const": "" if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES) else 0}


def _counts(low: int, high: int | None, of: str) -> JsonObject:
    found: JsonObject = {f"min{of}": low} if low else {}
    return found if high is None else {**found, f"max{of}": high}


def _is_choice(oneof: OneofDescriptor) -> bool:
    """A proto3 optional field stands in a oneof of its own, which chooses nothing."""
    return len(oneof.fields) > 1 or not oneof.name.startswith("_")


def _is_member(field: FieldDescriptor) -> bool:
    return field.containing_oneof is not None and _is_choice(field.containing_oneof)


def _or_null(schema: JsonObject) -> JsonObject:
    """The same, or null, which ProtoJSON takes for a field that is left out."""
    if not schema:
        return schema
    if "anyOf" in schema and len(schema) == 1:
        return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    if not isinstance(schema.get("type"), str) or "const" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **enum}
