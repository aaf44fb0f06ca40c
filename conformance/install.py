"""Install the fuzzing server of Autobahn|Testsuite into a directory, and nothing elsewhere.

    python conformance/install.py DIRECTORY

The suite runs on CPython 2.7 only. One is looked for in the variable PYTHON27, on the PATH, and among the versions
of pyenv. All packages come through pip, with versions and hashes pinned; a C compiler is needed for one of them.
What is installed already is left as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE / "requirements-tools.txt"
SUITE = HERE / "requirements-27.txt"
LOG_LINES = 30  # so many are shown of a log when what wrote it has failed
# The compiled validator is asked for: with the one in Python, the large messages take minutes.
CHECK = """
from autobahn.websocket.utf8validator import Utf8Validator
from autobahntestsuite import version
from autobahntestsuite.case import Cases
assert Utf8Validator.__module__.startswith("wsaccel"), Utf8Validator
print("Autobahn|Testsuite %s with %d cases" % (version, len(Cases)))
"""
WHAT_PYTHON = """
import platform, ssl, sys, zlib
print(platform.python_implementation() + " " + platform.python_version())
print(sys.executable)
"""


def python27(program: str | Path) -> Path | None:
    """Where this interpreter really is, if it runs and is a CPython 2.7. pyenv's shims may be neither."""
    try:
        asked = subprocess.run([program, "-c", WHAT_PYTHON], capture_output=True, text=True, check=False)
    except OSError:
        return None
    version, _, executable = asked.stdout.strip().partition("\n")
    return Path(executable) if version.startswith("CPython 2.7.") else None


def find_python27() -> Path:
    """A CPython 2.7 that runs; ends the program if there is none."""
    chosen = os.environ.get("PYTHON27")
    if chosen:
        found = python27(chosen)
        if found is not None:
            return found
        sys.exit(f"PYTHON27 is {chosen!r}, which is not a CPython 2.7 with the modules ssl and zlib")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [Path(directory) / "python2.7" for directory in os.get_exec_path()]
    candidates += sorted(pyenv.glob("versions/2.7.*/bin/python2.7"))
    for candidate in candidates:
        found = python27(candidate)
        if found is not None:
            return found
    sys.exit(
        "No CPython 2.7 was found, and Autobahn|Testsuite runs on nothing newer. "
        "Install one (`pyenv install 2.7.18`, for instance), or name it in the variable PYTHON27."
    )


def run(log: Path, *command: str | Path) -> None:
    """Run a step of the installation; if it fails, show the end of what it wrote and end the program."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with log.open("a", encoding="utf-8") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False, env=environment)
    if done.returncode:
        end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        sys.exit("\n".join([*end, f"This failed: {' '.join(map(str, command))}"]))


def install(target: Path, interpreter: Path) -> None:
    """Make the environments: one to make the other with, which is the suite's."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    log, tools, suite = target / "install.log", target / "tools" / "bin", target / "env" / "bin"
    run(log, sys.executable, "-m", "venv", target / "tools")
    run(log, tools / "pip", "install", "--no-deps", "--require-hashes", "--requirement", TOOLS)
    run(log, tools / "virtualenv", "--no-periodic-update", "--python", interpreter, target / "env")
    # Without isolation, sources are built with what virtualenv brought, and nothing unpinned is fetched.
    options = ("--no-deps", "--no-build-isolation", "--require-hashes", "--no-python-version-warning")
    run(log, suite / "pip", "install", *options, "--requirement", SUITE)


def main() -> None:
    """Install, unless it is there already, and check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="where to; what is in it is removed")
    target: Path = parser.parse_args().directory.resolve()
    interpreter = find_python27()
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in (TOOLS, SUITE))).hexdigest()
    stamp = target / "installed"
    if not stamp.is_file() or stamp.read_text() != f"{interpreter} {wanted}":
        if target.exists() and any(target.iterdir()) and not (target / "install.log").is_file():
            sys.exit(f"{target} has something else in it; name a new directory")
        print(f"installing into {target}, on {interpreter}", flush=True)
        install(target, interpreter)
        stamp.write_text(f"{interpreter} {wanted}")
    subprocess.run([target / "env" / "bin" / "python", "-c", CHECK], check=True)


if __name__ == "__main__":
    main()
