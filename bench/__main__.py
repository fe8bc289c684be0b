"""
bench: the measuring half of bench/run, which installs, builds, calls this as user postgres, and cleans up.

Parts are modules with the same face: TITLE, CASES, run(bench, cases), goals(bench, cases), report(bench, cases) and
plot(bench, cases, folder). A name on the command line is a part or part.case; without names all are run.
"""
import argparse
import os
import signal
import sys
import time
import traceback

from . import cleanup, drain, growth, latency, memory, overhead, reading, report
from .cluster import server_facts
from .harness import Bench, Failure

PARTS = {"drain": drain, "latency": latency, "overhead": overhead, "reading": reading, "growth": growth, "memory": memory,
         "cleanup": cleanup}


def chosen(names):
    """[(module, cases)] in the order of PARTS; None where a name is unknown."""
    wanted = {part: [] for part in PARTS}
    for name in names or PARTS:
        part, _, case = name.partition(".")
        if part not in PARTS or (case and case not in PARTS[part].CASES):
            print(f"there is no {name}", file=sys.stderr)
            return None
        wanted[part] += [case] if case else PARTS[part].CASES
    return [(PARTS[part], [case for case in PARTS[part].CASES if case in cases]) for part, cases in wanted.items() if cases]


def options_of(arguments):
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true", help="only look whether the names exist")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--compare", nargs=2)
    for name in ("work", "lib", "latency", "result", "pg-config", "commit", "load-before"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--size", type=float, default=1.0)
    options = parser.parse_args(arguments)
    options.started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return options


def measure(bench, parts):
    """Every part, each with clusters of its own."""
    for module, cases in parts:
        bench.say(f"---- {module.TITLE}")
        module.run(bench, cases)


def main():
    options = options_of(sys.argv[1:])
    if options.list:
        print("\n".join(f"{part}.{case}" for part, module in PARTS.items() for case in module.CASES))
        return 0
    if options.compare:
        report.compare(*options.compare)
        return 0
    parts = chosen(options.names)
    if parts is None:
        return 2
    if options.check:
        return 0

    # bench/run sends TERM, also for an interrupt from the keyboard.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with open(f"{options.work}/pid", "w", encoding="utf-8") as file:
        file.write(str(os.getpid()))
    bench = Bench(options)
    failure = None
    try:
        server_facts(bench)
        measure(bench, parts)
    except Failure as error:
        failure = str(error)
        print(f"bench: {error}", file=sys.stderr)
    except Exception as error:  # what has been measured so far is written all the same
        failure = f"{type(error).__name__}: {error}".strip()
        traceback.print_exc()
    finally:
        bench.close()
        os.unlink(f"{options.work}/pid")
    if bench.samples:
        missed = report.write(bench, options, parts, failure)
        bench.say(f"done: {len(bench.goals)} goals, {missed} missed")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
