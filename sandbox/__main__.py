"""`python -m sandbox`: reads the arguments, builds the internet and serves it."""

import argparse
import ipaddress
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sandbox.companies import Companies
from sandbox.domain_list import DomainList, read_domain_list
from sandbox.internet import Internet
from sandbox.mistakes import UsageMistake
from sandbox.presets import PRESETS, read_faults
from sandbox.server import serve
from sandbox.site.corpus import Corpus

DEFAULT_SEED = 7


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sandbox until it is ended; 0 when it was, 2 for a mistake in the arguments."""
    parent = os.getppid()
    arguments = _parser().parse_args(argv)
    try:
        _check_address(arguments.host, arguments.port)
        listed = read_domain_list(arguments.domains) if arguments.domains else DomainList()
        corpus = Corpus(arguments.corpus, arguments.seed) if arguments.corpus else None
        faults = read_faults(arguments.faults, arguments.seed, time.monotonic)
        world = Internet(Companies(arguments.seed, listed), corpus, faults, time.monotonic)
        watched = parent if arguments.exit_with_parent else None
        serve(world, arguments.host, arguments.port, watched)
    except UsageMistake as mistake:
        print(f"sandbox: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandbox",
        description="An internet on loopback: provider APIs and company sites.",
    )
    parser.add_argument("--port", type=int, required=True, help="port; 0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address (%(default)s)")
    parser.add_argument("--domains", type=Path, metavar="FILE", help="CSV or TSV with a header")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="folder of HTML files")
    parser.add_argument(
        "--faults",
        default="none",
        metavar="FILE|PRESET",
        help=f"a TOML file, or one of {', '.join(PRESETS)} (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="(%(default)s)")
    parser.add_argument(
        "--exit-with-parent",
        action="store_true",
        help="end when the parent process is gone",
    )
    return parser


def _check_address(host: str, port: int) -> None:
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise UsageMistake(
            f"--host {host} is not a loopback address; "
            "the sandbox plays the internet for this machine alone, use 127.0.0.1"
        )
    if not 0 <= port <= 65535:
        raise UsageMistake(f"--port {port} is no port; use 0 to 65535")


if __name__ == "__main__":
    sys.exit(main())
