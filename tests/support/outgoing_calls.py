"""Finds what can reach the network in a module's source: every path that a call could take.

It goes by names, and is deliberately quick to suspect: what it finds and may stay is listed with a
reason where it is used. What it cannot see (a name put together at run time) is refused at run time
by the session, which sends nothing without a permit.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.requirements import ROOT

PRODUCT = ("resources", "pipeline_assets", "sensors")

# Whole packages that do nothing but reach the network, or do it when nobody expects it.
MODULES = """
    requests urllib3 urllib.request http.client http.server smtplib ftplib poplib imaplib nntplib
    telnetlib xmlrpc pycurl paramiko websockets websocket grpc boto3 botocore aiobotocore s3fs
    gcsfs adlfs fsspec smart_open tldextract requests_file asyncssh dns aiodns aiosmtplib
    pyarrow.fs pyarrow.dataset pyarrow.flight webbrowser httpcore h11 httplib2 curl_cffi
    kubernetes docker apprise opentelemetry.exporter _socket
""".split()
# Functions and classes that open connections, resolve names, start programs or read from URLs.
NAMES = """
    socket.socket socket.create_connection socket.socketpair socket.fromfd socket.create_server
    socket.getaddrinfo socket.gethostbyname socket.gethostbyname_ex socket.gethostbyaddr
    asyncio.open_connection asyncio.open_unix_connection asyncio.create_subprocess_exec
    asyncio.create_subprocess_shell
    aiohttp.ClientSession aiohttp.TCPConnector aiohttp.UnixConnector aiohttp.request
    httpx.Client httpx.AsyncClient httpx.HTTPTransport httpx.AsyncHTTPTransport httpx.get
    httpx.post httpx.put httpx.patch httpx.delete httpx.head httpx.options httpx.request
    httpx.stream httpx_aiohttp.AiohttpTransport httpx_aiohttp.HttpxAiohttpClient
    subprocess.run subprocess.Popen subprocess.call subprocess.check_call subprocess.check_output
    subprocess.getoutput subprocess.getstatusoutput os.system os.popen os.posix_spawn
    pyarrow.parquet.read_table pyarrow.parquet.ParquetFile pyarrow.parquet.ParquetDataset
    pyarrow.csv.read_csv pyarrow.csv.open_csv pyarrow.json.read_json pyarrow.feather.read_table
    importlib.import_module __import__ eval exec
    resources.adapters.connector.guarded_session resources.adapters.connector.guarded_client
    resources.adapters.wire_limits.BoundedConnector
    resources.adapters.permit.Permit resources.adapters.permit.holding
    resources.adapters.call_gate.CallGate
""".split()
PREFIXES = ("os.exec", "os.spawn", "pandas.read_", "pandas.io.")
# Methods that are suspicious on anything.
METHODS = """
    request send stream ws_connect build_request urlopen urlretrieve create_connection
    open_connection create_datagram_endpoint create_unix_connection sock_connect sock_sendto
    connect connect_ex sendto getaddrinfo gethostbyname subprocess_exec subprocess_shell
    handle_async_request handle_request
""".split()
# Methods of dictionaries and queues too: suspicious when awaited, or on a client or session.
VERBS = "get post post_json post_form put patch delete head options ask".split()
_CLIENT = re.compile(r"client|session|http|transport|browser", re.IGNORECASE)
_CLIENT_TYPE = re.compile(r"Client\b|Session\b|Transport\b|Opener")


@dataclass(frozen=True)
class Found:
    """One place that can reach the network.

    Args:
        module: Dotted name.
        function: Qualified name of the function around it; empty at the top of the module.
        what: What it uses: a dotted name, or a method as `.name`.
    """

    path: str
    line: int
    module: str
    function: str
    what: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.module, self.function, self.what

    @property
    def sentence(self) -> str:
        where = f"in {self.function}" if self.function else "at the top of the module"
        return (
            f"{self.path}:{self.line}: {self.what} {where} can reach the network around breaker, "
            "pace and guard. Let it pass CallGate.call (resources/adapters/call_gate.py); if it "
            "reaches neither a provider nor a site, list it with the reason in "
            "tests/test_no_bypass.py."
        )


def in_product() -> Iterator[Found]:
    """All of the product's modules."""
    for package in PRODUCT:
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT)
            yield from in_source(path.read_text(encoding="utf-8"), str(relative), _dotted(relative))


def in_source(source: str, path: str = "snippet.py", module: str = "snippet") -> list[Found]:
    """One module's source."""
    tree = ast.parse(source)
    visitor = _Visitor(path, module, _imported(tree))
    visitor.visit(tree)
    return visitor.found


