"""
growth.py: how time and memory of a drain grow with the number of captured tables, the size of a transaction, the leaves of a change
table and the captured databases of a server. Everything else stays the same along a curve; each point is a database made anew.
"""
import threading

from . import plots
from .cluster import Cluster
from .engine import Engine
from .harness import seconds_of, stopwatch
from .memory import Sampler
from .reading import client_times
from .report import interval, table
from .workloads import MAKE_ROWS, ROW, Bulk, Done, Tables, Workload

TITLE = "Growth"
POINTS = {"tables": [1, 10, 100, 1000], "rows": [1000, 10000, 100000, 1000000, 10000000], "leaves": [1, 10, 50, 200],
          "databases": [1, 2, 5, 10]}
CASES = list(POINTS)
LABELS = {"tables": "captured tables, the same changes over all", "rows": "rows in a transaction", "leaves": "leaves of the change table",
          "databases": "captured databases, the same changes over all"}
ROWS = 500000


class Transactions(Workload):
    """Inserts in transactions of one size."""

    name = "sized"

    def __init__(self, bench, per_transaction, total):
        super().__init__(bench)
        self.size = per_transaction
        self.transactions = max(1, total // per_transaction)

    def schema(self):
        return f"""CREATE TABLE sized {ROW};
            CREATE PROCEDURE load_sized() LANGUAGE plpgsql AS $$ BEGIN
                FOR i IN 0 .. {self.transactions - 1} LOOP
                    INSERT INTO sized {MAKE_ROWS.format(first=f"i::bigint * {self.size} + 1", last=f"i::bigint * {self.size} + {self.size}")};
                    COMMIT;
                END LOOP;
            END $$"""

    def change(self, cluster, session, number):
        session.run("CALL load_sized()")
        total = self.size * self.transactions
        return Done(self.transactions, total, total)


def run(bench, cases):
    source = Cluster(bench, "source", 54106, shared_preload_libraries="cdc").start()
    source.warm()
    for case in cases:
        for _ in bench.rounds(f"growth.{case}"):
            for point in points(bench, case):
                bench.say(f"growth.{case}: {point:,}")
                GROWS[case](bench, source, point)
    source.remove()


def points(bench, case):
    """A large transaction is what a smaller run leaves out; the other points cost little."""
    return [point for point in POINTS[case] if case != "rows" or point <= max(10000, 10000000 * bench.size)]


def drained(bench, source, key, engines, dones):
    """Starts the stopped jobs of these engines at once, and waits for all: time and memory of all their workers."""
    end = source.insert_lsn()
    source.checkpoint()
    before = [(engine.changes(), engine.change_rows()) for engine in engines]
    with stopwatch() as taken:
        for engine in engines:
            engine.start()
        pids = [pid for engine in engines for pid in bench.wait_until(
            lambda engine=engine: engine.workers() if all(engine.workers()) else None, "the workers", pause=0.005)]
        with Sampler(pids) as sampler:
            # Each waits in its own connection: the last one to be there ends the measurement.
            threads = [threading.Thread(target=engine.wait, args=(end,)) for engine in engines]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    for engine, (changes, rows), done in zip(engines, before, dones):
        engine.require_captured(changes, rows, done)
    bench.sample(f"{key}.seconds", taken())
    bench.sample(f"{key}.rate", sum(done.changes for done in dones) / taken())
    bench.sample(f"{key}.memory", sampler.together)


class Place:
    """A database with capture of one workload, for one point; left without a trace."""

    def __init__(self, bench, source, workload, name="growth"):
        self.bench = bench
        self.source = source
        self.name = name
        self.workload = workload
        source.create_database(name)
        self.session = source.connect(name)
        self.session.run(workload.schema())
        self.engine = Engine(bench, self.session)
        self.session.run("CREATE EXTENSION cdc", "CALL cdc.sp_cdc_enable_db()")

    def enable(self):
        self.engine.enable_tables(self.workload.tables)

    def load(self):
        return self.workload.load(self.source, self.session, 1)

    def remove(self):
        # Not by disabling it: that is one transaction, and a thousand tables are more locks than a server has by default.
        self.session.close()
        self.source.drop_database(self.name)


def grow_tables(bench, source, point):
    place = Place(bench, source, Tables(bench, captured=point, others=0, rows=bench.scaled(ROWS, 1000)))
    bench.sample(f"growth.tables.{point}.enable", seconds_of(place.enable) / point)
    place.engine.slot_at_the_end()
    done = place.load()
    drained(bench, source, f"growth.tables.{point}", [place.engine], [done])
    place.remove()


def grow_rows(bench, source, point):
    place = Place(bench, source, Transactions(bench, point, bench.scaled(1000000, 1000)))
    place.enable()
    place.engine.slot_at_the_end()
    done = place.load()
    drained(bench, source, f"growth.rows.{point}", [place.engine], [done])
    place.remove()


def grow_leaves(bench, source, point):
    """So many leaves with a row each; then a load that lies in the last one, and a reader of its end."""
    place = Place(bench, source, Bulk(bench, bench.scaled(ROWS, 1000)))
    leaf_size(bench, place.session, "16MB")
    place.enable()
    for number in range(point - 1):
        place.session.run(f"INSERT INTO bulk (id, account) VALUES (-{number + 1}, 1)",
                          "SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()")
    place.engine.wait()
    # The worker of the load is a new one, which knows the new size.
    leaf_size(bench, place.session, "16GB")
    place.engine.slot_at_the_end()
    done = place.load()
    drained(bench, source, f"growth.leaves.{point}", [place.engine], [done])
    found = place.session.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'cdc.public_bulk_ct'::regclass")
    bench.require(found >= point, f"growth.leaves: {found} leaves instead of {point}")
    last = place.session.value("SELECT cdc.fn_cdc_get_max_lsn()")
    query = f"SELECT * FROM cdc.fn_cdc_get_all_changes_public_bulk('{last}', '{last}', 'all')"
    bench.require_equal(len(place.session.rows(query)), 1000, "changes of the last commit")
    # A reader that asks with constants plans anew each time: that is what many leaves cost.
    with_plan = client_times(bench, source, query, max(20, bench.scaled(100)), database=place.name)
    bench.sample(f"growth.leaves.{point}.read", plots.median(with_plan))
    place.remove()


def leaf_size(bench, session, size):
    session.run(f"ALTER SYSTEM SET cdc.partition_wal_size = '{size}'", "SELECT pg_reload_conf()")
    bench.wait_until(lambda: session.value("SHOW cdc.partition_wal_size") == size, "the new size of leaves")


def grow_databases(bench, source, point):
    places = [Place(bench, source, Bulk(bench, bench.scaled(ROWS // point, 1000)), f"growth_{number}") for number in range(point)]
    for place in places:
        place.enable()
    for place in places:
        place.engine.slot_at_the_end()
    dones = [place.load() for place in places]
    drained(bench, source, f"growth.databases.{point}", [place.engine for place in places], dones)
    for place in places:
        place.remove()


GROWS = {"tables": grow_tables, "rows": grow_rows, "leaves": grow_leaves, "databases": grow_databases}


def goals(bench, cases):
    """None: what grows, and how, is for the reader of the pictures."""


def measures(case):
    more = {"tables": {"enable": "enabling one table, s"}, "leaves": {"read": "last 1000 changes, ms"}}
    return {"seconds": "drain, s", "rate": "changes/s", "memory": "memory of the workers, MB", **more.get(case, {})}


def report(bench, cases):
    text = ["A backlog is drained, job stopped during the load. Memory: `RssAnon` of all writers and decoders at once. Medians (min .. max)."]
    for case in cases:
        lines = []
        for point in points(bench, case):
            cells = []
            for measure in measures(case):
                _, middle, spread = interval(bench.samples[f"growth.{case}.{point}.{measure}"], digits=0 if measure == "rate" else 2)
                cells.append(f"{middle} ({spread})")
            lines.append([f"{point:,}", *cells])
        text += [f"### growth.{case}", table([LABELS[case], *measures(case).values()], lines)]
    return "\n\n".join(text)


def plot(bench, cases, folder):
    pictures = []
    for case in cases:
        xs = points(bench, case)
        panels = [(LABELS[case], label, {case: (xs, [plots.median(bench.samples[f"growth.{case}.{x}.{measure}"]) for x in xs])}, False)
                  for measure, label in measures(case).items() if measure != "seconds"]
        pictures.append(plots.curves(folder, f"growth-{case}", f"Growth: {LABELS[case]}", panels))
    return pictures
