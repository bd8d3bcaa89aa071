"""Custom options of descriptors, read by the descriptors' own pool.

The extensions (buf.validate, google.api.field_behavior) need no generated code in this process, and may be of any
version: they are those that the services were compiled with.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.descriptor_pool import DescriptorPool


class Options:
    """Reads the options of the descriptors of one pool."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool
        self._classes: dict[str, Any] = {}
        self._extensions: dict[str, Any] = {}

    def rules(self, field: FieldDescriptor) -> Any:
        """The field's buf.validate.FieldRules, or None."""
        return self._read(field, "FieldOptions", "buf.validate.field")

    def message_rules(self, message: Descriptor) -> Any:
        """The message's buf.validate.MessageRules, or None."""
        return self._read(message, "MessageOptions", "buf.validate.message")

    def oneof_required(self, oneof: OneofDescriptor) -> bool:
        """Whether buf.validate wants one of its members."""
        rules = self._read(oneof, "OneofOptions", "buf.validate.oneof")
        return rules is not None and bool(rules.required)

    def behaviours(self, field: FieldDescriptor) -> frozenset[str]:
        """Names of the field's google.api.field_behavior."""
        numbers = self._read(field, "FieldOptions", "google.api.field_behavior")
        if not numbers:
            return frozenset()
        values = self._pool.FindEnumTypeByName("google.api.FieldBehavior").values_by_number
        return frozenset(values[number].name for number in numbers if number in values)

    def _read(self, descriptor: Any, kind: str, name: str) -> Any:
        if not descriptor.has_options:
            return None
        if name not in self._extensions:
            self._extensions[name] = self._find(kind, name)
        extension = self._extensions[name]
        if extension is None:
            return None
        options = self._classes[kind].FromString(descriptor.GetOptions().SerializeToString())
        if extension.is_repeated:
            return list(options.Extensions[extension])
        return options.Extensions[extension] if options.HasExtension(extension) else None

    def _find(self, kind: str, name: str) -> Any:
        try:
            extension = self._pool.FindExtensionByName(name)
            options = self._pool.FindMessageTypeByName(f"google.protobuf.{kind}")
        except KeyError:  # nothing in the set imports them
            return None
        self._classes[kind] = message_factory.GetMessageClass(options)
        return extension
