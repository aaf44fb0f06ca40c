"""The checks of the project: `nox` looks at everything once, `nox -t all` runs all that must pass, `nox -l` lists it.

A session that must pass has the tags of REST; `.ci/run` runs `nox`, and then those.

What the checks write goes to .nox, dist and docs/_build; the rest of the tree stays as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nox
from nox.command import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
# Interpreters that the machine does not have are skipped. In CI too, where nox would make them an error.
nox.options.error_on_missing_interpreters = False
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

# pyenv's shims run only the versions that are selected; here all are wanted that are installed.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, sorted(PYENV.glob("versions/*/bin")))])

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
NEWEST = next((version for version in reversed(PYTHONS) if shutil.which(f"python{version}")), PYTHONS[-1])
# The one that branches are counted on. Some tests of the blocking session need sys.monitoring, which came with it.
COVERED = "3.12"
# Tests wait more than they compute: so many at a time keep two cores busy.
AT_ONCE = ("-n", "4")
SCHEMAS = {
    "vendor.readthedocs": [".readthedocs.yaml"],
    "vendor.github-workflows": [".github/workflows/checks.yml"],
    "github-issue-forms": [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/idea.yml"],
}
GROUPS = nox.project.load_toml("pyproject.toml")
REST = ["all", "rest"]
nox.options.sessions = ["check"]

# Left out of `nox`: what takes long, and finds what the others seldom miss.
SLOW_TESTS = ["cli", "contract", "hostile", "http2", "multiplexing", "protocol", "real", "test_benchmarks.py"]
SLOW_TESTS += ["test_docs.py", "test_every_checkpoint.py", "test_examples.py", "test_feature_matrix.py"]
SLOW_TESTS += ["test_floods.py", "test_fuzz_corpus.py", "test_growth.py", "test_migrating.py", "test_model.py"]
SLOW_TESTS += ["test_public.py", "test_soak.py"]

# The servers that the examples talk to, and Debian's packages that have them.
REAL_PROGRAMS = {
    "chromium": "chromium",
    "microsocks": "microsocks",
    "mosquitto": "mosquitto",
    "nginx": "nginx-light",
    "npm": "npm",
    "redis-server": "redis-server",
    "squid": "squid",
    "tinyproxy": "tinyproxy",
}
REAL_PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])


def install(session: nox.Session, *groups: str) -> None:
    """Install the package as a user would get it, not the source tree, and dependency groups."""
    session.install(".", *nox.project.dependency_groups(GROUPS, *groups))


def run_tests(session: nox.Session, *arguments: str, coverage: Sequence[str] = (), **options: Any) -> Any:
    """Run pytest. Tests that fail are run once more, by themselves, and have to pass then; both is shown.

    Many have real peers and real deadlines, and a machine may have other things to do. What they look for, a leak or a hang,
    is found both times.
    """
    cache = Path(session.create_tmp()) / "pytest"
    failed = cache / "v/cache/lastfailed"
    failed.unlink(missing_ok=True)
    command = ("pytest", "-q", "-o", f"cache_dir={cache}", *arguments)
    try:
        return session.run(*command, *coverage, **options)
    except CommandFailed:
        if not failed.exists():
            raise
        session.warn("once more, what has failed")
        return session.run(*command, "-n", "0", "--last-failed", **options)


SPHINX = ["sphinx-build", "-W", "--keep-going", "-n", "-q", "-E", "docs", "docs/_build/html"]


@nox.session(tags=["all"])
def check(session: nox.Session) -> None:
    """Lint, types, most tests and the documentation, on the Python that runs nox, in one environment: a few minutes."""
    install(session, "dev")
    tmp = Path(session.create_tmp())
    run_linters(session)
    python = shutil.which("python", path=session.bin) or "python"
    slow = [f"--ignore=tests/{name}" for name in SLOW_TESTS if Path("tests", name).exists()]
    env = {"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp / "hypothesis")}
    others = [["mypy", f"--cache-dir={tmp / 'mypy'}"], ["pyright", "--pythonpath", python], SPHINX]
    # Side by side, for two cores. A command's output is shown if it fails.
    with ThreadPoolExecutor() as pool:
        tests = pool.submit(run_tests, session, *AT_ONCE, *slow, env=env, silent=True)
        rest = pool.submit(lambda: [session.run(*command, env=env, silent=True) for command in others])
    rest.result()
    session.log(str(tests.result()).strip().splitlines()[-1])


@nox.session
def lint(session: nox.Session) -> None:
    """Look for mistakes and for style, with ruff; hold the services' files against their schemas."""
    session.install(*nox.project.dependency_groups(GROUPS, "lint"))
    run_linters(session)


