"""Callers show who they are, and are held to what they may do."""

from __future__ import annotations

from orchestration.service.errors import PermissionDeniedError, UnauthenticatedError
from orchestration.service.keys import Keys, may
from orchestration.service.rpc.access import NEEDED, OPEN
from orchestration.service.rpc.interceptors.base import Context, RpcCall, Stage

AUTHORIZATION = "authorization"
_SCHEME = "bearer"


class AuthenticationStage(Stage):
    """Finds out whose key a call came with. Without any keys nobody is asked for one."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def begin(self, call: RpcCall) -> None:
        """Note the caller. Raises `UnauthenticatedError` for a call without a key that is let in."""
        if not self._keys or call.method.startswith(OPEN):
            return
        call.caller = self._keys.find(_shown(call.context))
        if call.caller is None:
            text = "the key in authorization is not one of this gateway's"
            raise UnauthenticatedError("API_KEY_INVALID", text)


class AuthorisationStage(Stage):
    """Refuses what the caller's role may not do."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def begin(self, call: RpcCall) -> None:
        """Raise `PermissionDeniedError` when the method asks for another role."""
        if not self._keys or call.method.startswith(OPEN):
            return
        caller, needed = call.caller, NEEDED.get(call.method)
        if needed is None or caller is None or not may(caller.role, needed):
            name = caller.name if caller else ""
            role = caller.role if caller else ""
            text = f"{name} has role {role}, and {call.method} asks for {needed or 'a role that nobody has'}"
            metadata = {"caller": name, "role": role, "needed": needed or "", "method": call.method}
            raise PermissionDeniedError("ROLE_TOO_LOW", text, metadata)


def _shown(context: Context) -> str:
    """The key that a call came with. Raises `UnauthenticatedError` when it came with none."""
    for name, value in context.invocation_metadata() or ():
        if name == AUTHORIZATION and isinstance(value, str):
            scheme, _, key = value.partition(" ")
            if scheme.lower() != _SCHEME or not key.strip():
                text = "authorization holds no bearer token; expected: authorization: Bearer KEY"
                raise UnauthenticatedError("API_KEY_MISSING", text)
            return key.strip()
    raise UnauthenticatedError("API_KEY_MISSING", "this gateway asks for a key; send it as authorization: Bearer KEY")
