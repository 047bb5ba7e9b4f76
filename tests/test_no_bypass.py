"""No call gets around breaker, pace and guard, as far as reading all of the code can tell.

What cannot be read is tried in `test_permits`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import pytest

from tests.support.outgoing_calls import Found, in_product, in_source

CONNECTOR = "resources.adapters.connector"
WIRE = "resources.adapters.wire_limits"
GATE = "resources.adapters.call_gate"
PROVIDERS = "resources.adapters.providers"
COMMANDS = "pipeline_assets.commands"
UNDER_A_PERMIT = "runs inside CallGate.call, in ProviderGateway or Rdap._bootstrap"
THE_GUARD = "this is the guarded session, which sends nothing without a permit"
OWN_PROCESS = "starts a process of ours on this machine"
OWN_SERVERS = "asks our own servers on this machine whether they are ready"
OPERATORS_OWN = "tells the operator: channels of his own choice, neither providers nor sites"
OPERATORS_INBOX = "reads the operator's lists, at an address of his own choice"
OWN_PORT = "binds a port of this machine to see whether it is free, and connects to nothing"
REACHABLE = "connects and says nothing, to tell our own outage from the other side's"

# What may stay: module, function and what it uses, with the reason.
ALLOWED: Mapping[tuple[str, str, str], str] = {
    # -- the gate and what lies below it
    (GATE, "_Call.__aenter__", "resources.adapters.permit.Permit"): "this is CallGate.call",
    (GATE, "_Call.__aenter__", "resources.adapters.permit.holding"): "this is CallGate.call",
    ("resources.phase_run", "phase_events", f"{CONNECTOR}.guarded_session"): "the one session",
    ("resources.phase_run", "phase_events", f"{CONNECTOR}.guarded_client"): "the one client",
    ("resources.phase_run", "_gate", f"{GATE}.CallGate"): "the one gate",
    (f"{PROVIDERS}.registry", "", f"{GATE}.CallGate"): "a type",
    (CONNECTOR, "guarded_session", "aiohttp.ClientSession"): THE_GUARD,
    (CONNECTOR, "guarded_session", f"{WIRE}.BoundedConnector"): THE_GUARD,
    (WIRE, "BoundedConnector", "aiohttp.TCPConnector"): THE_GUARD,
    (CONNECTOR, "guarded_session.checked_socket", "socket.socket"): THE_GUARD,
    (CONNECTOR, "guarded_client.send", ".request"): THE_GUARD,
    (CONNECTOR, "_split", "socket.gethostbyname"): "resolves our own setting `connect_to`",
    # -- calls that pass the gate
    ("resources.adapters.fetcher", "Fetcher._get", ".get"): "Fetcher._hop has passed CallGate.call",
    ("resources.adapters.provider_gateway", "ProviderGateway._send", ".ask"): UNDER_A_PERMIT,
    (f"{PROVIDERS}.people_data_labs", "PeopleDataLabs._ask_one", ".get"): UNDER_A_PERMIT,
    (f"{PROVIDERS}.people_data_labs", "PeopleDataLabs._ask_many", ".post_json"): UNDER_A_PERMIT,
    (f"{PROVIDERS}.rdap", "Rdap._get", ".get"): UNDER_A_PERMIT,
    (f"{PROVIDERS}.wikidata", "Wikidata._answers", ".post_form"): UNDER_A_PERMIT,
    # -- our own network, checked
    ("resources.adapters.network", "NetworkCheck._resolves", ".getaddrinfo"): "resolves names",
    ("resources.adapters.network", "NetworkCheck._connects", "asyncio.open_connection"): REACHABLE,
    (f"{COMMANDS}.doctor_checks", "_one_address", "socket.create_connection"): REACHABLE,
    (f"{COMMANDS}.doctor_checks", "_look_up", "socket.getaddrinfo"): REACHABLE,
    (f"{COMMANDS}.doctor_checks", "_look_up", "socket.socket"): REACHABLE,
    (f"{COMMANDS}.doctor_checks", "_look_up", ".connect_ex"): REACHABLE,
    # -- alerts
    **{
        ("resources.adapters.alert_sender", function, f"apprise{what}"): OPERATORS_OWN
        for function, what in (
            ("", ""),
            ("_send", ""),
            ("_send", ".Apprise"),
            ("_send", ".NotifyFormat.TEXT"),
            ("_send", ".NotifyType.INFO"),
            ("_send", ".NotifyType.SUCCESS"),
            ("_send", ".NotifyType.WARNING"),
            ("service_of", ""),
            ("service_of", ".Apprise.instantiate"),
            ("service_of", ".AppriseAsset"),
            ("service_of", ".OverflowMode.TRUNCATE"),
            ("service_of", ".PersistentStoreMode.MEMORY"),
        )
    },
    ("resources.adapters.notifier", "_Sending.run", "subprocess.Popen"): OWN_PROCESS,
    # -- the inbox
    **{
        ("resources.adapters.inbox", function, f"fsspec{what}"): OPERATORS_INBOX
        for function, what in (
            ("", ""),
            ("", ".core.url_to_fs"),
            ("", ".implementations.local.LocalFileSystem"),
            ("InboxFolder.__init__", ".implementations.local.LocalFileSystem"),
            ("open_inbox", ".core.url_to_fs"),
            ("open_inbox", ".filesystem"),
            ("open_inbox", ".implementations.local.LocalFileSystem"),
        )
    },
    # -- this machine
    (f"{COMMANDS}.doctor", "_port", "socket.socket"): OWN_PORT,
    (f"{COMMANDS}.ui", "_check_port", "socket.socket"): OWN_PORT,
    (f"{COMMANDS}.process_family", "Family.start", "subprocess.Popen"): OWN_PROCESS,
    (f"{COMMANDS}.with_parent", "main", "os.execv"): OWN_PROCESS,
    (f"{COMMANDS}.dagster_servers", "", "grpc"): OWN_SERVERS,
    (f"{COMMANDS}.dagster_servers", "_serves", "grpc.insecure_channel"): OWN_SERVERS,
    (f"{COMMANDS}.dagster_servers", "_serves", "grpc.RpcError"): OWN_SERVERS,
    **{
        (f"{COMMANDS}.dagster_servers", function, what): OWN_SERVERS
        for function in ("", "_is_success")
        for what in (
            "urllib.request.build_opener",
            "urllib.request.ProxyHandler",
            "http.client.HTTPException",
        )
    },
    (f"{COMMANDS}.sandbox_process", "sandbox_server", "subprocess.Popen"): OWN_PROCESS,
    **{
        (f"{COMMANDS}.sandbox_process", function, what): "asks our own sandbox, on loopback"
        for function, what in (
            ("", "urllib.request.build_opener"),
            ("", "urllib.request.ProxyHandler"),
            ("", "http.client.HTTPException"),
            ("_check_that_it_answers", "urllib.request.build_opener"),
            ("_check_that_it_answers", "urllib.request.ProxyHandler"),
            ("_check_that_it_answers", "http.client.HTTPException"),
        )
    },
    **{
        ("resources.adapters.extraction_pool", function, what): OWN_PROCESS
        for function, what in (
            ("_Process.start", "socket.socketpair"),
            ("_Process.start", "subprocess.Popen"),
            ("_Process.start", "asyncio.open_connection"),
            ("ExtractionPool.extract", ".get"),
            ("ExtractionPool.extract", ".ask"),
        )
    },
    ("resources.adapters.extraction_worker", "", "socket.socket"): OWN_PROCESS,
    ("resources.adapters.ledger.database", "Database.read", ".connect"): "the ledger's database",
    ("resources.adapters.ledger.database", "Database.write", ".connect"): "the ledger's database",
    ("pipeline_assets.postgres_storage", "Pool._open", ".connect"): "the database of Dagster",
    (
        "resources.adapters.list_spool",
        "ListSpool._private_database",
        ".connect",
    ): "a temporary file of ours",
    ("resources.adapters.list_parquet", "_opened", "pyarrow.parquet.ParquetFile"): "a local file",
    ("resources.adapters.list_reader", "_sources", "importlib.import_module"): "modules of ours",
    ("resources.adapters.store", "Store.read_table", "pyarrow.parquet.read_table"): "a local file",
    (f"{COMMANDS}.story", "Story._profile", "pyarrow.parquet.read_table"): "a local file",
    # -- what sends nothing
    ("resources.core.countries", "_table", "importlib.import_module"): "a table of phonenumbers",
}


@cache
def _found() -> tuple[Found, ...]:
    return tuple(in_product())


def test_nothing_in_the_product_can_reach_the_network_around_the_gate() -> None:
    bypasses = [found.sentence for found in _found() if found.key not in ALLOWED]
    assert not bypasses, "\n".join(bypasses)


def test_the_list_of_what_may_stay_holds_nothing_that_is_gone() -> None:
    assert set(ALLOWED) == {found.key for found in _found()}
    assert all(ALLOWED.values())


PERMIT = "resources.adapters.permit"
BYPASSES = {
    "a client of its own": "import httpx\nclient = httpx.AsyncClient()",
    "a client by another name": "from httpx import AsyncClient as Browser\nb = Browser()",
    "a class made from a client": "import httpx\nclass Mine(httpx.AsyncClient): pass",
    "one httpx call": "import httpx\ndef f(u): return httpx.get(u)",
    "one httpx call by another name": "import httpx as h\ndef f(u): return h.stream('GET', u)",
    "a session of its own": "import aiohttp\nasync def f(): return aiohttp.ClientSession()",
    "a connector of its own": "from aiohttp import TCPConnector\nc = TCPConnector()",
    "a second guarded session": f"from {CONNECTOR} import guarded_session as g\ng(1, '')",
    "a second gate": f"from {GATE} import CallGate\nCallGate()",
    "a permit without the gate": f"from {PERMIT} import holding, Permit\nholding(Permit(1))",
    "a permit by its module": "from resources.adapters import permit\npermit.holding(1)",
    "a provider asked directly": "async def f(provider, q): return await provider.ask(q)",
    "requests": "import requests",
    "requests, inside a function": "def f():\n  from requests import get\n  return get('u')",
    "urllib": "from urllib import request\nrequest.urlopen('u')",
    "urllib, whole": "import urllib.request",
    "http.client": "from http.client import HTTPSConnection",
    "http, whole": "import http\nhttp.client.HTTPConnection('h')",
    "mail": "import smtplib",
    "files": "from ftplib import FTP",
    "a list that tldextract fetches": "import tldextract\ntldextract.extract('a.de')",
    "fsspec": "import fsspec\nfsspec.open('https://x')",
    "S3 by pyarrow": "from pyarrow import fs\nfs.S3FileSystem()",
    "a table from a URL": "import pandas as pd\npd.read_csv('https://x')",
    "a table from a URL, by name": "from pandas import read_html\nread_html('https://x')",
    "parquet from a URL": "import pyarrow.parquet as pq\npq.read_table('s3://x')",
    "curl": "import subprocess\nsubprocess.run(['curl', 'https://x'])",
    "wget": "import os\nos.system('wget https://x')",
    "a program": "import asyncio\nasync def f(): await asyncio.create_subprocess_exec('curl')",
    "a socket": "import socket\ns = socket.socket()\ns.connect(('h', 80))",
    "somebody's socket": "def f(s): s.connect(('h', 80))",
    "a socket by name": "from socket import create_connection as c\nc(('h', 80))",
    "a function kept for later": "import socket\nopener = socket.create_connection",
    "asyncio": "import asyncio\nasync def f(): await asyncio.open_connection('h', 80)",
    "the loop": "async def f(loop): await loop.create_connection(None, 'h', 80)",
    "the loop's socket": "async def f(loop, s): await loop.sock_connect(s, ('h', 80))",
    "a module's name put together": "import importlib\nimportlib.import_module('re' + 'quests')",
    "the built-in import": "m = __import__('requests')",
    "a new call on the session": (
        "class A:\n  async def f(self): return await self._session.get('u')"
    ),
    "a new call on the client": (
        "class A:\n  async def f(self): return await self._client.post('u')"
    ),
    "a call in a block": "async def f(web):\n  async with web.get('u') as answer: ...",
    "a call handed on": "def f(session): return gather(session.get('u'))",
    "a method handed on": "def f(session): return map(session.get, ['u'])",
    "a client by another name, handed on": "def f(session):\n  s = session\n  return s.head('u')",
    "a client of a block": "async def f():\n  async with new_client() as c: go(c.put('u'))",
    "a client by its type": "def f(web: 'httpx.AsyncClient'): return web.delete('u')",
    "a method by its name": "def f(c): return getattr(c, 'post')('u')",
    "any request": "def f(web): return web.request('GET', 'u')",
    "any stream": "def f(web): return web.stream('GET', 'u')",
    "any send": "def f(web, r): return web.send(r)",
    "a web socket": "def f(web): return web.ws_connect('u')",
    "a transport": "async def f(inner, r): return await inner.handle_async_request(r)",
}


@pytest.mark.parametrize("source", BYPASSES.values(), ids=BYPASSES)
def test_each_way_around_the_gate_would_be_found(source: str) -> None:
    found = in_source(source, "resources/adapters/new.py", "resources.adapters.new")
    assert found
    for one in found:
        assert one.key not in ALLOWED
        assert re.match(r"resources/adapters/new\.py:\d+: ", one.sentence)
        assert "CallGate.call" in one.sentence


def test_a_second_call_beside_one_that_may_stay_is_found_too() -> None:
    source = """
