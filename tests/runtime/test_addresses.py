"""Which addresses a tenant's URL may lead to."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.addresses import NAT64, NOT_PUBLIC_V4, AllowedHosts, checked_url, is_public

NOBODY = AllowedHosts()
V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
NEAR_V4 = st.sampled_from(NOT_PUBLIC_V4).flatmap(lambda net: st.integers(int(net[0]), int(net[-1]))).map(IPv4Address)

PRIVATE = [
    "0.0.0.0",  # noqa: S104  an address to refuse, not to listen on
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.0", "2606:4700:4700::1111", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_nobody_is_sent_to_a_private_address(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", [*PUBLIC, "::ffff:8.8.8.8"])
def test_a_public_address_may_be_reached(address: str) -> None:
    assert is_public(ip_address(address))


@given(V4 | V6 | NEAR_V4)
def test_what_python_calls_private_is_never_public(address: IPv4Address | IPv6Address) -> None:
    inner = getattr(address, "ipv4_mapped", None) or address
    if inner.is_private or inner.is_loopback or inner.is_link_local or inner.is_multicast or inner.is_unspecified or inner.is_reserved:
        assert not is_public(address) or address in NAT64


@given(V4 | NEAR_V4)
def test_an_address_inside_another_one_is_judged_the_same(address: IPv4Address) -> None:
    for wrapped in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert is_public(IPv6Address(wrapped)) == is_public(address)
    assert not is_public(IPv6Address(0x2002 << 112 | int(address) << 80))
    assert not is_public(IPv6Address(int(address)))


ALLOWED = AllowedHosts.parse("tools.internal, localhost,10.1.0.0/16 ,127.0.0.1,fd00::/64,")


def test_the_operator_allows_names_addresses_and_networks() -> None:
    assert ALLOWED.names == {"tools.internal", "localhost"}
    for host in ("10.1.2.3", "127.0.0.1", "fd00::1", "::ffff:10.1.2.3", "Tools.Internal", "localhost."):
        assert ALLOWED.has(host), host
    for host in ("10.2.0.1", "127.0.0.2", "fd00:0:0:1::1", "internal", "x.tools.internal", "8.8.8.8"):
        assert not ALLOWED.has(host), host
    assert NOBODY.names == frozenset()
    assert AllowedHosts.parse("") == NOBODY


@pytest.mark.parametrize("text", ["http://x", "a b", "10.0.0.1/8", "x:80", "127.1", "0x7f.1", "2130706433", "*", "[::1]", "münchen.de"])
def test_an_allowance_that_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="should be host names"):
        AllowedHosts.parse(text)


@pytest.mark.parametrize(
    "url",
    [
        "https://booking.example.com/book",
        "https://booking.example.com:8443/a?b=c%20d",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]:443/x",
        "http://tools.internal/x",
        "http://10.1.2.3:8080/x",
        "https://127.0.0.1/x",
        "http://LOCALHOST:1/",
    ],
)
def test_a_url_that_may_be_called(url: str) -> None:
    checked_url(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "booking.example.com/book",
        "ftp://booking.example.com/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "http://booking.example.com/",  # plain, and not the operator's
        "https://user:pass@booking.example.com/",
        "https://user@booking.example.com/",
        "https://@booking.example.com/",
        "https://booking.example.com/#part",
        "https://booking.example.com:port/",
        "https://booking.example.com:70000/",
        "https://[::1/",
        "https://bücher.example/",
        "https://booking.example.com/a b",
        "https://booking.example.com/\n",
        "https://localhost\\@booking.example.com/",
        "https://-x.example.com/",
        "https://x..example.com/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://127.0.0.01/",
        "https://127.0.0.2/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fd00:ec2::254]/",
        "https://[fe80::1%25eth0]/",
        "https://x.example.com/" + "a" * 2_000,
    ],
)
def test_a_url_that_may_not(url: str) -> None:
    with pytest.raises(ValueError, match=r"^The URL") as refused:
        checked_url(url, ALLOWED)
    assert "example" not in str(refused.value)
    assert str(refused.value).endswith(".")
