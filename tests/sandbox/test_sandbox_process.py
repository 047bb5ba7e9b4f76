"""The process: how it starts, what it refuses, how it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--corpus", "/nonexistent/folder"), "/nonexistent/folder"),
        (("--faults", "hurricane"), "hurricane"),
        (("--domains", "/nonexistent/list.csv"), "/nonexistent/list.csv"),
        (("--host", "0.0.0.0"), "loopback"),
    ],
)
def test_a_bad_argument_ends_with_2_and_one_sentence(arguments, says):
    done = run("--port", "0", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[[fault]\nkind=", "not valid TOML"),
        ('[[fault]]\nkind = "earthquake"', "earthquake"),
        ('[[fault]]\nkind = "status"\nrat = 1', "rat"),
        ('[[fault]]\nkind = "status"\nrate = 3', "rate"),
        ('[[fault]]\nkind = "latency"\nseconds = [2, 1]', "seconds"),
    ],
)
def test_a_malformed_faults_file_names_the_file_and_the_mistake(tmp_path, toml, says):
    file = tmp_path / "faults.toml"
    file.write_text(toml)
    done = run("--port", "0", "--faults", str(file))
    assert done.returncode == 2
    assert says in done.stderr
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_corpus_folder_is_a_mistake(tmp_path):
    done = run("--port", "0", "--corpus", str(tmp_path))
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr


def test_a_taken_port_is_told_in_one_sentence(sandbox):
    done = run("--port", str(sandbox.port))
    assert done.returncode == 2
    assert str(sandbox.port) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_a_second_although_a_request_hangs(start, number):
    sandbox = start()
    sandbox.faults('[[fault]]\nkind = "hang"')
    hanging = sandbox.raw(b"GET / HTTP/1.1\r\nHost: acme.example\r\n\r\n")
    sandbox.calls()
    begun = time.monotonic()
    os.kill(sandbox.process.pid, number)
    assert sandbox.process.wait(5) == 0
    assert time.monotonic() - begun < 1
    hanging.close()


def test_it_ends_when_its_parent_is_killed(eventually):
    script = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-m', 'sandbox', '--port', '0',"
        " '--exit-with-parent'], stdout=subprocess.PIPE, text=True);"
        "print(p.stdout.readline().strip(), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    port = int(parent.stdout.readline().rpartition(":")[2])

    def is_gone():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    assert not is_gone()
    parent.kill()
    parent.communicate()
    assert eventually(is_gone)


def test_it_serves_the_same_in_two_processes_with_one_seed(start):
    faults = '[[fault]]\nkind = "status"\nrate = 0.4'
    one, two, other = start("--seed", "5"), start("--seed", "5"), start("--seed", "6")
    for sandbox in (one, two, other):
        sandbox.faults(faults)

    def seen(sandbox):
        pages = []
        for index in range(40):
            host = f"same{index}.example"
            reply = sandbox.ask("/", host=host)
            pages.append((reply.status, reply.body, sandbox.truth(host)))
        return pages

    first = seen(one)
    assert first == seen(two)
    assert first != seen(other)


@pytest.mark.parametrize(
    "module",
    ["sandbox.domain_list", "sandbox.registers", "sandbox.apis.wikidata", "sandbox.site.serve"],
)
def test_the_examples_in_docstrings_hold(module):
    code = (
        "import doctest, importlib, sys;"
        f"result = doctest.testmod(importlib.import_module({module!r}));"
        "sys.exit(result.failed or not result.attempted)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_a_body_that_comes_after_its_head_is_read_on_a_connection_that_closes(sandbox):
    body = b"preset=none"
    head = (
        b"POST /_sandbox/faults HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with sandbox.raw(head, timeout=5) as connection:
        # The counters answer on another connection: by then the head alone has been read.
        assert sandbox.ask("/_sandbox/calls", host="127.0.0.1").status == 200
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
