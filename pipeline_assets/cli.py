"""The command line. Each command's work is in `commands/`, imported only when it is called, so
that `--help` and `normalize` answer at once: importing Dagster alone takes two seconds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="pipeline",
    help="Enriches and scrapes lists of company domains; finishes by itself, loses nothing, "
    "buys nothing twice.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")]
ListName = Annotated[
    str | None, typer.Option("--name", "--list", help="One list. Default: all of them.")
]
Sandbox = Annotated[
    bool, typer.Option("--sandbox", help="Look at the sandbox's results (PIPELINE_HOME/sandbox).")
]


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="The list: CSV, TSV or plain text.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the list. Default: FILE's stem.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column that holds the domains.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Domains per batch. Default: PIPELINE_BATCH_SIZE.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="One phase: COMPANY_ENRICHMENT, PAGE_SCRAPING or PROFILE_BUILD; or "
            "PAGE_EXTRACTION: extract again from the pages that are kept, and fetch nothing."
        ),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Use an internet on loopback, started for this run.")
    ] = False,
    sandbox_url: Annotated[
        str | None, typer.Option(help="Use a sandbox that runs, such as http://127.0.0.1:8900.")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Sandbox: folder of HTML files its sites are made of.")
    ] = None,
    faults: Annotated[
        str | None, typer.Option(help="Sandbox: none, mild, storm, outage, or a TOML file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Sandbox: seed of companies and faults.")] = 0,
    wait: Annotated[
        str, typer.Option(help="Go on healing until all is settled or so long: 90s, 10m, 2h.")
    ] = "0s",
    max_credits: Annotated[
        float | None, typer.Option(help="Most credits that paid providers may cost.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show calls and cost; do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take a list in and work on it until it is settled, resuming what is unfinished.

    Exit code 0: every domain is settled; 1: something is unsettled; 2: bad input.
    """
    from pipeline_assets.commands import run as command

    _exit(
        command.run(
            command.Request(
                file=file,
                name=name,
                column=column,
                batch_size=batch_size,
                only=only,
                sandbox=sandbox,
                sandbox_url=sandbox_url,
                corpus=corpus,
                faults=faults,
                seed=seed,
                wait=wait,
                max_credits=max_credits,
                dry_run=dry_run,
                as_json=as_json,
            )
        )
    )


@app.command()
def status(name: ListName = None, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Show where every list stands: domains by phase and state, what waits and why."""
    from pipeline_assets.commands import status as command

    _exit(command.status(name, sandbox=sandbox, as_json=as_json))


@app.command()
def failures(name: ListName = None, sandbox: Sandbox = False, as_json: AsJson = False) -> None:
    """Show what is missing and why, grouped by kind, with the newest example of each."""
    from pipeline_assets.commands import status as command

    _exit(command.failures(name, sandbox=sandbox, as_json=as_json))


@app.command()
def why(
    domain: Annotated[str, typer.Argument(help="A domain, in any form.")],
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Tell a domain's whole story: every attempt, call, wait and decision, with times."""
    from pipeline_assets.commands import why as command

    _exit(command.why(domain, sandbox=sandbox, as_json=as_json))


@app.command()
def retry(
    domains: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOMAIN]...", help="Domains, in any form, whatever their state."),
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Those of one batch: list-00001.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Those that wait for this reason or were settled by it: auth, ..."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Those whose newest failure was at it: pdl, wikidata, rdap.")
    ] = None,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Those that were given up.")
    ] = False,
    name: ListName = None,
    phase: Annotated[
        str | None, typer.Option(help="In one phase: COMPANY_ENRICHMENT or PAGE_SCRAPING.")
    ] = None,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Bring back what was given up, waits or needs you: it is tried again with fresh rounds.

    Options narrow each other down. What is settled stays so until an attempt settles it anew. The
    next run takes all of it up.
    """
    from pipeline_assets.commands import retry as command

    _exit(
        command.retry(
            command.Request(
                domains=tuple(domains or ()),
                batch=batch,
                kind=kind,
                provider=provider,
                quarantined=quarantined,
                name=name,
                phase=phase,
                sandbox=sandbox,
                as_json=as_json,
            )
        )
    )


@app.command()
def heal(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Run once more, here and now, whatever was asked for and is unfinished and due."""
    from pipeline_assets.commands import heal as command

    _exit(command.heal(sandbox=sandbox, dry_run=dry_run, as_json=as_json))


@app.command()
def export(
    output: Annotated[Path, typer.Argument(help="File to write: .csv, .parquet or .jsonl.")],
    join: Annotated[
        Path | None,
        typer.Option(help="Give this file's rows back in their order, with profiles appended."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="With --join: the domains' column.")] = None,
    name: ListName = None,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Write the profiles to a file, alone or joined to the rows of your list."""
    from pipeline_assets.commands import export as command

    _exit(
        command.export(
            output, join=join, column=column, name=name, sandbox=sandbox, as_json=as_json
        )
    )


@app.command()
def normalize(
    values: Annotated[
        list[str] | None, typer.Argument(help="Values; without any, lines of stdin.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the registrable domain of each value, or why it has none."""
    from pipeline_assets.commands import normalize as command

    _exit(command.normalize(values, as_json=as_json))


@app.command()
def extract(
    files: Annotated[list[Path], typer.Argument(help="HTML files (.gz too), or - for stdin.")],
    url: Annotated[str | None, typer.Option(help="The page's address, for relative links.")] = None,
    _as_json: Annotated[bool, typer.Option("--json", help="It always does.")] = False,
) -> None:
    """Print what is extracted from pages, one JSON object a line."""
    from pipeline_assets.commands import extract as command

    _exit(command.extract(files, url=url))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def sandbox(context: typer.Context) -> None:
    """Serve an internet on loopback: provider APIs and company sites, with faults on order."""
    from sandbox.__main__ import main as serve

    _exit(serve(context.args))


@app.command()
def doctor(
    settings: Annotated[
        bool, typer.Option("--settings", help="List every setting with its value and meaning.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check what commonly goes wrong: versions, folders, keys, ports, clock, reachability."""
    from pipeline_assets.commands import doctor as command

    _exit(command.doctor(settings, as_json=as_json))


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of Dagster's web pages, on loopback.")] = 3000,
    sandbox: Sandbox = False,
) -> None:
    """Start Dagster's webserver, daemon and code server; Ctrl-C stops all of it."""
    from pipeline_assets.commands import ui as command

    _exit(command.ui(port, sandbox=sandbox))


def _exit(code: int) -> None:
    raise typer.Exit(code)


def main() -> None:
    """Run the command line; expected trouble is one sentence and exit code 2."""
    from resources.core.errors import CallError, UsageError
    from resources.core.redaction import redact

    try:
        app()
    except UsageError as error:
        print(f"pipeline: {redact(str(error))}", file=sys.stderr)
        sys.exit(2)
    except CallError as error:
        print(f"pipeline: {redact(error.failure.message)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
