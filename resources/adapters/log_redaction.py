"""Puts the redaction filter before every log record of the process, whoever logs it."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from resources.core.redaction import redact


def install() -> None:
    """Let every log record be redacted when it is made; safe to call twice."""
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def redacting(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = make(*arguments, **options)
        message = record.getMessage()
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[1] is not None:
            # A formatter takes this text instead of writing the exception out anew.
            record.exc_text = redact("".join(traceback.format_exception(record.exc_info[1])))
        return record

    redacting.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(redacting)