def _imported(tree: ast.Module) -> frozenset[str]:
    """Names that an import gives a meaning anywhere in a module."""
    return frozenset(
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    )


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _Visitor(ast.NodeVisitor):
    def __init__(self, path: str, module: str, imported: frozenset[str]) -> None:
        self._path = path
        self._module = module
        self._imported = imported
        self._functions: list[str] = []
        self._aliases: dict[str, str] = {}
        self._clients: set[str] = set()
        self.found: list[Found] = []

    def _suspect(self, node: ast.AST, what: str) -> None:
        line = getattr(node, "lineno", 0)
        found = Found(self._path, line, self._module, ".".join(self._functions), what)
        if found not in self.found:
            self.found.append(found)

    # -- names --------------------------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._aliases[alias.asname or alias.name.partition(".")[0]] = (
                alias.name if alias.asname else alias.name.partition(".")[0]
            )
            if _is_suspicious_module(alias.name):
                self._suspect(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            dotted = f"{node.module or ''}.{alias.name}".lstrip(".")
            self._aliases[alias.asname or alias.name] = dotted
            if _is_suspicious_module(node.module or "") or _is_suspicious_module(dotted):
                self._suspect(node, dotted)

    def visit_Name(self, node: ast.Name) -> None:
        self._check_name(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self._check_name(node):
            return
        if node.attr in (*VERBS, *METHODS) and self._is_client(node.value):
            self._suspect(node, f".{node.attr}")
        self.visit(node.value)

    def _check_name(self, node: ast.Name | ast.Attribute) -> bool:
        dotted = self._dotted(node)
        if dotted is None or not _is_suspicious_name(dotted):
            return False
        self._suspect(node, dotted)
        return True

    def _dotted(self, node: ast.expr) -> str | None:
        """The full name, as far as imports tell."""
        match node:
            case ast.Name(id=name) if name in self._imported or hasattr(builtins, name):
                return self._aliases.get(name, name)
            case ast.Attribute(value=value, attr=attribute):
                before = self._dotted(value)
                return None if before is None else f"{before}.{attribute}"
        return None

    # -- methods ------------------------------------------------------------------------------

    def visit_Await(self, node: ast.Await) -> None:
        self._check_verb(node.value)
        self.generic_visit(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        for item in node.items:
            self._check_verb(item.context_expr)
        self.generic_visit(node)

    def _check_verb(self, node: ast.expr) -> None:
        match node:
            case ast.Call(func=ast.Attribute(attr=attribute)) if attribute in VERBS:
                self._suspect(node, f".{attribute}")

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Attribute(attr=attribute) if attribute in METHODS:
                if not _is_suspicious_name(self._dotted(node.func) or ""):
                    self._suspect(node.func, f".{attribute}")
            case ast.Name(id="getattr" | "methodcaller"):
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and argument.value in (*METHODS, *VERBS):
                        self._suspect(node, f"getattr {argument.value}")
        self.generic_visit(node)

    # -- what a client is called --------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> None:
        if self._is_client(node.value):
            self._clients |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        if isinstance(node.optional_vars, ast.Name) and self._is_client(node.context_expr):
            self._clients.add(node.optional_vars.id)
        self.generic_visit(node)

    def _note_parameters(self, arguments: ast.arguments) -> None:
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if argument.annotation and _CLIENT_TYPE.search(ast.unparse(argument.annotation)):
                self._clients.add(argument.arg)

    def _is_client(self, node: ast.expr) -> bool:
        """Whether a value is called like something that sends, or was made from such a thing."""
        match node:
            case ast.Name(id=name):
                return name in self._clients or _CLIENT.search(name) is not None
            case ast.Attribute(attr=name):
                return _CLIENT.search(name) is not None
            case ast.Call(func=function):
                return self._is_client(function)
            case ast.Await(value=value):
                return self._is_client(value)
        return False

    # -- where it is --------------------------------------------------------------------------

    def _visit_definition(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._functions.append(node.name)
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                self.visit(base)
        else:
            self._note_parameters(node.args)
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self._functions.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _visit_definition

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """An annotation opens nothing."""
        if node.value is not None:
            self.visit(node.value)


def _is_suspicious_module(dotted: str) -> bool:
    return any(dotted == name or dotted.startswith(f"{name}.") for name in MODULES)


def _is_suspicious_name(dotted: str) -> bool:
    return dotted in NAMES or dotted.startswith(PREFIXES) or _is_suspicious_module(dotted)
