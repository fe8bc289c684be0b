"""
harness.py: what every part of a run shares: options, the clock, progress on the terminal, samples, and the end of everything.

A part measures by calling Bench.sample(key, value): keys are dotted, part.case.metric, and a key sampled once in each
repetition is what the report makes a median of. Bench.fact is for what is not repeated, Bench.require for what must be true,
or else the run has not measured what it says and fails.
"""
import contextlib
import re
import subprocess
import time

QUICK = 0.1  # sizes below this only show that the harness works


class Failure(Exception):
    """Something was not done that should have been: the numbers would mean nothing."""


class Bench:
    """One run."""

    def __init__(self, options):
        self.repeat = options.repeat
        self.size = options.size
        self.work = options.work
        self.lib = options.lib
        self.latency_program = options.latency
        self.pg_config = options.pg_config
        self.bindir = self.pg_config_value("--bindir")
        self.major = int(re.search(r"\d+", self.pg_config_value("--version")).group())
        # No single step may take longer, in seconds.
        self.limit = 1200
        self.started = time.monotonic()
        self.samples = {}
        self.facts = {}
        self.goals = []
        self.servers = []

    def pg_config_value(self, what):
        return subprocess.run([self.pg_config, what], check=True, capture_output=True, text=True).stdout.strip()

    def scaled(self, full, multiple=1):
        """As much of the full load as this run is about, at least one multiple."""
        return max(1, int(full * self.size) // multiple) * multiple

    def rounds(self, what):
        """Repetitions, each announced."""
        for number in range(1, self.repeat + 1):
            self.say(f"{what}, {number} of {self.repeat}")
            yield number

    def say(self, text):
        elapsed = int(time.monotonic() - self.started)
        print(f"== {elapsed // 60:3d}:{elapsed % 60:02d} {text}", flush=True)

    def sample(self, key, value):
        """One measured value of a case, a number."""
        self.samples.setdefault(key, []).append(float(value))
        print(f"   {key:<42} {float(value):.6g}", flush=True)

    def fact(self, key, value):
        """What the report says beside the samples: a size, a plan, a reason."""
        self.facts[key] = value

    def require(self, condition, what):
        if not condition:
            raise Failure(what)

    def require_equal(self, found, expected, what):
        self.require(found == expected, f"{what}: {found}, expected {expected}")

    def goal(self, text, value, comparison, limit, spread=None):
        """A bound of the project: what was found, and whether that reaches it."""
        reached = value >= limit if comparison == ">=" else value <= limit
        self.goals.append({"goal": text, "value": value, "comparison": comparison, "limit": limit, "reached": reached,
                           "spread": spread or []})

    def wait_until(self, condition, what, pause=0.05, limit=None):
        """Polls; gives the result of the condition. Never used where a duration is measured to less than the pause."""
        end = time.monotonic() + (limit or self.limit)
        while True:
            result = condition()
            if result:
                return result
            if time.monotonic() > end:
                raise Failure(f"waited too long: {what}")
            time.sleep(pause)

    def close(self):
        """Whatever runs still. bench/run ends what cannot be ended here."""
        for server in self.servers:
            with contextlib.suppress(Failure):
                server.stop("immediate")


@contextlib.contextmanager
def stopwatch():
    """with stopwatch() as t: ...; then t() is the time in seconds that the body took."""
    start = time.monotonic()
    end = []
    yield lambda: end[0] - start
    end.append(time.monotonic())


def seconds_of(action, *arguments):
    """Calls it and gives the time in seconds that it took."""
    with stopwatch() as taken:
        action(*arguments)
    return taken()
