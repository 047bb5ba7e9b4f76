"""Which addresses may be connected to."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.core.addresses import SPECIAL_PURPOSE, AddressPolicy
from tests.support.requirements import shared_data

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::200e"]


def _is_refused(host: str, policy: AddressPolicy | None = None) -> bool:
    return (policy or AddressPolicy()).refusal(host, 443) is not None


def _first_middle_last(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> set[str]:
    middle = network.network_address + network.num_addresses // 2
    return {str(network.network_address), str(middle), str(network.broadcast_address)}


def test_every_special_purpose_range_is_refused_from_end_to_end() -> None:
    ranges = json.loads(shared_data("ssrf/special_ranges.json").read_text())[
        "special_purpose_ranges"
    ]
    assert len(ranges) > 20
    for text in ranges:
        for address in _first_middle_last(ipaddress.ip_network(text)):
            assert _is_refused(address), f"{address} of {text}"


@pytest.mark.parametrize("network", SPECIAL_PURPOSE, ids=str)
def test_every_own_range_is_refused_and_named(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> None:
    for address in _first_middle_last(network):
        why = AddressPolicy().refusal(address, 80)
        assert why is not None
        assert "public" in why


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # cloud metadata
        "fd00:ec2::254",
        "100.100.100.200",
        "192.0.0.192",
        "::ffff:127.0.0.1",  # IPv4-mapped
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",  # IPv4-compatible
        "::ffff:0:10.0.0.1",  # IPv4-translated
        "64:ff9b::7f00:1",  # NAT64
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",  # 6to4
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:1::",  # Teredo
        "fe80::1%eth0",  # with a zone
        "fec0::1",  # the old site-local
        "ff02::1",
        "4000::1",  # not given out yet
        "255.255.255.255",
        "0.0.0.0",
        "::",
    ],
)
def test_no_form_of_an_inner_address_passes(address: str) -> None:
    assert _is_refused(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    assert not _is_refused(address)


@given(st.ip_addresses(v=4))
def test_whatever_python_calls_not_global_is_refused(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert _is_refused(str(address))


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_inside_an_ipv6_one(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for prefix in ("::ffff:0:0", "::", "64:ff9b::", "::ffff:0:0:0"):
        assert _is_refused(str(ipaddress.IPv6Address(prefix) + number))
    assert _is_refused(str(ipaddress.IPv6Address((0x2002 << 112) + (number << 80))))


def test_an_allowed_network_opens_itself_and_nothing_beside_it() -> None:
    policy = AddressPolicy(allow_networks=["127.0.0.0/8", "fd00::/64"])
    assert not _is_refused("127.1.2.3", policy)
    assert not _is_refused("fd00::7", policy)
    for other in ("10.0.0.1", "::1", "fd00:0:0:1::1", "::ffff:127.0.0.1"):
        assert _is_refused(other, policy)


@pytest.mark.parametrize(("port", "is_open"), [(80, True), (443, True), (22, False), (8443, False)])
def test_only_the_ports_of_the_web_are_open_by_default(port: int, is_open: bool) -> None:
    assert (AddressPolicy().refusal("1.1.1.1", port) is None) == is_open


def test_other_ports_are_opened_by_naming_them() -> None:
    policy = AddressPolicy(ports=[8443])
    assert policy.refusal("1.1.1.1", 8443) is None
    assert policy.refusal("1.1.1.1", 443) is not None


def test_the_port_is_asked_each_time_though_the_address_is_remembered() -> None:
    policy = AddressPolicy()
    assert policy.refusal("1.1.1.1", 443) is None
    assert policy.refusal("1.1.1.1", 25) is not None


def test_with_one_address_set_no_other_one_and_no_other_port_passes() -> None:
    policy = AddressPolicy(["127.0.0.0/8"], only=("127.0.0.1", 8080))
    assert policy.refusal("127.0.0.1", 8080) is None
    for host, port in [("127.0.0.1", 80), ("127.0.0.2", 8080), ("1.1.1.1", 443)]:
        why = policy.refusal(host, port)
        assert why is not None
        assert "the one address" in why


def test_the_one_address_does_not_open_its_own_network() -> None:
    assert AddressPolicy(only=("127.0.0.1", 8080)).refusal("127.0.0.1", 8080) is not None


def test_what_is_no_address_is_not_let_through() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        AddressPolicy().refusal("localhost", 80)
