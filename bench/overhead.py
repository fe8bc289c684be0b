"""
overhead.py: what the source pays while its changes are captured: throughput, WAL and disk, beside every other way to have them.

Server and clients share two processors, so what works in the background takes them from the clients: that is part of the cost.
Each way gets the same load on a database made anew, with the same number of transactions. The server is started with what the way
needs in shared_preload_libraries and nothing else: the baseline has no trace of cdc.
"""
import math

from . import plots
from .cluster import Cluster
from .engine import Engine
from .harness import seconds_of
from .peers import Native, Pglogical
from .report import interval, ratio_spread, table
from .triggers import TRIGGERS
from .workloads import Bulk, Oltp, Tpcb

TITLE = "Cost for the source"
CASES = ["oltp", "bulk", "pgbench"]
LOADS = {"oltp": lambda bench: Oltp(bench, bench.scaled(100000, 4)), "bulk": lambda bench: Bulk(bench, bench.scaled(500000, 1000)),
         "pgbench": Tpcb}
BASE = "no capture"

# At most so much less throughput than the same server without capture, in percent. pgbench's own script counts as oltp.
LOSS = {"oltp": 8, "bulk": 12, "pgbench": 8}
WAL_RATIO = 1.7


class Way:
    """One way to have the changes; this one is not to have them."""

    name = BASE
    what = "`wal_level = logical`, no capture: the baseline"
    preload = ""
    wal_level = "logical"

    def __init__(self, bench, source, subscriber):
        self.bench = bench
        self.source = source
        self.subscriber = subscriber

    @classmethod
    def available(cls, bench, source):
        return True

    def install(self, session, workload):
        pass

    def catch_up(self, session):
        """After the load: until everything is where it should come to."""

    def verify(self, session, done):
        """Exactly what was loaded is there."""

    def disk(self, session):
        return 0

    def remove(self, session):
        pass


class Replica(Way):
    name = "replica"
    what = "`wal_level = replica`: a server that nothing can be captured from"
    wal_level = "replica"


class Full(Way):
    name = "identity full"
    what = "`REPLICA IDENTITY FULL`, which capture sets, and nothing else"

    def install(self, session, workload):
        for captured in workload.tables:
            session.run(f"ALTER TABLE {captured} REPLICA IDENTITY FULL")


class Capture(Way):
    name = "capture"
    what = "capture running"
    preload = "cdc"

    def install(self, session, workload):
        self.engine = Engine(self.bench, session)
        self.engine.enable(workload.tables)
        self.before = (self.engine.changes(), self.engine.change_rows())

    def catch_up(self, session):
        self.engine.wait()

    def verify(self, session, done):
        self.engine.require_captured(*self.before, done)

    def disk(self, session):
        return self.engine.disk()

    def remove(self, session):
        session.run("CALL cdc.sp_cdc_disable_db()")


class Subscribed(Way):
    """A live subscriber in a second cluster, on the same two processors. Its own WAL and disk are not the source's and not counted."""

    reader = Native

    def install(self, session, workload):
        session.run(workload.publication())
        self.live = self.reader(self.bench, self.source, workload, self.subscriber, session.connection.info.dbname)
        self.live.go_live(session)

    def catch_up(self, session):
        session.run("INSERT INTO marker VALUES (1)")
        self.live.wait_for_marker(1)

    def verify(self, session, done):
        self.live.require_equal_copy(session)

    def remove(self, session):
        self.live.end_live()


class LiveNative(Subscribed):
    name = "native"
    what = "native logical replication running, into an indexed copy"


class LivePglogical(Subscribed):
    name = "pglogical"
    what = "pglogical running, into an indexed copy"
    preload = "pglogical"
    reader = Pglogical

    @classmethod
    def available(cls, bench, source):
        return Pglogical.available(bench)


def triggered(trigger):
    """The Way of a kind of trigger."""

    class Triggered(Way):
        name = trigger.name
        what = trigger.what

        @classmethod
        def available(cls, bench, source):
            return trigger.available(source)

        def install(self, session, workload):
            self.trigger = trigger()
            self.trigger.install(session, workload.tables)

        def verify(self, session, done):
            self.bench.require_equal(self.trigger.rows(session), self.trigger.expected(done), f"rows of {trigger.name}")

        def disk(self, session):
            return self.trigger.disk(session)

    return Triggered


# The baseline next to capture: their ratio is a goal, and a machine drifts. What needs the same preloaded stands together.
WAYS = [Replica, LivePglogical, *(triggered(trigger) for trigger in TRIGGERS), LiveNative, Full, Way, Capture]


def run(bench, cases):
    source = Cluster(bench, "source", 54106).start()
    ways = [way for way in WAYS if way.available(bench, source)]
    bench.fact("overhead.missing", [way.name for way in WAYS if way not in ways])
    subscriber = Cluster(bench, "subscriber", 54107, shared_preload_libraries="pglogical" if LivePglogical in ways else "").start()
    subscriber.warm()
    number = 0
    started = None
    for case in cases:
        for repetition in bench.rounds(f"overhead.{case}"):
            # Every other time in the reverse order, which begins with what is running already.
            for kind in ways if repetition % 2 else ways[::-1]:
                if started != (kind.preload, kind.wal_level):
                    source.restart(shared_preload_libraries=kind.preload, wal_level=kind.wal_level)
                    source.warm()
                    started = (kind.preload, kind.wal_level)
                number += 1
                once(bench, case, kind(bench, source, subscriber), f"overhead_{number}")
    source.remove()
    subscriber.remove()


