"""
cleanup.py: what retention costs. Dropping expired rows as whole leaves, as cleanup does, against a loop of deletes of 5000 rows
and VACUUM on a copy of the same rows.
"""
from . import plots
from .cluster import Cluster
from .engine import Engine
from .harness import seconds_of
from .report import interval, ratio_spread, table
from .workloads import Bulk

TITLE = "Cost of retention"
CASES = ["leaves"]
FULL = 10000000
# A leaf covers less WAL here than the 16 GB of the default, so that there are several.
LEAF = 1024


def run(bench, cases):
    leaf = max(16, LEAF * bench.scaled(FULL) // FULL // 16 * 16)
    source = Cluster(bench, "source", 54106, shared_preload_libraries="cdc", **{"cdc.partition_wal_size": f"{leaf}MB"}).start()
    for number in bench.rounds("cleanup.leaves"):
        once(bench, source, leaf, number)
    source.remove()


def once(bench, source, leaf, number):
    workload = Bulk(bench, bench.scaled(FULL, 1000))
    source.create_database("cleanup")
    session = source.connect("cleanup")
    session.run(workload.schema())
    engine = Engine(bench, session)
    engine.enable(workload.tables)
    bench.say(f"capturing {workload.count:,} rows")
    workload.load(source, session, number)
    engine.wait()
    session.run("CREATE TABLE copied (LIKE cdc.public_bulk_ct)", "INSERT INTO copied SELECT * FROM cdc.public_bulk_ct",
                'CREATE INDEX ON copied USING brin ("__$start_lsn")',
                """CREATE PROCEDURE delete_in_steps(step integer) LANGUAGE plpgsql AS $$
        DECLARE
            pages integer := pg_relation_size('copied') / 8192;
            per_step integer := greatest(1, step * pages::bigint / (SELECT count(*) FROM copied));
        BEGIN
            -- By pages, in physical order: no step looks at what earlier ones have deleted.
            FOR page IN 0 .. pages BY per_step LOOP
                DELETE FROM copied WHERE ctid >= format('(%s,0)', page)::tid AND ctid < format('(%s,0)', page + per_step)::tid;
                COMMIT;
            END LOOP;
        END $$""")
    # Everything so far lies in leaves of its own: the mark is a commit in the next leaf but one.
    for _ in range(2 * leaf // 16 + 2):
        session.run("SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()")
    session.run("INSERT INTO bulk (id, account) VALUES (-1, 1)")
    engine.wait()
    bench.require_equal(session.value("SELECT count(*) FROM copied"), workload.count, "rows of the copy")
    leaves = session.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'cdc.public_bulk_ct'::regclass")
    size = session.value("SELECT pg_size_pretty(pg_table_size('copied'))")
    mark = session.value("SELECT max(start_lsn) FROM cdc.lsn_time_mapping")

    measured(bench, source, session, "delete", ["CALL delete_in_steps(5000)", "VACUUM copied"])
    measured(bench, source, session, "drop", [f"CALL cdc.sp_cdc_cleanup_change_table('public_bulk', '{mark}')"])
    bench.require_equal(session.value("SELECT count(*) FROM copied"), 0, "rows that the loop has left")
    bench.require_equal(engine.change_rows(), 1, "rows that cleanup has left")
    dropped, deleted = session.row("SELECT leaves_dropped, rows_deleted FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1")
    bench.fact("cleanup.what", f"{workload.count:,} change rows, {size}; {leaves} leaves of {leaf} MB of WAL before, {dropped} dropped, "
                               f"{deleted} rows deleted one by one")
    session.run("CALL cdc.sp_cdc_disable_db()")
    session.close()
    source.drop_database("cleanup")


def measured(bench, source, session, name, statements):
    """Time and WAL of everybody, each from a checkpoint on, as daily cleanup finds pages that have been written long ago."""
    session.run("CHECKPOINT")
    begin = source.insert_lsn()
    bench.sample(f"cleanup.leaves.{name}.seconds", seconds_of(session.run, *statements))
    bench.sample(f"cleanup.leaves.{name}.wal", source.insert_lsn() - begin)


def goals(bench, cases):
    for metric, least in (("seconds", 15), ("wal", 1000)):
        value, spread = ratio_spread(bench.samples, f"cleanup.leaves.delete.{metric}", f"cleanup.leaves.drop.{metric}")
        bench.goal(f"cleanup.leaves: {metric}, deletes / whole leaves", value, ">=", least, spread)


def report(bench, cases):
    lines = []
    for name, what in (("delete", "deletes of 5000 rows, then VACUUM"), ("drop", "`sp_cdc_cleanup_change_table`, whole leaves")):
        lines.append([what, *interval(bench.samples[f"cleanup.leaves.{name}.seconds"]),
                      f"{plots.median(bench.samples[f'cleanup.leaves.{name}.wal']):,.0f}"])
    return bench.facts["cleanup.what"] + ".\n\n" + table(["", "n", "median s", "min .. max", "WAL, bytes"], lines)


def plot(bench, cases, folder):
    return []
