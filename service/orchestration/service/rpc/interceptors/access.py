"""Callers show who they are, and are held to what they may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import Any

from orchestration.gateway import Call, UpstreamError
from orchestration.service.errors import OrchestrationError, PermissionDeniedError, UnauthenticatedError
from orchestration.service.keys import Caller, Keys, Role, may
from orchestration.service.rpc.access import NEEDED, OPEN
from orchestration.service.rpc.errors import DETAILS_KEY, failure_of
from orchestration.service.rpc.interceptors.base import RpcCall, Stage

AUTHORIZATION = "authorization"
_SCHEME = "bearer"


class AuthenticationStage(Stage):
    """Finds out whose key a call came with. Without any keys nobody is asked for one."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def of(self, method: str, *, streaming: bool) -> Stage | None:
        """Itself for all but what anybody may call; nothing without keys."""
        return self if self._keys and not method.startswith(OPEN) else None

    def begin(self, call: RpcCall) -> None:
        """Note the caller. Raises `UnauthenticatedError` for a call without a key that is let in."""
        admitted = getattr(call.context, "admitted", None)  # by `admission`, for a REST call in this process
        if isinstance(admitted, Caller):
            call.caller = admitted
            return
        call.caller = _caller(self._keys, call.context.invocation_metadata() or ())


class AuthorisationStage(Stage):
    """Refuses what the caller's role may not do."""

    def of(self, method: str, *, streaming: bool) -> Stage | None:
        """What refuses those whose role may not call this method."""
        needed = NEEDED.get(method)
        return _RoleStage({role for role in Role if needed is not None and may(role, needed)})


class _RoleStage(Stage):
    def __init__(self, roles: Set[Role]) -> None:
        self._roles = frozenset(roles)

    def begin(self, call: RpcCall) -> None:
        """Raise `PermissionDeniedError` when the method asks for another role."""
        if call.caller is not None and call.caller.role not in self._roles:
            raise _refusal(call.caller, call.method)


def admission(keys: Keys) -> Callable[[str, Call], Caller] | None:
    """The same for the REST gateway, which asks before it looks at a request's body; None where nobody is asked."""
    if not keys:
        return None

    def admit(method: str, call: Call) -> Caller:
        try:
            caller = _caller(keys, call.metadata)
            _check_role(caller, method)
        except OrchestrationError as error:
            failure = failure_of(error)
            assert failure is not None
            status = dict(failure.trailing_metadata())[DETAILS_KEY]
            raise UpstreamError(failure.code.value[0], failure.message, status) from error
        return caller

    return admit


def _caller(keys: Keys, metadata: Iterable[tuple[str, Any]]) -> Caller:
    """Whose key a call came with. Raises `UnauthenticatedError`."""
    found = keys.find(_shown(metadata))
    if found is None:
        raise UnauthenticatedError("API_KEY_INVALID", "the key in authorization is not one of this gateway's")
    return found


def _check_role(caller: Caller, method: str) -> None:
    needed = NEEDED.get(method)
    if needed is None or not may(caller.role, needed):
        raise _refusal(caller, method)


def _refusal(caller: Caller, method: str) -> PermissionDeniedError:
    needed = NEEDED.get(method)
    text = f"{caller.name} has role {caller.role}, and {method} asks for {needed or 'a role that nobody has'}"
    metadata = {"caller": caller.name, "role": caller.role, "needed": needed or "", "method": method}
    return PermissionDeniedError("ROLE_TOO_LOW", text, metadata)


def _shown(metadata: Iterable[tuple[str, Any]]) -> str:
    """The key that a call came with. Raises `UnauthenticatedError` when it came with none."""
    for name, value in metadata:
        if name == AUTHORIZATION and isinstance(value, str):
            scheme, _, key = value.partition(" ")
            if scheme.lower() != _SCHEME or not key.strip():
                text = "authorization holds no bearer token; expected: authorization: Bearer KEY"
                raise UnauthenticatedError("API_KEY_MISSING", text)
            return key.strip()
    raise UnauthenticatedError("API_KEY_MISSING", "this gateway asks for a key; send it as authorization: Bearer KEY")
