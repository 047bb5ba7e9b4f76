"""Where alerts may be sent."""

from __future__ import annotations

import pytest

from resources.core.alert_doors import alert_policy, named_addresses


@pytest.mark.parametrize(
    ("url", "networks"),
    [
        ("slack://token-a/token-b/token-c", ()),
        ("json://alerts.example.com/hook", ()),
        ("json://127.0.0.1:9000/hook", ("127.0.0.1/32",)),
        ("json://me:secret@10.1.2.3/hook", ("10.1.2.3/32",)),
        ("json://localhost:9000", ("127.0.0.1/32", "::1/128")),
        ("json://[fd00::7]:9000", ("fd00::7/128",)),
        ("mailto://me:pw@example.com?smtp=192.168.1.9", ("192.168.1.9/32",)),
        ("json://93.184.215.14/hook", ()),  # public: open anyway
        ("json://169.254.169.254/latest", ()),  # never: clouds keep credentials there
        ("json://[fe80::1]/", ()),
        ("json://0.0.0.0/", ()),
        ("json://[::ffff:127.0.0.1]/", ()),
        ("json://127.0.0.1.evil.example/", ()),
        ("json://localhost.evil.example/", ()),
        ("json://999.1.1.1/", ()),
        ("json://2130706433/", ()),
    ],
)
def test_only_an_own_address_that_is_written_out_opens_itself(
    url: str, networks: tuple[str, ...]
) -> None:
    assert named_addresses(url) == networks


def test_any_port_is_open_to_a_public_address_and_none_to_an_inner_one() -> None:
    policy = alert_policy(())
    assert policy.refusal("93.184.215.14", 587) is None
    for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"):
        assert policy.refusal(host, 443) is not None
    assert alert_policy(["10.0.0.0/8"]).refusal("10.0.0.1", 25) is None
