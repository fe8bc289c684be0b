"""
drain.py: how fast a backlog is captured, beside everything else that reads the same WAL.

The capture job is stopped while a load runs. Then each reader works off what lies there, one after the other: first those that write
nothing, then the subscribers, then capture, whose own WAL the others need not read, and last wal2json into a table.
"""
from . import plots
from .cluster import Cluster
from .engine import Engine
from .harness import seconds_of
from .peers import SLOT, Decoderbufs, Native, Null, Pglogical, Pgoutput, Recvlogical, Replication, Wal2json
from .report import interval, ratio_spread, table
from .workloads import WORKLOADS

TITLE = "Draining a backlog"
CASES = list(WORKLOADS)

BEFORE_CAPTURE = [Null, Pgoutput, Decoderbufs, Recvlogical, Native, Pglogical]
AFTER_CAPTURE = [Wal2json]
CAPTURE = "capture into change tables"

# How many times faster than a peer capture has to be. pg_recvlogical is erratic on one large transaction: reported, no bound.
GOALS = {
    "bulk": {"recvlogical": 2.5, "native": 4, "wal2json": 4, "peek": 1.3, "null": 0.4},
    "oltp": {"recvlogical": 2, "native": 4, "wal2json": 4, "peek": 1.3, "null": 0.6},
    "update": {"native": 2.5, "wal2json": 4, "peek": 1.3},
}


def run(bench, cases):
    bench.fact("drain.missing", [r.name for r in (*BEFORE_CAPTURE, *AFTER_CAPTURE) if not r.available(bench)])
    preload = "cdc,pglogical" if Pglogical.available(bench) else "cdc"
    source = Cluster(bench, "source", 54106, shared_preload_libraries=preload).start()
    subscriber = Cluster(bench, "subscriber", 54107, shared_preload_libraries=preload.replace("cdc", "").strip(",")).start()
    for cluster in (source, subscriber):
        cluster.warm()
    for case in cases:
        drain(bench, source, subscriber, case)
    source.remove()
    subscriber.remove()


def drain(bench, source, subscriber, case):
    workload = WORKLOADS[case](bench)
    database = f"drain_{case}"
    source.create_database(database)
    session = source.connect(database)
    session.run("CREATE TABLE marker (id bigint PRIMARY KEY)", workload.schema())
    bench.say(f"drain.{case}: filling")
    workload.fill(source, session)
    session.run(workload.publication())
    bench.fact(f"drain.{case}.what", workload.what)

    def made(kinds):
        return [kind(bench, source, workload, subscriber, f"{database}_{kind.name}") if issubclass(kind, Replication)
                else kind(bench, source, workload) for kind in kinds if kind.available(bench)]

    before, after = made(BEFORE_CAPTURE), made(AFTER_CAPTURE)
    for reader in (*before, *after):
        reader.set_up(session)
    engine = Engine(bench, session)
    engine.enable(workload.tables)

    for number in bench.rounds(f"drain.{case}: {workload.what}; job stopped"):
        session.run(f"VACUUM {', '.join(workload.tables)}")
        for reader in (*before, *after):
            reader.before_load(session)
        engine.slot_at_the_end()
        changes, rows = engine.changes(), engine.change_rows()
        session.run(f"SELECT FROM pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
        begin = source.insert_lsn()
        done = workload.load(source, session, number)
        session.run(f"INSERT INTO marker VALUES ({number})")
        end = source.insert_lsn()
        session.run("CHECKPOINT")
        bench.fact(f"drain.{case}.done", [done.transactions, done.changes, done.rows])
        bench.sample(f"drain.{case}.load", done.seconds)
        bench.sample(f"drain.{case}.wal", end - begin)
        for reader in before:
            bench.sample(f"drain.{case}.{reader.name}", reader.drain(session, end, done))
        session.run("CHECKPOINT")
        bench.sample(f"drain.{case}.capture", seconds_of(engine.drain, end))
        engine.require_captured(changes, rows, done)
        engine.stop()
        for reader in after:
            bench.sample(f"drain.{case}.{reader.name}", reader.drain(session, end, done))
        session.run(f"SELECT pg_drop_replication_slot('{SLOT}')")

    for reader in (*before, *after):
        reader.tear_down(session)
    session.run("CALL cdc.sp_cdc_disable_db()")
    session.close()
    source.drop_database(database)


def goals(bench, cases):
    for case in cases:
        for peer, least in GOALS.get(case, {}).items():
            if f"drain.{case}.{peer}" not in bench.samples:
                continue
            text = f"drain.{case}: {peer} / capture"
            if peer == "null":
                text = f"drain.{case}: share of the rate with empty callbacks"
            value, spread = ratio_spread(bench.samples, f"drain.{case}.{peer}", f"drain.{case}.capture")
            bench.goal(text, value, ">=", least, spread)


def readers():
    """Every row of the tables below, in the order in which they are read."""
    return {"capture": CAPTURE, **{kind.name: kind.what for kind in (*BEFORE_CAPTURE, *AFTER_CAPTURE)}}


def report(bench, cases):
    text = ["Seconds over the same WAL, the job having been stopped during the load. `x` is time / time of capture, of medians; per round "
            "in brackets. Rates are captured changes."]
    for case in cases:
        transactions, changes, rows = bench.facts[f"drain.{case}.done"]
        lines = []
        for reader, what in readers().items():
            key = f"drain.{case}.{reader}"
            if key not in bench.samples:
                continue
            value, spread = ratio_spread(bench.samples, key, f"drain.{case}.capture")
            lines.append([what, *interval(bench.samples[key]), f"{changes / plots.median(bench.samples[key]):,.0f}",
                          f"{value:.2f} ({', '.join(f'{one:.2f}' for one in spread)})"])
        wal = plots.median(bench.samples[f"drain.{case}.wal"])
        text += [f"### drain.{case}", f"{bench.facts[f'drain.{case}.what']}: {transactions:,} transactions, {changes:,} changes, "
                 f"{rows:,} change rows, {wal / 1048576:,.0f} MB of WAL, loaded in "
                 f"{plots.median(bench.samples[f'drain.{case}.load']):.1f} s.",
                 table(["reader", "n", "median s", "min .. max", "changes/s", "x"], lines)]
    missing = bench.facts.get("drain.missing")
    if missing:
        text.append(f"Not installed for this server, and left out: {', '.join(missing)}.")
    return "\n\n".join(text)


def plot(bench, cases, folder):
    names = [name for name in readers() if any(f"drain.{case}.{name}" in bench.samples for case in cases)]
    series = {name: [plots.median(bench.samples.get(f"drain.{case}.{name}", [])) for case in cases] for name in names}
    return [plots.bars(folder, "drain", "Draining the same WAL", "seconds (log)", cases, series, log=True)]
