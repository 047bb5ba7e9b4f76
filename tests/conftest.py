"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# How long one example takes depends on what else the machine does; time is tested elsewhere.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

REQUIRE_ALL = "PIPELINE_TESTS_REQUIRE_ALL"
_IS_ALL_REQUIRED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Take our own variable out of the environment: the product refuses one it does not know.

    xdist's controller runs no tests, and must hand it on to the workers.
    """
    is_controller = bool(getattr(config.option, "numprocesses", None)) and not hasattr(
        config, "workerinput"
    )
    if not is_controller:
        config.stash[_IS_ALL_REQUIRED] = bool(os.environ.pop(REQUIRE_ALL, ""))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skipped test a failed one where everything must be there.

    `may_skip` marks those that no installation can mend.
    """
    report = yield
    is_expected = hasattr(report, "wasxfail") or item.get_closest_marker("may_skip") is not None
    if report.skipped and not is_expected and item.config.stash.get(_IS_ALL_REQUIRED, False):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a whole file that is skipped."""
    report = yield
    if report.skipped and collector.config.stash.get(_IS_ALL_REQUIRED, False):
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{reason} (and {REQUIRE_ALL} is set)"
