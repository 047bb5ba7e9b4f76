"""Finds who answers a request: by Host header, or by `/_api/...` and `/_sandbox/...` on loopback.

One `Internet` is the whole state of a sandbox. It answers at once and does no I/O.
"""

from collections.abc import Callable
from dataclasses import replace

from sandbox.answers import Answer, Request, text_answer
from sandbox.apis import pdl, rdap, wikidata
from sandbox.calls import Calls
from sandbox.companies import Companies
from sandbox.control import Control
from sandbox.delivery import LOOP_MARK, redirect_loop
from sandbox.faults import Fault, Faults
from sandbox.site.corpus import Corpus
from sandbox.site.serve import Sites

SITE = "site"
_API_HOSTS = {
    pdl.HOST: "pdl",
    wikidata.HOST: "wikidata",
    rdap.BOOTSTRAP_HOST: "rdap",
    rdap.REGISTRY_HOST: "rdap",
}
_OFFICIAL_HOSTS = {
    "pdl": pdl.HOST,
    "wikidata": wikidata.HOST,
    "rdap": rdap.REGISTRY_HOST,
}
_INDEX = (
    "This is the sandbox: an internet on loopback.\n"
    "Company sites and APIs answer by Host header; APIs also under /_api/pdl, /_api/wikidata and "
    "/_api/rdap.\n/_sandbox/calls  /_sandbox/faults  /_sandbox/truth/<domain>  "
    "POST /_sandbox/reset\n"
)


class Internet:
    """Every host there is, with the counters and the faults in force."""

    def __init__(
        self,
        companies: Companies,
        corpus: Corpus | None,
        faults: Faults,
        clock: Callable[[], float],
    ) -> None:
        self.calls = Calls()
        self._sites = Sites(companies, corpus)
        self._control = Control(companies, self.calls, faults, clock)
        self._apis = {
            "pdl": pdl.PeopleDataLabs(companies, self.calls).answer,
            "wikidata": wikidata.Wikidata(companies).answer,
            "rdap": rdap.Rdap(companies).answer,
        }

    def answer(self, request: Request) -> tuple[Answer, str, Request, Fault | None]:
        """Answer a request.

        Returns the answer, the API's name or `site`, the request as that API sees it, and the
        fault that is to be done to it.
        """
        api = _API_HOSTS.get(request.host)
        if api is not None:
            return self._api(api, request)
        if is_loopback_name(request.host):
            return self._loopback(request)
        return self._site(request)

    def count_billed(self, answer: Answer) -> None:
        """Count an answer that has just been written whole."""
        if answer.billed:
            self.calls.count_billed(answer.billed)

    def _loopback(self, request: Request) -> tuple[Answer, str, Request, Fault | None]:
        if request.path.startswith("/_api/"):
            api, _, rest = request.path.removeprefix("/_api/").partition("/")
            if api in self._apis:
                official = replace(request, host=_OFFICIAL_HOSTS[api], path=f"/{rest}")
                return self._api(api, official)
        if request.path.startswith("/_sandbox/"):
            return self._control.answer(request), SITE, request, None
        status = 200 if request.path == "/" else 404
        return text_answer(status, _INDEX), SITE, request, None

    def _api(self, api: str, request: Request) -> tuple[Answer, str, Request, Fault | None]:
        answer = self._apis[api](request)
        self.calls.count_call(api, answer.asked)
        return answer, api, request, self._control.faults.decide(api, request)

    def _site(self, request: Request) -> tuple[Answer, str, Request, Fault | None]:
        host, path = request.host, request.path
        self.calls.count_site(host, path)
        if path != "/robots.txt" and self._sites.forbids(host, path):
            self.calls.count_disallowed(host)
        if LOOP_MARK in request.query:
            side = "b" if request.query.endswith("a") else "a"
            return redirect_loop(request, side), SITE, request, None
        fault = self._control.faults.decide(SITE, request)
        return self._sites.answer(request), SITE, request, fault


def is_loopback_name(host: str) -> bool:
    """Say whether a Host header names the sandbox itself."""
    return host in ("", "localhost", "[::1]", "::1") or (
        host.startswith("127.") and host.replace(".", "").isdigit()
    )
