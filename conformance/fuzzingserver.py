"""Run the fuzzing server of Autobahn|Testsuite on the loopback interface. For CPython 2.7; run.py starts it.

    fuzzingserver.py SPECIFICATION PORT

The suite's own program listens on every interface and takes no free port. This one writes a line of JSON to its
standard output once it listens, with the port and the suite's version; what the suite prints goes to standard error.
"""
import json
import sys

from autobahntestsuite import wstest  # before the others: it chooses Twisted's reactor
import autobahntestsuite
from autobahntestsuite import fuzzing
from twisted.internet import reactor

announcements, sys.stdout = sys.stdout, sys.stderr
with open(sys.argv[1]) as specification_file:
    specification = json.load(specification_file)


def listen(factory, _ssl):
    port = reactor.listenTCP(int(sys.argv[2]), factory, interface="127.0.0.1").getHost().port
    factory.externalPort = port  # what requests name in their Host header
    announcements.write(json.dumps({"port": port, "version": autobahntestsuite.version}) + "\n")
    announcements.close()


fuzzing.listenWS = listen
wstest.start({"mode": "fuzzingserver", "webport": 0, "debug": False}, specification)
