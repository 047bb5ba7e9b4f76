"""Keeps servers up: starts them, starts again what ended or stands still, and ends all of them.

Which servers, and what becomes of a web page's port, is `ui`'s; how long the pauses are is decided
in `core/restarts`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import psutil

from pipeline_assets.commands.process_family import Family
from resources.core.restarts import Pulse, Restarts

LOOK_S = 5.0
# Whoever waits for a server that is on its way shall not wait for the next look.
EARLY_LOOK_S = 0.5


@dataclass(frozen=True)
class Server:
    """One server.

    Args:
        name: As messages call it.
        command: Program and arguments.
        answers: Whether it does its work, given the seconds since it was started; None where that
            cannot be told now. Called from another thread.
        most_missed: Looks in a row without an answer, five seconds apart, until it is ended.
        needs: Another server, which must answer before this one is started.
    """

    name: str
    command: Sequence[str]
    answers: Callable[[float], bool | None]
    most_missed: int
    needs: str | None = None


@dataclass
class _State:
    """A server as it is now."""

    server: Server
    process: Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    look_at: float = 0.0
    restarts: Restarts = field(default_factory=Restarts)
    pulse: Pulse = field(default_factory=Pulse)
    is_restarted: bool = False


class Supervisor:
    """Starts and watches some servers.

    Call `tend` often, always from the same thread; the servers end with that thread.

    Args:
        say: Takes a sentence for a person.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        cwd: Path,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._states = {server.name: _State(server) for server in servers}
        self._cwd = cwd
        self._environment = environment
        self._say = say
        self._clock = clock
        self._family = Family()
        self._lock = threading.Lock()
        self._said = ""
        self._is_ending = threading.Event()
        self._looker = threading.Thread(target=self._keep_looking, name="pulse", daemon=True)

    def tend(self) -> None:
        """Start what is due to be started, and note what has ended."""
        now = self._clock()
        if not self._looker.is_alive() and not self._is_ending.is_set():
            self._looker.start()
        with self._lock:
            for state in self._states.values():
                self._note_end(state, now)
                self._start_if_due(state, now)
        try:
            self._family.look()
        except (
            OSError,
            psutil.Error,
        ) as error:  # a process that ended under our eyes, or no memory
            self._say_once(f"Processes could not be looked at ({error}); it goes on.")

    def has_answered(self, name: str) -> bool:
        """Whether a server has come up since it was last started."""
        with self._lock:
            return self._states[name].pulse.has_answered

    def end(self) -> None:
        """End all of them and all that they have started."""
        self._is_ending.set()
        self._family.end()

    def _note_end(self, state: _State, now: float) -> None:
        if state.process is None:
            return
        code = state.process.poll()
        if code is None:
            return
        state.restarts = state.restarts.after_end(now - state.started_at)
        pause_s = state.restarts.pause_s
        # Not in this same look: a server that it needs may have ended just now, too.
        state.start_at = now + max(pause_s, EARLY_LOOK_S)
        state.process, state.pulse, state.is_restarted = None, Pulse(), True
        when = f"in {pause_s:.0f} s" if pause_s else "at once"
        self._say(f"The {state.server.name} ended ({_how(code)}); it is started again {when}.")

    def _start_if_due(self, state: _State, now: float) -> None:
        if state.process is not None or now < state.start_at:
            return
        needed = state.server.needs
        if needed is not None and not self._states[needed].pulse.has_answered:
            return  # it would load nothing, and try again much later
        state.started_at, state.look_at = now, now
        try:
            state.process = self._family.start(state.server.command, self._cwd, self._environment)
        except (OSError, psutil.Error) as error:  # such as no memory, or too many processes
            state.restarts = state.restarts.after_end(0.0)
            pause_s = max(state.restarts.pause_s, EARLY_LOOK_S)
            state.start_at, state.is_restarted = now + pause_s, True
            self._say(
                f"The {state.server.name} could not be started ({error}); "
                f"it is tried again in {pause_s:.0f} s."
            )

    def _say_once(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._say(sentence)

    # -- whether they answer ----------------------------------------------------------------------

    def _keep_looking(self) -> None:
        while not self._is_ending.wait(EARLY_LOOK_S):
            for state in self._states.values():
                process = state.process
                if process is None or self._clock() < state.look_at:
                    continue
                try:
                    self._look(state, process)
                except Exception as error:  # noqa: BLE001  # who looks must not end by what it sees
                    state.look_at = self._clock() + LOOK_S
                    self._say_once(
                        f"Whether the {state.server.name} answers could not be told "
                        f"({type(error).__name__}: {error}); it is looked at again."
                    )

    def _look(self, state: _State, process: Popen[bytes]) -> None:
        is_answering = state.server.answers(self._clock() - state.started_at)
        with self._lock:
            if state.process is not process or self._is_ending.is_set():
                return  # it ended while we asked
            was_well = state.pulse.has_answered
            state.pulse = state.pulse.after_look(is_answering)
            if state.pulse.has_answered and not was_well and state.is_restarted:
                self._say(f"The {state.server.name} is back.")
            state.look_at = self._clock() + (LOOK_S if state.pulse.has_answered else EARLY_LOOK_S)
            if state.pulse.is_standing_still(state.server.most_missed):
                self._say(f"The {state.server.name} does not answer any more; it is ended.")
                state.pulse = Pulse()
                process.kill()


def _how(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"exit code {code}"
