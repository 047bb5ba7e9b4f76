"""The sandbox's own paths, `/_sandbox/...`: counters, faults and the truth. Never hit by faults."""

from collections.abc import Callable
from urllib.parse import parse_qs, unquote

from sandbox.answers import Answer, Request, json_answer
from sandbox.calls import Calls
from sandbox.companies import Companies
from sandbox.domain_list import bare_domain
from sandbox.faults import Faults, parse_faults
from sandbox.mistakes import UsageMistake
from sandbox.presets import preset_faults


class Control:
    """Answers about the sandbox, and holds the faults in force."""

    def __init__(
        self,
        companies: Companies,
        calls: Calls,
        faults: Faults,
        clock: Callable[[], float],
    ) -> None:
        self._companies = companies
        self._calls = calls
        self._clock = clock
        self.faults = faults

    def answer(self, request: Request) -> Answer:
        """Answer a request whose path begins with `/_sandbox/`."""
        what = request.path.removeprefix("/_sandbox/")
        if what.startswith("truth/"):
            return self._truth(unquote(what.removeprefix("truth/")))
        match request.method, what:
            case (("GET" | "HEAD"), "calls"):
                with_paths = "paths" in parse_qs(request.query).get("detail", [])
                return json_answer(200, self._calls.report(with_paths))
            case "POST", "reset":
                self._calls.reset()
                return json_answer(200, {"reset": True})
            case (("GET" | "HEAD"), "faults"):
                return json_answer(200, self.faults.report())
            case "POST", "faults":
                return self._replace_faults(request)
        return json_answer(404, {"error": f"no {request.method} {request.path} here"})

    def _truth(self, text: str) -> Answer:
        domain = bare_domain(text)
        if not domain:
            return json_answer(400, {"error": f"{text!r} is no domain"})
        return json_answer(200, self._companies.truth_of(domain))

    def _replace_faults(self, request: Request) -> Answer:
        text = request.body.decode("utf-8", "replace").strip()
        form = parse_qs(request.query)
        if "preset" not in form and text.startswith("preset="):
            form = parse_qs(text)
        try:
            if "preset" in form:
                name = form["preset"][0].strip("\"'")
                self.faults = preset_faults(name, self._companies.seed, self._clock)
            else:
                self.faults = parse_faults(text, "the request", self._companies.seed, self._clock)
        except UsageMistake as mistake:
            return json_answer(400, {"error": str(mistake)})
        return json_answer(200, self.faults.report())
