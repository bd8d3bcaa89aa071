"""Keys, roles, and who may call what."""

from __future__ import annotations

import hashlib

import pytest

from orchestration.service.keys import Keys, Role, check_keys, may, new_key
from orchestration.service.rpc.access import NEEDED
from orchestration.service.rpc.server import SERVICES
from tests.support.protos import methods

ALLOWED = {
    Role.VIEWER: {Role.VIEWER},
    Role.OPERATOR: {Role.VIEWER, Role.OPERATOR},
    Role.ADMIN: {Role.VIEWER, Role.OPERATOR, Role.ADMIN, Role.AGENT},
    Role.AGENT: {Role.AGENT},
}


def test_what_each_role_may_do() -> None:
    assert {caller: {needed for needed in Role if may(caller, needed)} for caller in Role} == ALLOWED


def test_every_method_of_the_services_asks_for_a_role() -> None:
    assert set(NEEDED) == {f"/{method.containing_service.full_name}/{method.name}" for method in methods()}
    assert {path.split("/")[1] for path in NEEDED} == set(SERVICES)


def test_a_new_key_is_let_in_and_no_other_is() -> None:
    key, stored = new_key(Role.AGENT)
    other, _ = new_key(Role.AGENT)
    keys = Keys(check_keys({"nodes": stored, "ops": f"admin {hashlib.sha256(b'x').hexdigest()}"}))
    found = keys.find(key)
    assert found is not None
    assert (found.name, found.role) == ("nodes", Role.AGENT)
    assert keys.find(other) is None
    assert keys.find("") is None
    assert key not in stored


def test_without_keys_nobody_is_asked() -> None:
    assert not Keys({})


@pytest.mark.parametrize(
    "stored",
    ["", "admin", "root " + "0" * 64, "admin " + "0" * 63, "admin " + "g" * 64, "admin  " + "0" * 64, "0" * 64],
)
def test_an_entry_that_is_none_is_refused_by_its_name(stored: str) -> None:
    with pytest.raises(ValueError, match=r"^ci: expected a role .*orchestration key"):
        check_keys({"ci": stored})


def test_a_name_in_large_letters_is_the_same_name() -> None:
    """A variable of the environment cannot spell it: the key that it is to take the place of would live on."""
    with pytest.raises(ValueError, match="two entries of this name"):
        check_keys({"CI": new_key(Role.ADMIN)[1], "ci": new_key(Role.VIEWER)[1]})


def test_two_callers_have_two_keys() -> None:
    _, stored = new_key(Role.VIEWER)
    with pytest.raises(ValueError, match=r"^b: is the key of a, too"):
        check_keys({"a": stored, "b": stored.replace("viewer", "admin")})
