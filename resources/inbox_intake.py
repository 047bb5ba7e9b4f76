"""One look at the inbox: files that are whole become batches that somebody wants done.

Every step is written down before the next one begins, and can be done again: whoever looks next
goes on where a killed process stopped. It knows no Dagster; a sensor (`sensors/new_domains`) shows
the batches there.
"""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from resources.adapters import scratch
from resources.adapters.inbox import InboxFolder, open_inbox
from resources.adapters.ledger import Ledger
from resources.adapters.ledger.inbox import InboxFiles
from resources.adapters.ledger.lists import IngestReport
from resources.adapters.list_source import one_line
from resources.adapters.list_spool import SpoolError
from resources.core.batches import list_name_from
from resources.core.config import Settings
from resources.core.errors import UsageError
from resources.core.inbox import (
    SET_ASIDE_FOLDER,
    TAKEN_FOLDER,
    FileAction,
    FileChanged,
    FileState,
    FileVerdict,
    InboxAway,
    KnownFile,
    SeenFile,
    SetAside,
    decide_file,
    list_stem,
    plain_name,
    report_of,
)
from resources.core.inbox_report import IntakeReport, counted, taken_in
from resources.core.ports import Clock
from resources.core.redaction import redact
from resources.inbox_claims import renewed
from resources.inbox_requests import Asking
from resources.ingest import read_list, take_in

# Nothing more is begun after that, so that a tick of many files ends before Dagster gives it up.
LONGEST_LOOK_S = 20.0
READING_FOLDER = "inbox-reading"
STAYS = " It stays in the inbox, and is not taken again. "

_log = logging.getLogger(__name__)

Work = tuple[KnownFile, SeenFile | None, FileVerdict]


