"""Every kind of fault, seen from the client's side, and its schedule."""

import gzip
import json
import socket
import time
from email.utils import parsedate_to_datetime
from http.client import IncompleteRead
from itertools import pairwise

import pytest

PDL = "api.peopledatalabs.com"
KEY = {"X_Api_Key": "k"}


@pytest.fixture
def site(sandbox):
    return sandbox.find(
        lambda one: one["site"]["state"] == "works" and one["site"]["robots"] == "open"
    )


@pytest.fixture
def known(sandbox):
    return sandbox.find(lambda one: one["providers"]["pdl"])["domain"]


def get(sandbox, site, path="/", **headers):
    return sandbox.ask(path, host=site["site"]["host"], **headers)


def raw_get(sandbox, site, path="/"):
    host = site["site"]["host"]
    return sandbox.raw(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


def read_all(connection):
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def enrich_path(domain):
    return f"/v5/company/enrich?website={domain}"


def test_status_with_retry_after_in_seconds_and_as_a_date(sandbox, site):
    sandbox.faults('[[fault]]\nkind = "status"\nstatus = 429\nretry_after = 7')
    reply = get(sandbox, site)
    assert (reply.status, reply.headers["Retry-After"]) == (429, "7")
    sandbox.faults('[[fault]]\nkind = "status"\nretry_after_date = true\nretry_after = 30')
    reply = get(sandbox, site)
    assert reply.status == 503
    wait_s = parsedate_to_datetime(reply.headers["Retry-After"]).timestamp() - time.time()
    assert 25 < wait_s <= 31


def test_an_api_fails_in_its_own_form_and_bills_nothing(sandbox, known):
    sandbox.faults('[[fault]]\nkind = "status"\nstatus = 429\napi = "pdl"')
    reply = sandbox.ask(enrich_path(known), host=PDL, **KEY)
    assert reply.status == 429
    assert reply.json()["error"]["type"] == "rate_limit_error"
    calls = sandbox.calls()
    assert calls["calls"]["pdl"] == {known: 1}
    assert calls["billed"]["pdl"] == {}


def test_latency_delays_the_same_answer(sandbox, site):
    plain = get(sandbox, site)
    sandbox.faults('[[fault]]\nkind = "latency"\nseconds = [0.1, 0.3]')
    begun = time.monotonic()
    late = get(sandbox, site)
    assert 0.09 < time.monotonic() - begun < 2
    assert late.body == plain.body


def test_hang_says_nothing_and_then_closes(sandbox, site):
    sandbox.faults('[[fault]]\nkind = "hang"\nhang_s = 0.2')
    begun = time.monotonic()
    with raw_get(sandbox, site) as connection:
        assert read_all(connection) == b""
    assert time.monotonic() - begun >= 0.19


def test_hang_without_a_limit_lasts_until_the_client_goes(sandbox, site):
    sandbox.faults('[[fault]]\nkind = "hang"')
    with raw_get(sandbox, site) as connection:
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert sandbox.calls()["pages"] == {site["site"]["host"]: 1}


def test_reset_is_a_tcp_rst(sandbox, site):
    sandbox.faults('[[fault]]\nkind = "reset"')
    with raw_get(sandbox, site) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


def test_reset_in_mid_body(sandbox, site):
    sandbox.faults('[[fault]]\nkind = "reset"\nafter_bytes = 100')
    with raw_get(sandbox, site) as connection:
        data = connection.recv(65536)
        assert data.startswith(b"HTTP/1.1 200 OK")
        assert len(data.partition(b"\r\n\r\n")[2]) == 100
        with pytest.raises(ConnectionResetError):
            read_all(connection)


def test_truncated_promises_more_than_it_sends(sandbox, site):
    sandbox.faults('[[fault]]\nkind = "truncated"')
    with pytest.raises(IncompleteRead) as caught:
        get(sandbox, site)
    assert caught.value.expected > 100
    assert len(caught.value.partial) > 100


def test_a_truncated_match_is_not_billed(sandbox, known):
    sandbox.faults('[[fault]]\nkind = "truncated"\napi = "pdl"\nmax_times = 1')
    with pytest.raises(IncompleteRead):
        sandbox.ask(enrich_path(known), host=PDL, **KEY)
    assert sandbox.calls()["billed"]["pdl"] == {}
    assert sandbox.ask(enrich_path(known), host=PDL, **KEY).status == 200
    assert sandbox.calls()["billed"]["pdl"] == {known: 1}
    assert sandbox.calls()["calls"]["pdl"] == {known: 2}


def test_redirect_loop_never_ends(sandbox, site):
    sandbox.faults('[[fault]]\nkind = "redirect_loop"\nmax_times = 1')
    path, seen = "/", []
    for _ in range(6):
        reply = get(sandbox, site, path)
        assert reply.status == 302
        location = reply.headers["Location"]
        prefix = f"https://{site['site']['host']}"
        assert location.startswith(prefix)
        path = location.removeprefix(prefix)
        seen.append(path)
    assert len(set(seen)) == 2


def test_slow_body_drips_the_whole_answer(sandbox, site, known):
    plain = get(sandbox, site)
    sandbox.faults('[[fault]]\nkind = "slow_body"\nseconds = 0.4')
    begun = time.monotonic()
    slow = get(sandbox, site)
    assert time.monotonic() - begun > 0.3
    assert slow.body == plain.body
    assert sandbox.ask(enrich_path(known), host=PDL, **KEY).status == 200
    assert sandbox.calls()["billed"]["pdl"] == {known: 1}


def test_malformed_breaks_json_and_pages(sandbox, site, known):
    sandbox.faults('[[fault]]\nkind = "malformed"')
    reply = sandbox.ask(enrich_path(known), host=PDL, **KEY)
    assert reply.status == 200
    with pytest.raises(json.JSONDecodeError):
        reply.json()
    assert sandbox.calls()["billed"]["pdl"] == {}
    garbage = get(sandbox, site, Accept_Encoding="gzip")
    assert garbage.status == 200
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(garbage.body)


def test_rules_are_limited_by_host_path_api_and_times(sandbox, site):
    host = site["site"]["host"]
    sandbox.faults(f"""
        [[fault]]
        kind = "status"
        status = 502
        host = "*{host[-12:]}"
        path = "/robots*"
        max_times = 2
        [[fault]]
        kind = "status"
        status = 504
        api = "rdap"
    """)
    assert [get(sandbox, site, "/robots.txt").status for _ in range(3)] == [
        502,
        502,
        200,
    ]
    assert get(sandbox, site).status == 200
    assert sandbox.ask(f"/_api/rdap/domain/{site['domain']}").status == 504
    hits = sandbox.ask("/_sandbox/faults").json()["hits"]
    assert hits == {"1": 2, "2": 1}


def test_windows_open_and_close(sandbox, site, eventually):
    sandbox.faults('[[fault]]\nkind = "status"\nfrom_s = 0.2\nuntil_s = 0.9')
    assert get(sandbox, site).status == 200
    assert eventually(lambda: get(sandbox, site).status == 503)
    assert eventually(lambda: get(sandbox, site).status == 200)


def test_rates_are_kept_and_a_retry_draws_anew(sandbox, site):
    sandbox.faults('[[fault]]\nkind = "status"\nrate = 0.3')
    hits = [get(sandbox, site).status == 503 for _ in range(600)]
    assert 0.22 < sum(hits) / 600 < 0.38
    after_a_hit = [later for now, later in pairwise(hits) if now]
    assert 0.1 < sum(after_a_hit) / len(after_a_hit) < 0.5


def test_draws_depend_on_the_seed_and_not_on_the_order_of_requests(start):
    toml = '[[fault]]\nkind = "status"\nrate = 0.5'
    one, two = start("--seed", "3"), start("--seed", "3")
    one.faults(toml)
    two.faults(toml)
    hosts = [f"order{index}.example" for index in range(40)]
    first = {host: [one.ask("/", host=host).status for _ in range(3)] for host in hosts}
    second = {host: [] for host in hosts}
    for _ in range(3):
        for host in reversed(hosts):
            second[host].append(two.ask("/", host=host).status)
    assert first == second
    two.faults("seed = 4\n" + toml)
    third = {host: [two.ask("/", host=host).status for _ in range(3)] for host in hosts}
    assert first != third


def test_faults_are_replaced_and_shown_at_run_time(sandbox, site):
    shown = sandbox.ask("/_sandbox/faults", method="POST", body="preset=storm").json()
    assert shown["name"] == "storm"
    assert len(shown["rules"]) > 5
    bad = sandbox.faults('[[fault]]\nkind = "quake"')
    assert bad.status == 400
    assert "quake" in bad.json()["error"]
    assert sandbox.ask("/_sandbox/faults").json()["name"] == "storm"
    assert sandbox.ask("/_sandbox/faults?preset=none", method="POST").json()["rules"] == []
    assert get(sandbox, site).status == 200


def begin(sandbox, host, path, timeout=0.1):
    """Return the first bytes of an answer, none when it was reset, or late."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    with sandbox.raw(request.encode(), timeout=timeout) as connection:
        try:
            return connection.recv(12)
        except OSError:
            return b""


def test_mild_hits_a_few_in_a_hundred_and_some_hosts_for_good(sandbox):
    sandbox.ask("/_sandbox/faults", method="POST", body="preset=mild")
    for index in range(1000):
        begin(sandbox, "mild.example", f"/p{index}")
    hits = sandbox.ask("/_sandbox/faults").json()["hits"]
    assert hits["host down for good"] == 0
    assert 0.02 < sum(hits.values()) / 1000 < 0.05
    statuses = [
        sandbox.ask(f"/_api/rdap/domain/mild{index}.example").status for index in range(1000)
    ]
    assert 0.008 < sum(status in (429, 503) for status in statuses) / 1000 < 0.04

    down = b"HTTP/1.1 503"
    hosts = (f"down{index}.example" for index in range(1200))
    suspects = [host for host in hosts if begin(sandbox, host, "/robots.txt") == down]
    for_good = [
        host for host in suspects if {begin(sandbox, host, f"/{n}") for n in range(5)} == {down}
    ]
    assert 1 <= len(for_good) <= 20


def test_storm_hits_about_a_quarter(sandbox):
    sandbox.ask("/_sandbox/faults", method="POST", body="preset=storm")
    for index in range(300):
        begin(sandbox, "storm.example", f"/p{index}", timeout=0.02)
    hits = sum(sandbox.ask("/_sandbox/faults").json()["hits"].values())
    assert 0.2 < hits / 300 < 0.38


def test_outage_takes_pdl_and_a_third_of_the_hosts_away(sandbox, known):
    sandbox.ask("/_sandbox/faults", method="POST", body="preset=outage")
    outcomes = set()
    for index in range(12):
        request = (
            f"GET {enrich_path(known)}&n={index} HTTP/1.1\r\nHost: {PDL}\r\nX-Api-Key: k\r\n\r\n"
        )
        with sandbox.raw(request.encode(), timeout=0.2) as connection:
            try:
                outcomes.add(connection.recv(12))
            except TimeoutError:
                outcomes.add(b"hangs")
    assert outcomes == {b"HTTP/1.1 503", b"hangs"}
    answers = [begin(sandbox, f"away{index}.example", "/robots.txt") for index in range(60)]
    away = sum(answer in (b"", b"HTTP/1.1 503") for answer in answers)
    assert 8 <= away <= 29


def test_a_client_that_goes_before_the_answer_is_not_billed(sandbox, known, eventually):
    sandbox.faults('[[fault]]\nkind = "latency"\nseconds = 0.3')
    request = f"GET {enrich_path(known)} HTTP/1.1\r\nHost: {PDL}\r\nX-Api-Key: k\r\n\r\n"
    with sandbox.raw(request.encode()):
        assert eventually(lambda: sandbox.calls()["calls"]["pdl"] == {known: 1})
    # As late as this answer is, the first one would have been billed by then.
    assert sandbox.ask(enrich_path(known), host=PDL, **KEY).status == 200
    assert sandbox.calls()["calls"]["pdl"] == {known: 2}
    assert sandbox.calls()["billed"]["pdl"] == {known: 1}


def test_pipelined_requests_are_answered_in_order(sandbox, site):
    host = site["site"]["host"]
    sandbox.faults('[[fault]]\nkind = "latency"\nseconds = 0.1\npath = "/"')
    requests = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\nGET /robots.txt HTTP/1.1\r\nHost: {host}\r\n"
    with sandbox.raw((requests + "Connection: close\r\n\r\n").encode()) as connection:
        data = read_all(connection)
    assert data.count(b"HTTP/1.1 200 OK") == 2
    assert data.index(b"text/html") < data.index(b"User-agent:")


def test_a_bad_request_gets_400_and_the_server_lives(sandbox):
    with sandbox.raw(b"\x00\x01 nonsense\r\n\r\n") as connection:
        assert connection.recv(12) == b"HTTP/1.1 400"
    with socket.create_connection(("127.0.0.1", sandbox.port)):
        assert sandbox.ask("/").status == 200