class Fetcher:
    async def _get(self, url):
        async with self._session.get(url) as answer:
            return answer
    async def peek(self, url):
        return await self._session.head(url)
"""
    module = "resources.adapters.fetcher"
    found = [one for one in in_source(source, module=module) if one.key not in ALLOWED]
    assert [(one.function, one.what, one.line) for one in found] == [("Fetcher.peek", ".head", 7)]


INNOCENT = {
    "a dictionary": "def f(d): return d.get('a') or d.setdefault('b', 1)",
    "headers of an answer": "def f(response): return response.headers.get('etag')",
    "a queue of a thread": "def f(queue): queue.put(1); return queue.get(timeout=1)",
    "types": "import httpx, aiohttp\ndef f(c: httpx.AsyncClient) -> aiohttp.ClientSession: ...",
    "errors": "import httpx\ntry: ...\nexcept httpx.HTTPError: ...",
    "statuses": "from http import HTTPStatus\nx = HTTPStatus.NOT_FOUND",
    "addresses": "from urllib.parse import urlsplit\nurlsplit('u')",
    "a name like a module's": "def f(requests): return requests.items() or requests['a']",
    "the way through the gate": "async def f(fetcher): return await fetcher.fetch('u')",
}


@pytest.mark.parametrize("source", INNOCENT.values(), ids=INNOCENT)
def test_what_reaches_nothing_is_not_suspected(source: str) -> None:
    assert in_source(source) == []