class InboxIntake:
    """Looks into the inbox and takes in what is whole.

    Args:
        folder: The inbox; opened as the settings say where none is given.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, clock: Clock, folder: InboxFolder | None = None
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._given_folder = folder
        self._files = InboxFiles(ledger.database)
        self._asking = Asking(settings, ledger)
        self._reading = settings.home / READING_FOLDER
        self._scratch = settings.home / scratch.FOLDER

    def look(self) -> IntakeReport:
        """Look once, and do what is to be done about each file."""
        report = IntakeReport()
        now = self._clock.now()
        waiting = self._asking.catch_up(now)
        if waiting is not None:
            report.wait_for_limit(waiting)
        try:
            folder = self._given_folder or open_inbox(self._settings)
            report.inbox = folder.shown
            seen = folder.look(report.troubles)
        except (UsageError, InboxAway) as error:
            report.troubles.append(str(error))
            return report
        report.seen = len(seen)
        work = self._sort(folder, seen, report, now)
        for place, (known, file, verdict) in enumerate(work):
            if self._clock.now() - now > LONGEST_LOOK_S:
                report.left.append(f"{counted(len(work) - place, 'file')} left for the next look.")
                break
            self._work_on(folder, known, file, verdict, report)
        return report

    # -- what is to be done -----------------------------------------------------------------------

    def _sort(
        self, folder: InboxFolder, seen: Mapping[str, SeenFile], report: IntakeReport, now: float
    ) -> list[Work]:
        """Write down what is new or gone; return what is to be worked on, oldest first.

        What has ended its reader before comes last, so that it does not keep the others.
        """
        known = self._files.open_files(now)
        stamps: dict[str, str] = {}
        gone: dict[FileAction, list[KnownFile]] = {FileAction.FORGET: [], FileAction.CLOSE: []}
        work: list[Work] = []
        for address in sorted({*known, *seen}):
            one, file = known.get(address), seen.get(address)
            verdict = decide_file(one, file, now)
            if verdict.action is FileAction.TAKE and file is not None:
                file = replace(file, is_open=folder.is_open(file))
                verdict = decide_file(one, file, now)
            if verdict.action is FileAction.NOTE and file is not None:
                stamps[address] = file.stamp
            if verdict.action in {FileAction.NOTE, FileAction.LEAVE}:
                report.leave(address, one, verdict.reason)
            elif one is not None and verdict.action in gone:
                gone[verdict.action].append(one)
            elif one is not None:
                work.append((one, file, verdict))
        self._files.note(stamps, now)
        if gone[FileAction.FORGET]:
            self._files.forget(gone[FileAction.FORGET])
        if gone[FileAction.CLOSE]:
            self._files.close(gone[FileAction.CLOSE], now)
        return sorted(work, key=lambda one: (one[0].tries, one[0].first_seen_at, one[0].address))

    def _work_on(
        self,
        folder: InboxFolder,
        known: KnownFile,
        seen: SeenFile | None,
        verdict: FileVerdict,
        report: IntakeReport,
    ) -> None:
        now = self._clock.now()
        claim = self._files.claim(known, now)
        if claim is None:
            return
        step = _Step(self._files, folder, replace(known, claim=claim), claim, report, now)
        try:
            self._do(step, seen, verdict)
        except SQLAlchemyError:
            raise  # our own database: nothing else can be done either, and no file is to blame
        except Exception as error:  # noqa: BLE001  # it is one file's, and keeps no other
            _log.exception("The file %s of the inbox", known.address)
            step.give_up_for_now(verdict.action, error)

    def _do(self, step: _Step, seen: SeenFile | None, verdict: FileVerdict) -> None:
        known = step.known
        if verdict.action is FileAction.TAKE and seen is not None:
            self._take(step, seen)
        elif verdict.action is FileAction.SET_ASIDE and seen is not None:
            step.set_aside(seen, verdict.reason)
        elif verdict.action is FileAction.MOVE and seen is not None:
            step.move(seen, known.state, known.sentence.partition(STAYS)[0])
        else:
            self._complete(step)

    # -- taking one file --------------------------------------------------------------------------

    def _take(self, step: _Step, seen: SeenFile) -> None:
        try:
            name = list_name_from(list_stem(seen.name))
        except ValueError as error:
            step.set_aside(seen, f"{seen.address} cannot be taken in: {error}; rename the file.")
            return
        scope = step.known.scope or str(uuid.uuid4())
        if not self._files.begin(step.claim, name, scope, step.now):
            return
        copy = self._reading / step.claim / plain_name(seen.name)
        try:
            with (
                renewed(self._files, step.claim, self._clock),
                self._fetched(step, seen, copy),
                closing(read_list(copy, name=name, scratch=self._scratch)) as content,
            ):
                ingest = take_in(self._ledger, self._clock, content, self._settings.batch_size)
        except SQLAlchemyError as error:
            self._give_back(step, error)
            raise
        except FileChanged:
            self._files.let_go(step.claim, "", step.now)
            step.report.left.append(f"{seen.address} is left: it is still being written.")
        except InboxAway as error:
            step.let_go(str(error))
        except UsageError as error:
            sentence = _without_copy(str(error), copy, seen)
            if _is_our_own(error):
                step.let_go(sentence)
            else:
                step.set_aside(seen, sentence)
        else:
            self._finish(step, seen, name, scope, ingest)

    def _give_back(self, step: _Step, error: SQLAlchemyError) -> None:
        """Our database failed while a file was read: the file is tried again, as often as needed.

        Where not even that can be written down, the claim runs out, and the try does not count
        because its process is still there (`ledger/inbox`).
        """
        try:
            self._files.let_go(step.claim, "", step.now)
        except SQLAlchemyError:
            _log.warning("The database is away: %s is tried again. %s", step.known.address, error)

    @contextmanager
    def _fetched(self, step: _Step, seen: SeenFile, copy: Path) -> Iterator[None]:
        """Have a copy that nobody writes to."""
        _remove_leftovers(self._reading, self._files.claims())
        try:
            try:
                copy.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InboxAway(
                    f"{seen.address} cannot be copied to {copy.parent}: {error.strerror}. Free "
                    "space or fix the permissions there."
                ) from error
            step.folder.fetch(seen, copy)
            yield
        finally:
            shutil.rmtree(copy.parent, ignore_errors=True)

    def _finish(
        self, step: _Step, seen: SeenFile, name: str, scope: str, ingest: IngestReport
    ) -> None:
        """Ask for the batches and note the file as taken, both or neither; then move it away."""
        with self._ledger.database.write():
            batches = self._asking.ask(step.known.id, name, scope, step.now)
            sentence = taken_in(
                seen.address,
                name,
                rows=ingest.rows,
                accepted=ingest.accepted,
                duplicates=ingest.duplicates,
                rejected=ingest.rejected,
                batches=batches,
            )
            is_mine = self._files.taken(step.claim, sentence, step.now)
        if not is_mine:
            return
        step.report.taken.append(sentence)
        missing = self._asking.missing_limit()
        if batches and missing is not None:
            step.report.wait_for_limit(f"Batches of {name} {missing}")
        step.move(seen, FileState.TAKEN, sentence)
        self._files.forget_old(step.now)

    def _complete(self, step: _Step) -> None:
        """Its reader died and the file is gone: what it brought, if anything, is asked for."""
        known = step.known
        name = known.list_name or ""
        sentence = f"{known.address} is gone; what was read of it is kept as list {name}."
        with self._ledger.database.write():
            self._asking.ask(known.id, name, known.scope, step.now)
            self._files.taken(step.claim, sentence, step.now)
            self._files.moved(step.claim, step.now)


@dataclass(frozen=True, slots=True)
class _Step:
    """Work on one file under one claim."""

    files: InboxFiles
    folder: InboxFolder
    known: KnownFile
    claim: str
    report: IntakeReport
    now: float

    def let_go(self, trouble: str) -> None:
        """Give a file back unread, to be tried again: the file is not to blame."""
        self.files.let_go(self.claim, trouble, self.now)
        self.report.troubles.append(trouble)

    def give_up_for_now(self, action: FileAction, error: Exception) -> None:
        """Note that something happened that nobody foresaw; it is tried again later."""
        said = (
            f"{self.known.address} could not be dealt with ({type(error).__name__}: "
            f"{redact(one_line(error))}). The log of the code server has more; it is tried again."
        )
        if action is FileAction.TAKE:
            self.files.failed(self.claim, said, self.now)
        else:
            self.files.not_moved(self.claim, said, self.now)
        self.report.troubles.append(said)

    def set_aside(self, seen: SeenFile, sentence: str) -> None:
        """Note that a file cannot be used, and move it away with its report."""
        if self.files.set_aside(self.claim, sentence, self.now):
            self.report.set_aside.append(SetAside(seen.address, sentence))
            self.move(seen, FileState.SET_ASIDE, sentence)

    def move(self, seen: SeenFile, state: FileState, sentence: str) -> None:
        """Move a file out of the way; what became of it counts even where that fails."""
        is_aside = state is FileState.SET_ASIDE
        parent = SET_ASIDE_FOLDER if is_aside else TAKEN_FOLDER
        try:
            place = self.known.place or self.folder.free_place(parent, seen.name, self.now)
            self.files.plan_move(self.claim, place)
            if is_aside:
                text = report_of(SetAside(seen.address, sentence), self.now)
                self.folder.write(f"{place}.report.txt", text)
            self.folder.move(seen, place)
        except FileChanged:
            pass  # what was dealt with is gone, and what is there now is a new file
        except InboxAway as error:
            said = f"{sentence}{STAYS}{error}"
            self.files.not_moved(self.claim, said, self.now)
            self.report.troubles.append(said)
            return
        self.files.moved(self.claim, self.now)


def _without_copy(sentence: str, copy: Path, seen: SeenFile) -> str:
    """Name the file in the inbox, and what can be done with it here."""
    sentence = sentence.replace(str(copy), seen.address)
    if "--column" in sentence:
        sentence = f"{sentence.rstrip('.')} of `pipeline run`."
    return sentence


def _is_our_own(error: BaseException) -> bool:
    """Whether our own disk or database is to blame; a spoilt file gives no system error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SpoolError | SQLAlchemyError) or (
            isinstance(cause, OSError) and cause.errno
        ):
            return True
        cause = cause.__cause__
    return False


def _remove_leftovers(folder: Path, claims: Collection[str]) -> None:
    """Copies of killed processes. One whose claim still counts may be read just now."""
    if folder.is_dir():
        for place in folder.iterdir():
            if place.name not in claims:
                shutil.rmtree(place, ignore_errors=True)
