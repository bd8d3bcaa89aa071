from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
ACCESS_FIELD_NUMBER: _ClassVar[int]
access: _descriptor.FieldDescriptor

class Access(_message.Message):
    __slots__ = ("role", "tenant_field", "resource_field")
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROLE_UNSPECIFIED: _ClassVar[Access.Role]
        VIEWER: _ClassVar[Access.Role]
        OPERATOR: _ClassVar[Access.Role]
        ADMIN: _ClassVar[Access.Role]
        AGENT: _ClassVar[Access.Role]
    ROLE_UNSPECIFIED: Access.Role
    VIEWER: Access.Role
    OPERATOR: Access.Role
    ADMIN: Access.Role
    AGENT: Access.Role
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_FIELD_NUMBER: _ClassVar[int]
    role: Access.Role
    tenant_field: str
    resource_field: str
    def __init__(self, role: _Optional[_Union[Access.Role, str]] = ..., tenant_field: _Optional[str] = ..., resource_field: _Optional[str] = ...) -> None: ...
