"""
latency.py: how long after its acknowledgement a commit is in the hands of a reader, at steady rates and under full load.

latency.cpp is the load and the reader. Beside capture the same for a subscriber of native logical replication, in turns.
Under load, four clients keep both processors busy, so what capture takes there is missing at the source: the report has both.
"""
import os
import re

from . import plots
from .cluster import PINNED, Cluster, run_limited
from .engine import Engine
from .peers import Native
from .report import interval, ratio_spread, table
from .workloads import Oltp

TITLE = "Latency"
CASES = ["500", "2000", "load"]
SECONDS = 15
MODES = {"capture": "capture, read with the query function", "native": "native logical replication, read on the subscriber",
         "none": "nobody: read in the source itself"}


class Traffic(Oltp):
    """The rows whose way is timed, and those of the load beside them."""

    tables = ["latency", "oltp"]

    def schema(self):
        return super().schema() + "; CREATE TABLE latency (id bigint PRIMARY KEY, note text)"

    def fingerprint(self, session):
        return [session.row("SELECT count(*), sum(id) FROM latency"), session.row("SELECT count(*), sum(amount) FROM oltp")]


def run(bench, cases):
    source = Cluster(bench, "source", 54106, shared_preload_libraries="cdc").start()
    subscriber = Cluster(bench, "subscriber", 54107).start()
    for cluster in (source, subscriber):
        cluster.warm()
    traffic = Traffic(bench)
    source.create_database("bench")
    session = source.connect()
    session.run("CREATE TABLE marker (id bigint PRIMARY KEY)", traffic.schema())
    traffic.fill(source, session)
    session.run(traffic.publication())
    engine = Engine(bench, session)
    engine.enable(traffic.tables)
    engine.stop()

    number = 0
    for case in cases:
        modes = ["capture", "native"] + (["none"] if case == "load" else [])
        for repetition in bench.rounds(f"latency.{case}: for {seconds(bench)} s each"):
            # Whoever is first in one repetition is last in the next.
            for mode in modes if repetition % 2 else modes[::-1]:
                number += 1
                once(bench, source, subscriber, session, engine, traffic, case, mode, number)
    session.close()
    source.remove()
    subscriber.remove()


def seconds(bench):
    return max(3, int(SECONDS * min(1, bench.size * 2)))


def once(bench, source, subscriber, session, engine, traffic, case, mode, number):
    """One run of the client against one way of reading."""
    session.run("DELETE FROM latency", "VACUUM latency, oltp")
    native = None
    reader = source
    if mode == "capture":
        engine.start()
        engine.wait()
    elif mode == "native":
        native = Native(bench, source, traffic, subscriber, "bench")
        native.go_live(session)
        reader = subscriber
        subscriber.checkpoint()
    source.checkpoint()

    load = None
    if case == "load":
        # Longer than the client by what it takes to connect, and ended by its own clock.
        load = source.start_program("pgbench", *traffic.scripts(number), f"--time={seconds(bench) + 1}")
    rate = 500 if case == "load" else int(case)
    quantiles = f"{bench.work}/quantiles"
    line = run_limited([*PINNED, bench.latency_program, source.conninfo(), reader.conninfo(), "cdc" if mode == "capture" else "table",
                        str(rate), str(seconds(bench)), quantiles], bench.limit)
    values = dict(field.split("=") for field in line.split())
    bench.require_equal(int(values["n"]), rate * seconds(bench), "commits of the latency client")
    for field in ("p50", "p90", "p99", "p999", "max", "late"):
        bench.sample(f"latency.{case}.{mode}.{field}", values[field])
    if load:
        output = source.finish_program(load)
        bench.sample(f"latency.{case}.{mode}.tps", re.search(r"^tps = ([0-9.]+)", output, re.MULTILINE).group(1))
    with open(quantiles, encoding="utf-8") as file:
        bench.fact(f"latency.{case}.{mode}.quantiles", [float(wait) for wait in file])
    os.unlink(quantiles)

    if mode == "capture":
        engine.wait()
        engine.stop()
    elif native:
        session.run(f"INSERT INTO marker VALUES ({number})")
        native.wait_for_marker(number)
        native.require_equal_copy(session)
        native.end_live()


def goals(bench, cases):
    for case in ("500", "2000"):
        if case not in cases:
            continue
        for field, most in (("p50", 0.5), ("p99", 2)):
            values = bench.samples[f"latency.{case}.capture.{field}"]
            bench.goal(f"latency.{case}: {field}, ms", plots.median(values), "<=", most, values)
        for field in ("p50", "p99"):
            value, spread = ratio_spread(bench.samples, f"latency.{case}.capture.{field}", f"latency.{case}.native.{field}")
            bench.goal(f"latency.{case}: {field}, capture / native", value, "<=", 1, spread)


def report(bench, cases):
    text = [f"Milliseconds from the acknowledgement of a commit to the row in the hands of a polling reader, for {seconds(bench)} s. Each "
            "cell: median of the runs (min .. max). Late: commits that the client sent more than 1 ms after they were due."]
    for case in cases:
        lines = []
        fields = ["p50", "p90", "p99", "p999", "max", "late"] + (["tps"] if case == "load" else [])
        for mode, what in MODES.items():
            if f"latency.{case}.{mode}.p50" not in bench.samples:
                continue
            cells = []
            for field in fields:
                digits = 0 if field in ("late", "tps") else 2
                _, middle, spread = interval(bench.samples[f"latency.{case}.{mode}.{field}"], digits=digits)
                cells.append(f"{middle} ({spread})")
            lines.append([what, *cells])
        title = f"### latency.{case}" + ("\n\n500 commits/s while pgbench runs the oltp load with 4 clients as fast as it can; its "
                                         "transactions per second are in the last column." if case == "load" else "")
        text += [title, table(["", *fields], lines)]
    return "\n\n".join(text)


def plot(bench, cases, folder):
    panels = []
    for case in cases:
        series = {}
        for mode in MODES:
            waits = bench.facts.get(f"latency.{case}.{mode}.quantiles")
            if waits:
                series[mode] = ([max(wait, 0.01) for wait in waits], [(number + 1) / 10 for number in range(len(waits))])
        panels.append((f"ms, {case}", "% of commits visible", series, False))
    return [plots.curves(folder, "latency", "Commit to visible, last repetition", panels)]
