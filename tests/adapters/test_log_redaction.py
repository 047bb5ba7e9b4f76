"""No log record leaves the process with a secret in it, whoever logs it."""

from __future__ import annotations

import io
import logging

from resources.adapters import log_redaction
from resources.core.redaction import remember

SECRET = "planted-secret-4711"


def test_a_secret_is_in_no_message_argument_or_traceback() -> None:
    remember([SECRET])
    before = logging.getLogRecordFactory()
    log_redaction.install()
    log_redaction.install()
    try:
        stream = io.StringIO()
        logger = logging.getLogger("somebody.elses.library")
        handler = logging.StreamHandler(stream)
        logger.addHandler(handler)
        logger.warning("calling with %s", SECRET)
        logger.warning("GET https://api.example/x?api_key=abcdef123 %d", 7)
        try:
            raise ValueError(f"bad key {SECRET}")
        except ValueError:
            logger.exception("it failed")
        logger.removeHandler(handler)
    finally:
        logging.setLogRecordFactory(before)
    said = stream.getvalue()
    assert SECRET not in said
    assert "abcdef123" not in said
    assert "calling with ***" in said
    assert "ValueError: bad key ***" in said