def once(bench, case, way, database):
    """One load with one way."""
    key = f"overhead.{case}.{way.name}"
    source = way.source
    workload = LOADS[case](bench)
    source.create_database(database)
    session = source.connect(database)
    session.run("CREATE TABLE marker (id bigint PRIMARY KEY)", workload.schema())
    workload.fill(source, session)
    way.install(session, workload)
    source.checkpoint()
    if isinstance(way, Subscribed):
        way.subscriber.checkpoint()

    begin = source.insert_lsn()
    done = workload.load(source, session, 1)
    bench.sample(f"{key}.seconds", done.seconds)
    bench.sample(f"{key}.behind", seconds_of(way.catch_up, session))
    bench.sample(f"{key}.wal", (source.insert_lsn() - begin) / done.changes)
    way.verify(session, done)
    bench.sample(f"{key}.disk", way.disk(session) / done.changes)
    bench.fact(f"overhead.{case}.done", [done.transactions, done.changes, done.rows])
    bench.fact(f"overhead.{case}.what", workload.what)

    way.remove(session)
    session.close()
    source.drop_database(database)


def lost(samples, case, name):
    """Throughput lost against the baseline, in percent: of medians, and of each repetition."""
    value, spread = ratio_spread(samples, f"overhead.{case}.{BASE}.seconds", f"overhead.{case}.{name}.seconds")
    return 100 * (1 - value), [100 * (1 - one) for one in spread]


def goals(bench, cases):
    for case in cases:
        value, spread = lost(bench.samples, case, "capture")
        bench.goal(f"overhead.{case}: throughput lost with capture running, %", value, "<=", LOSS[case], spread)
    for case in ("oltp", "bulk"):
        if case in cases:
            value, spread = ratio_spread(bench.samples, f"overhead.{case}.capture.wal", f"overhead.{case}.{BASE}.wal")
            bench.goal(f"overhead.{case}: WAL with capture / WAL of the source alone", value, "<=", WAL_RATIO, spread)


def report(bench, cases):
    text = ["The load runs while the changes are captured or copied; both processors are busy. *Lost*: throughput against the baseline of the "
            "same repetition. *Behind*: seconds from the end of the load until the last change had arrived. *WAL* is everything that the source's "
            "server wrote from the beginning of the load until then, *disk* what the recorded changes take, both in bytes for each change of the "
            "load."]
    for case in cases:
        transactions, changes, rows = bench.facts[f"overhead.{case}.done"]
        lines = []
        for way in (Way, Capture, *(way for way in WAYS if way not in (Way, Capture))):
            key = f"overhead.{case}.{way.name}"
            if f"{key}.seconds" not in bench.samples:
                continue
            value, spread = lost(bench.samples, case, way.name)
            wal = plots.median(bench.samples[f"{key}.wal"])
            base = plots.median(bench.samples[f"overhead.{case}.{BASE}.wal"]) if f"overhead.{case}.{BASE}.wal" in bench.samples else math.nan
            lines.append([f"**{way.name}**: {way.what}", *interval(bench.samples[f"{key}.seconds"], digits=2),
                          f"{transactions / plots.median(bench.samples[f'{key}.seconds']):,.0f}",
                          f"{value:.1f} ({', '.join(f'{one:.1f}' for one in spread)})",
                          f"{plots.median(bench.samples[f'{key}.behind']):.2f}", f"{wal:.0f}", f"{wal / base:.2f}",
                          f"{plots.median(bench.samples[f'{key}.disk']):.0f}"])
        text += [f"### overhead.{case}", f"{bench.facts[f'overhead.{case}.what']}: {changes:,} changes, {rows:,} change rows.",
                 table(["", "n", "median s", "min .. max", "transactions/s", "lost, %", "behind, s", "WAL", "x", "disk"], lines)]
    missing = bench.facts.get("overhead.missing")
    if missing:
        text.append(f"Not installed for this server, and left out: {', '.join(missing)}.")
    return "\n\n".join(text)


def plot(bench, cases, folder):
    names = [way.name for way in WAYS if any(f"overhead.{case}.{way.name}.seconds" in bench.samples for case in cases)]

    def relative(name, case, metric):
        return (plots.median(bench.samples.get(f"overhead.{case}.{name}.{metric}", []))
                / plots.median(bench.samples[f"overhead.{case}.{BASE}.{metric}"]))

    return [plots.bars(folder, f"overhead-{metric}", title, "x baseline", cases,
                       {name: [relative(name, case, metric) for case in cases] for name in names}, line=1.0)
            for metric, title in (("seconds", "Time of the load"), ("wal", "WAL for each change"))]
