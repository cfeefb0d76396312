from __future__ import annotations

import pytest

from engine.errors import BadInput
from jobs.serve.access import PASSWORD_VARIABLE, Access


def test_another_address_needs_a_password() -> None:
    """Where other machines can reach the server, it does not start without a password, and its token is no way in."""
    with pytest.raises(BadInput, match=PASSWORD_VARIABLE):
        Access.to("0.0.0.0", {})
    access = Access.to("0.0.0.0", {PASSWORD_VARIABLE: "millstone"})
    assert access.admits_password("millstone")
    assert not access.admits_password("mill")
    assert not access.admits_token(access.token)


@pytest.mark.parametrize("bind", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_alone_needs_the_token(bind: str) -> None:
    """On this machine the token of the address is the way in, and there is no password to guess."""
    access = Access.to(bind, {})
    assert access.admits_token(access.token)
    assert not access.admits_token("")
    assert not access.admits_password("")


def test_each_server_has_its_own_secrets() -> None:
    """No two servers share a token, and none is shown with the value."""
    one, other = Access(), Access()
    secrets = {one.token, one.session, one.header, other.token, other.session, other.header}
    assert len(secrets) == 6
    assert not [secret for secret in secrets if secret in repr(one)]


@pytest.mark.parametrize(
    ("host", "here", "anywhere"),
    [
        ("127.0.0.1:8631", True, True),
        ("[::1]:8631", True, True),
        ("localhost", True, True),
        ("192.168.0.7:8631", False, True),
        ("rebound.example:8631", False, False),
        ("127.0.0.1.rebound.example", False, False),
        ("", False, False),
    ],
)
def test_the_host_is_one_that_no_site_can_make_point_here(host: str, here: bool, anywhere: bool) -> None:
    """Names that another site may own are refused; addresses cannot be rebound."""
    assert Access().admits_host(host) is here
    assert Access(password="millstone").admits_host(host) is anywhere