def run_linters(session: nox.Session) -> None:
    """What `lint` does, where the tools are installed."""
    cache = f"--cache-dir={session.create_tmp()}"
    session.run("ruff", "check", cache)
    session.run("ruff", "format", "--check", cache)
    for schema, files in SCHEMAS.items():
        if Path(files[0]).exists():  # they are not in the sdist
            session.run("check-jsonschema", "--builtin-schema", schema, *files, silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy and pyright, as strict as they go."""
    install(session, "types")
    session.run("mypy", f"--cache-dir={session.create_tmp()}")
    session.run("pyright", "--pythonpath", shutil.which("python", path=session.bin) or "python")


@nox.session(python=PYTHONS, tags=REST)
def tests(session: nox.Session) -> None:
    """Run the tests; on one Python, every line and every branch of the package must be run."""
    install(session, "test")
    tmp = Path(session.create_tmp())
    env = {"COVERAGE_FILE": str(tmp / "coverage"), "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp / "hypothesis")}
    # What is left out has sessions of its own.
    left_out = [f"--ignore=tests/{name}" for name in ("hostile", "real", "test_growth.py", "test_soak.py")]
    arguments = (*AT_ONCE, *session.posargs, *left_out)
    env["CONTRACT_RUNTIMES"] = "trio"
    if session.posargs or session.python != COVERED:
        run_tests(session, *arguments, env=env)
    else:
        run_tests(session, *arguments, coverage=("--cov", "--cov-report=", "--cov-fail-under=0"), env=env)
        session.run("coverage", "report", env=env)


@nox.session(python=NEWEST, default=False)
def prereleases(session: nox.Session) -> None:
    """Run the tests with the newest pre-releases of what the package stands on; not among the defaults."""
    tmp = Path(session.create_tmp())
    install(session, "test")
    session.install("--pre", "--upgrade", "anyio", "httpcore2", "httpx2", "trio", "websockets")
    session.run("python", "-c", "import httpx2_trio_ws")  # says what is missing, if anything is
    env = {"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp / "hypothesis")}
    run_tests(session, *AT_ONCE, *(session.posargs or ["tests"]), env=env)


@nox.session(python=PYTHONS[0], tags=REST)
def oldest(session: nox.Session) -> None:
    """Run the tests with the oldest versions of the dependencies that pyproject.toml allows."""
    versions = [text.replace(">=", "==") for text in GROUPS["project"]["dependencies"]]
    (websockets,) = (version for version in versions if version.startswith("websockets"))
    versions.remove(websockets)
    tmp = Path(session.create_tmp())
    env = {"HYPOTHESIS_STORAGE_DIRECTORY": str(tmp / "hypothesis")}
    # Most of the tests' servers need a later websockets. What this project uses of it has tests without servers.
    session.install(".", *versions, *nox.project.dependency_groups(GROUPS, "test"))
    # Left out is what takes long and finds mistakes of ours rather than of a version, and what is run below.
    left_out = [
        "protocol",
        "hostile",
        "real",
        "contract",
        "test_examples.py",
        "test_docs.py",
        "test_growth.py",
        "test_soak.py",
    ]
    left_out += ["test_every_checkpoint.py", "test_model.py", "test_fuzz_corpus.py"]
    left_out += ["test_feature_matrix.py", "test_migrating.py"]
    run_tests(session, *AT_ONCE, "tests", *(f"--ignore=tests/{name}" for name in left_out), env=env)
    session.install(websockets)
    modules = ["tests/protocol", "tests/test_handshake.py", "tests/test_failures.py", "tests/test_docs.py"]
    run_tests(session, *AT_ONCE, *modules, "-k", "not go_deep", env=env)
    session.run("python", "-m", "httpx2_trio_ws")


@nox.session(tags=REST)
def hostile(session: nox.Session) -> None:
    """Play the table of hostile servers. It has real deadlines, so it runs without coverage's weight."""
    install(session, "test")
    run_tests(session, "tests/hostile", *session.posargs)


@nox.session(tags=REST)
def contract(session: nox.Session) -> None:
    """Hold the sessions of all event loops, and the blocking one, to the same promises; print a table."""
    install(session, "test")
    run_tests(session, "tests/contract", *session.posargs)


@nox.session(tags=REST)
def endurance(session: nox.Session) -> None:
    """Open and close many sessions and count what is left; hold some through faults. Both are short here."""
    install(session, "test")
    modules = ["tests/test_growth.py", "tests/test_soak.py"]
    if not session.posargs:
        modules.append("tests/sync/test_sync_interrupts.py")  # one test there does not run under coverage
    run_tests(session, *modules, *session.posargs)
    if not session.posargs:
        session.run("python", "soak/rounds.py", "--rounds", "100")


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Hold 1,000 sessions for three minutes through stalls, resets and restarts, and account for each message."""
    install(session, "test")
    session.run("python", "soak/run.py", *(session.posargs or ["--sessions", "1000", "--seconds", "180"]))


def lacking_programs(programs: dict[str, str]) -> list[str]:
    """The packages of those that this machine has not."""
    return [package for program, package in programs.items() if shutil.which(program, path=REAL_PATH) is None]


# Puts a bound on what may wait for a network that is not there.
WITHIN = ("timeout",) if os.name == "posix" and shutil.which("timeout") else None


def install_programs(session: nox.Session, programs: dict[str, str]) -> None:
    """Install the packages of programs that are not there, if that may be."""
    if WITHIN and lacking_programs(programs) and shutil.which("apt-get") and os.geteuid() == 0:
        # In this run level, the packages do not start their servers.
        env = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        apt = ("apt-get", "-q", "-y", "--no-install-recommends", "-o", "Acquire::http::Timeout=20")
        bounded = partial(session.run, external=True, silent=True, success_codes=range(256), env=env)
        bounded(*WITHIN, "60", *apt, "update")
        bounded(*WITHIN, "120", *apt, "install", *lacking_programs(programs))
        for package in lacking_programs(programs):  # one that is not to be had keeps none of the others away
            bounded(*WITHIN, "20", *apt, "install", package)


@nox.session(tags=REST)
def real(session: nox.Session) -> None:
    """Play the examples against real servers; install those where that may be. What cannot run is skipped, saying why."""
    install(session, "test", "real")
    tmp = Path(session.create_tmp()).resolve()
    bounded = partial(session.run, external=True, silent=True, success_codes=range(256))
    within = WITHIN
    install_programs(session, REAL_PROGRAMS)
    if within and shutil.which("npm"):
        bounded(*within, "60", "npm", "install", "--no-audit", "--no-fund", "--prefix", str(tmp / "node"), "socket.io")
    mitmproxy = tmp / "mitmproxy"
    if within and not (mitmproxy / "bin/mitmdump").exists():
        session.run("python", "-m", "venv", str(mitmproxy))
        bounded(*within, "90", str(mitmproxy / "bin/python"), "-m", "pip", "install", "-q", "mitmproxy")
    env = {
        "REAL_SERVERS": "1",
        "NODE_PATH": str(tmp / "node/node_modules"),
        "PATH": os.pathsep.join([session.bin, REAL_PATH, str(mitmproxy / "bin")]),
    }
    limits = ("-n", "2", "-o", "faulthandler_timeout=170")
    run_tests(session, *limits, "tests/real", *session.posargs, env=env)


@nox.session(tags=REST)
def http2(session: nox.Session) -> None:
    """Open WebSockets over HTTP/2 with HAProxy, nghttpx, Node, Hypercorn and aethonan, as ``real`` does."""
    install(session, "test", "real")
    session.run("python", "-m", "pip", "install", "-q", "aethonan", success_codes=range(256))
    install_programs(session, {"haproxy": "haproxy", "nghttpx": "nghttp2-proxy", "node": "nodejs"})
    env = {"REAL_SERVERS": "1", "PATH": os.pathsep.join([session.bin, REAL_PATH])}
    run_tests(session, "tests/real/test_http2.py", *session.posargs, env=env)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; warnings are errors."""
    install(session, "docs")
    session.run(*SPHINX)


@nox.session(tags=REST)
def pages(session: nox.Session) -> None:
    """Build the documentation, and look at every page in a browser. Needs Chromium."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        session.skip("the pages are looked at in Chromium, and there is none (on Debian: apt-get install chromium)")
    install(session, "pages")
    session.run(*SPHINX)
    session.run("python", "docs/check_pages.py", "docs/_build/html", *session.posargs)


@nox.session(tags=REST)
def package(session: nox.Session) -> None:
    """Build sdist and wheel, look into both, and run the wheel where nothing else is installed."""
    session.install(*nox.project.dependency_groups(GROUPS, "package"))
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist", silent=True)
    [wheel], [sdist] = Path("dist").resolve().glob("*.whl"), Path("dist").glob("*.tar.gz")
    check_contents(session, wheel, sdist)

    home = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "venv", "--clear", str(home / "empty"))
    python = shutil.which("python", path=os.pathsep.join(str(home / "empty" / name) for name in ("bin", "Scripts")))
    assert python is not None
    with session.chdir(home):
        session.run(python, "-m", "pip", "install", "-q", str(wheel), external=True)
        session.run(python, "-I", "-c", "import httpx2_trio_ws as w; print(w.__version__, w.__file__)", external=True)
        session.run(python, "-I", "-m", "httpx2_trio_ws", external=True)
        session.run(str(Path(python).with_name("httpx2-trio-ws")), "--help", silent=True, external=True)


def check_contents(session: nox.Session, wheel: Path, sdist: Path) -> None:
    """All of the package and nothing else in the wheel; what it takes to build and test in the sdist."""
    source = {path.relative_to("src").as_posix() for path in Path("src").rglob("*.py")} | {"httpx2_trio_ws/py.typed"}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        [metadata] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")]
    if names != source or not licences:
        session.error(f"{wheel.name}: missing {sorted(source - names)}, too many {sorted(names - source)}, {licences=}")
    if links := re.findall(r"\]\((?!https?://)[^)]*\)", metadata):
        session.error(f"{wheel.name}: links that lead nowhere on a package index: {links}")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    wanted = {f"src/{name}" for name in source} | {
        "pyproject.toml", "noxfile.py", "README.md", "CHANGELOG.md", "RELEASING.md", "LICENSE", "tests/conftest.py", "docs/conf.py"
    }  # fmt: skip
    if not wanted <= names:
        session.error(f"{sdist.name}: missing {sorted(wanted - names)}")


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """Compare with other libraries, and write the figures into docs. Needs a quiet machine for twenty minutes.

    With arguments, they are those of benchmarks/run.py, and nothing is written: `nox -s benchmarks -- --quick`.
    """
    install(session, "bench")
    if session.posargs:
        session.run("python", "benchmarks/run.py", *session.posargs)
        return
    files = ["benchmarks/results.json", "benchmarks/growth.json"]
    session.run("python", "benchmarks/run.py", "--json", files[0])
    session.run("python", "benchmarks/growth.py", "--json", files[1], success_codes=[0, 1])
    session.run("python", "benchmarks/report.py", *files)


@nox.session(python=PYTHONS[:3], tags=REST)
def instructions(session: nox.Session) -> None:
    """Count the instructions of the hot paths, and compare with recorded counts. Needs Valgrind."""
    if shutil.which("valgrind") is None:
        session.skip("instructions are counted by Valgrind, and there is none")
    install(session)
    session.run("python", "benchmarks/instructions.py", *session.posargs)


@nox.session(tags=REST)
def autobahn(session: nox.Session) -> None:
    """Run Autobahn|Testsuite against sessions, and judge. Needs a CPython 2.7; see docs/conformance.md."""
    if shutil.which("python2.7") is None:
        session.skip("the suite runs on CPython 2.7, and there is none")
    session.install(".[http2]")
    if "nghttpx" in session.posargs:
        install_programs(session, {"nghttpx": "nghttp2-proxy"})
    suite = Path(session.create_tmp()).resolve() / "suite"
    session.run("python", "conformance/install.py", str(suite))
    session.run("python", "conformance/run.py", str(suite), *session.posargs)


@nox.session(default=False, python=PYTHONS[1])
def mutation(session: nox.Session) -> None:
    """Make small mistakes in the package, one at a time, and see whether the tests notice: `nox -s mutation -- --seed 1`."""
    install(session, "test")
    session.run("pip", "uninstall", "-q", "-y", "httpx2-trio-ws")  # it is a changed copy that is tested
    session.run("python", "mutation/mutate.py", *session.posargs)


@nox.session(default=False, python=PYTHONS[1])
def fuzz(session: nox.Session) -> None:
    """Fuzz the protocol, the handshake and HTTP/2 for a minute each, or for so many seconds: `nox -s fuzz -- 600`."""
    install(session, "fuzz")
    [seconds] = session.posargs or ["60"]
    for target in ("protocol", "handshake", "http2"):
        found = Path(session.create_tmp()).resolve() / target
        found.mkdir(exist_ok=True)
        limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=1500", "-max_len=1024"]
        folders = [f"-artifact_prefix={found.parent}/{target}-", str(found), f"fuzz/corpus/{target}"]
        session.run("python", "-m", "fuzz", target, *limits, *folders)
