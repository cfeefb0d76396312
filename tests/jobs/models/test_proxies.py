from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from engine.errors import BadInput
from jobs.models.proxies import goes_direct, proxy_for

PROXY = "http://proxy.test:3128"
HTTP, HTTPS = URL("http://model.example.org:8000/v1"), URL("https://model.example.org/v1")


@pytest.mark.parametrize(
    ("environment", "url", "found"),
    [
        ({}, HTTPS, None),
        ({"HTTPS_PROXY": PROXY}, HTTPS, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": PROXY}, HTTP, None),
        ({"HTTP_PROXY": PROXY}, HTTP, "HTTP_PROXY"),
        ({"HTTP_PROXY": PROXY}, HTTPS, None),
        ({"ALL_PROXY": PROXY}, HTTP, "ALL_PROXY"),
        ({"all_proxy": PROXY}, HTTPS, "all_proxy"),
        ({"HTTPS_PROXY": PROXY, "https_proxy": "http://other.test:1"}, HTTPS, "https_proxy"),
        ({"HTTPS_PROXY": PROXY, "ALL_PROXY": "http://other.test:1"}, HTTPS, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": ""}, HTTPS, None),
        ({"HTTPS_PROXY": " "}, HTTPS, None),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "POST"}, HTTP, None),
        ({"http_proxy": PROXY, "REQUEST_METHOD": "POST"}, HTTP, "http_proxy"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.org"}, HTTPS, None),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "example.org"}, HTTPS, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.org", "no_proxy": ""}, HTTPS, "HTTPS_PROXY"),
    ],
)
def test_which_variable_names_the_proxy(environment: dict[str, str], url: URL, found: str | None) -> None:
    """The scheme's variable comes first, then that for all; lower case is preferred, and an empty one is none."""
    proxy = proxy_for(url, environment)
    assert (proxy.variable if proxy else None) == found


def test_a_proxy_without_scheme_is_an_http_proxy() -> None:
    """HTTPS_PROXY=proxy:3128 means http://proxy:3128, as curl reads it."""
    proxy = proxy_for(HTTPS, {"HTTPS_PROXY": "proxy.test:3128"})
    assert proxy is not None
    assert str(proxy.url) == "http://proxy.test:3128"


def test_credentials_of_a_proxy_are_never_shown() -> None:
    """Neither what is shown of a proxy nor its repr holds its user or password."""
    proxy = proxy_for(HTTPS, {"HTTPS_PROXY": "http://anna:s%40cret@proxy.test:3128/"})
    assert proxy is not None
    assert proxy.shown == "http://proxy.test:3128"
    assert proxy.url.password == "s@cret"
    assert not any(word in f"{proxy!r} {proxy.shown}" for word in ("anna", "s@cret", "s%40cret"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("socks5://user:hidden@proxy.test:1080", "SOCKS"),
        ("socks5h://proxy.test", "SOCKS"),
        ("ftp://proxy.test", "set it to http://HOST:PORT"),
        ("http://", "set it to http://HOST:PORT"),
        ("http://[::1", "set it to http://HOST:PORT"),
    ],
)
def test_a_variable_that_names_no_http_proxy(value: str, said: str) -> None:
    """A SOCKS proxy or no proxy at all is refused, in one line that names the variable and shows no credentials."""
    with pytest.raises(BadInput, match="ALL_PROXY") as caught:
        proxy_for(HTTPS, {"ALL_PROXY": value})
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", "https://model.example.org", True),
        ("localhost, *", "https://model.example.org", True),
        ("example.org", "https://example.org", True),
        ("example.org", "https://model.example.org", True),
        ("example.org", "https://model.example.org.", True),
        ("EXAMPLE.org", "https://Model.Example.ORG", True),
        (".example.org", "https://model.example.org", True),
        (".example.org", "https://example.org", True),
        ("*.example.org", "https://model.example.org", True),
        ("example.org", "https://notexample.org", False),
        ("model.example.org", "https://example.org", False),
        ("example.org:8000", "https://example.org:8000", True),
        ("example.org:8000", "https://example.org:8001", False),
        ("example.org:443", "https://example.org", True),
        ("https://example.org", "https://example.org", True),
        ("a.org b.org,\tc.org", "https://b.org", True),
        ("127.0.0.1", "http://127.0.0.1:8000", True),
        ("127.0.0.1", "http://127.0.0.2:8000", False),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8001", False),
        ("10.0.0.0/8", "http://10.3.2.1", True),
        ("10.3.2.9/24", "http://10.3.2.1", True),
        ("10.0.0.0/8", "http://11.3.2.1", False),
        ("10.0.0.0/8", "http://model.example.org", False),
        ("::1", "http://[::1]:8000", True),
        ("[::1]", "http://[::1]:8000", True),
        ("[::1]:8000", "http://[::1]:8000", True),
        ("[::1]:8000", "http://[::1]:8001", False),
        ("fd00::/8", "http://[fd12::3]", True),
        ("fd00::/8", "http://10.0.0.1", False),
        ("localhost", "http://localhost:11434", True),
        ("localhost", "http://127.0.0.1:11434", False),
        ("10.0.0.0/99", "http://10.0.0.1", False),
        (",, ,", "http://10.0.0.1", False),
        ("", "http://10.0.0.1", False),
    ],
)
def test_hosts_that_are_reached_without_a_proxy(no_proxy: str, url: str, direct: bool) -> None:
    """NO_PROXY names hosts by suffix, address, network and port, and every host by a star."""
    assert goes_direct(URL(url), no_proxy) is direct


@given(address=st.ip_addresses(), bits=st.integers(0, 32))
def test_an_address_is_in_each_network_around_it(address: ipaddress.IPv4Address, bits: int) -> None:
    """Whatever the length of the prefix, an address goes directly where NO_PROXY names a network that holds it."""
    host = f"[{address}]" if address.version == 6 else str(address)
    assert goes_direct(URL(f"http://{host}:8000/v1"), f"{address}/{bits}")


@given(st.text(max_size=40))
def test_no_entry_is_an_error(no_proxy: str) -> None:
    """Whatever stands in NO_PROXY, it is read; only a star or the host's own name can match."""
    direct = goes_direct(URL("http://model.example.org:8000/v1"), no_proxy)
    assert not direct or any(part in no_proxy.lower() for part in ("*", "org"))
