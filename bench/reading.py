"""
reading.py: what a consumer waits for: small and large ranges, net changes, the first poll after a long pause, look-ups.

One change table of 20 million rows: 2 million rows were inserted and then updated at random places, 1000 changes in each transaction.
Beside it lies `plain`, an ordinary table with the same rows and a btree on their order. Both are vacuumed and analyzed, as autovacuum,
which is off here, would have done.
"""
import glob
import os

from . import plots
from .cluster import Cluster
from .engine import Engine
from .harness import seconds_of
from .memory import Sampler, rss_anon
from .report import interval, ratio_spread, table
from .workloads import MAKE_ROWS, ROW

TITLE = "Reading"
CASES = ["last", "range", "net", "poll", "lookups"]
KEYS = 2000000
UPDATES = 9000000  # two rows each
ORDER = 'ORDER BY "__$start_lsn", "__$seqval", "__$operation"'
COLUMNS = '"__$start_lsn", "__$seqval", "__$operation", "__$update_mask", id, account, kind, active, amount, changed, name, note'

# What a consumer calls for each batch: at most so much more than SELECT 1, in milliseconds.
LOOKUP_MS = 0.1
POLL_MS = 20


def run(bench, cases):
    source = Cluster(bench, "source", 54106, shared_preload_libraries="cdc").start()
    source.warm()
    source.create_database("bench")
    session = source.connect()
    prepare(bench, session)
    for case in cases:
        for _ in bench.rounds(f"reading.{case}"):
            READS[case](bench, source, session)
    session.close()
    source.remove()


def prepare(bench, session):
    keys, updates = bench.scaled(KEYS, 1000), updates_of(bench)
    session.run(f"CREATE TABLE reading {ROW} WITH (fillfactor = 80)",
                f"""CREATE PROCEDURE insert_all() LANGUAGE plpgsql AS $$ BEGIN
                    FOR i IN 0 .. {keys // 1000 - 1} LOOP
                        INSERT INTO reading {MAKE_ROWS.format(first="i * 1000 + 1", last="i * 1000 + 1000")};
                        COMMIT;
                    END LOOP;
                END $$""",
                f"""CREATE PROCEDURE update_some(transactions integer) LANGUAGE plpgsql AS $$ DECLARE block bigint; BEGIN
                    FOR i IN 1 .. transactions LOOP
                        block := floor(random() * {keys // 1000});
                        UPDATE reading SET amount = amount + 1, changed = now() WHERE id BETWEEN block * 1000 + 1 AND block * 1000 + 1000;
                        COMMIT;
                    END LOOP;
                END $$""")
    engine = Engine(bench, session)
    engine.enable(["reading"])
    bench.say(f"reading: {keys + updates:,} changes, {keys + 2 * updates:,} change rows are being captured")
    session.run("SELECT setseed(0.5)", "CALL insert_all()", "VACUUM ANALYZE reading")
    # In steps, with VACUUM between them, or the table would grow to the size of all its old versions.
    for _ in range(9):
        session.run(f"CALL update_some({updates // 9000})", "VACUUM reading")
    engine.wait()
    bench.require_equal(engine.change_rows(), keys + 2 * updates, "rows in the change table")
    session.run("CREATE TABLE plain AS SELECT * FROM cdc.public_reading_ct",
                'CREATE INDEX ON plain ("__$start_lsn", "__$seqval", "__$operation")', "VACUUM ANALYZE plain",
                "VACUUM ANALYZE cdc.public_reading_ct", "CHECKPOINT")
    leaves = session.value("""SELECT pg_size_pretty(sum(pg_total_relation_size(inhrelid))) FROM pg_inherits
        WHERE inhparent = 'cdc.public_reading_ct'::regclass""")
    plain, btree = session.row("SELECT pg_size_pretty(pg_table_size('plain')), pg_size_pretty(pg_indexes_size('plain'))")
    bench.fact("reading.what", f"{keys + 2 * updates:,} change rows of {keys:,} keys; change table {leaves} with its BRIN index, plain table "
                               f"{plain} and btree {btree}")


def updates_of(bench):
    """The ranges are parts of these, and as long in a smaller run where there are enough."""
    return bench.scaled(UPDATES, 9000)


def newest(session, changes):
    """LSN range of the newest changes, 1000 in each transaction."""
    return session.row(f"""SELECT min(start_lsn)::text, max(start_lsn)::text FROM (SELECT start_lsn FROM cdc.lsn_time_mapping
        WHERE change_count > 0 ORDER BY start_lsn DESC LIMIT {changes // 1000}) AS l""")


def function(bounds, option="all", kind="all"):
    return f"cdc.fn_cdc_get_{kind}_changes_public_reading('{bounds[0]}', '{bounds[1]}', '{option}')"


def explained(bench, session, name, query):
    """The plan as it runs, kept with the samples: a slow query is looked into there."""
    plan = "\n".join(row[0] for row in session.rows(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {query}"))
    bench.fact(f"reading.plan.{name}", plan)


def client_times(bench, source, query, times, protocol="simple", database="bench"):
    """Milliseconds of each execution, from sending it to the last row in the client: pgbench as the client."""
    with open(f"{bench.work}/query.sql", "w", encoding="utf-8") as file:
        file.write(query.replace("\n", " ") + ";\n")
    source.run_program("pgbench", "--no-vacuum", "--client=1", f"--transactions={times}", f"--protocol={protocol}", "--log",
                       f"--log-prefix={bench.work}/latencies", f"--file={bench.work}/query.sql", database=database)
    waits = []
    for path in glob.glob(f"{bench.work}/latencies.*"):
        with open(path, encoding="ascii") as file:
            waits += [int(line.split()[2]) / 1000 for line in file]
        os.unlink(path)
    return sorted(waits)


def copied(session, query):
    """Runs a query without sending its rows; gives how many there were."""
    session.run(f"COPY ({query}) TO '/dev/null' (FORMAT binary)")
    return int(session.cursor.statusmessage.split()[1])


def timed_copy(bench, session, key, query):
    counted = []
    bench.sample(key, seconds_of(lambda: counted.append(copied(session, query))))
    return counted[0]


def read_last(bench, source, session):
    bounds = newest(session, 1000)
    queries = {"function": f"SELECT * FROM {function(bounds)} {ORDER}",
               "plain": f"""SELECT {COLUMNS} FROM plain WHERE "__$start_lsn" BETWEEN '{bounds[0]}' AND '{bounds[1]}'
                   AND "__$operation" IN (1, 2, 4) {ORDER}"""}
    for name, query in queries.items():
        bench.require_equal(copied(session, query), 1000, f"the last changes, {name}")
        explained(bench, session, f"last.{name}", query)
        waits = client_times(bench, source, query, max(20, bench.scaled(200)))
        bench.sample(f"reading.last.{name}.p50", plots.median(waits))
        bench.sample(f"reading.last.{name}.p99", waits[len(waits) * 99 // 100])


def read_range(bench, source, session):
    # An update has two rows, and both are asked for.
    rows = min(1000000, 2 * updates_of(bench))
    bounds = newest(session, rows // 2)
    queries = {"function": f"SELECT * FROM {function(bounds, 'all update old')} {ORDER}",
               "plain": f"""SELECT {COLUMNS} FROM plain WHERE "__$start_lsn" BETWEEN '{bounds[0]}' AND '{bounds[1]}' {ORDER}"""}
    for name, query in queries.items():
        bench.require_equal(timed_copy(bench, session, f"reading.range.{name}", query), rows, f"the range, {name}")
        explained(bench, session, f"range.{name}", query)
    bench.fact("reading.range.what", f"{rows:,} rows in order")


def window_query(source):
    """Net changes as one would write them: the first and last change of each key, by window functions."""
    return f"""SELECT {COLUMNS}, CASE WHEN first_operation = 2 THEN 2 ELSE "__$operation" END AS operation
        FROM (SELECT *, row_number() OVER last_first AS place,
                first_value("__$operation") OVER (PARTITION BY id {ORDER}) AS first_operation
            FROM {source}
            WINDOW last_first AS (PARTITION BY id ORDER BY "__$start_lsn" DESC, "__$seqval" DESC, "__$operation" DESC)) AS numbered
        WHERE place = 1 AND NOT (first_operation = 2 AND "__$operation" = 1)"""


def read_net(bench, source, session):
    changes = min(1000000, updates_of(bench))
    bounds = newest(session, changes)
    plain = f"""(SELECT * FROM plain WHERE "__$start_lsn" BETWEEN '{bounds[0]}' AND '{bounds[1]}' AND "__$operation" IN (1, 2, 4)) AS c"""
    queries = {"function": f"SELECT * FROM {function(bounds, kind='net')}",
               "window": window_query(function(bounds) + " AS c"), "window_plain": window_query(plain)}
    found = {}
    for name, query in queries.items():
        found[name] = timed_copy(bench, session, f"reading.net.{name}", query)
        explained(bench, session, f"net.{name}", query)
    bench.require_equal(found["function"], found["window"], "rows of net changes")
    bench.require_equal(found["function"], found["window_plain"], "rows of net changes")
    bench.fact("reading.net.what", f"{changes:,} changes, {found['function']:,} rows come out")

    # In a session of its own, without parallel workers, whose memory would be another process's.
    with source.connect(options="-c max_parallel_workers_per_gather=0") as other:
        other.run("SELECT 1")
        before = rss_anon(other.connection.info.backend_pid) / 1024
        with Sampler([other.connection.info.backend_pid]) as sampler:
            bench.require_equal(copied(other, queries["function"]), found["function"], "rows of net changes")
        bench.sample("reading.net.memory", sampler.peaks[0] - before)
        explained(bench, other, "net.memory", queries["function"])
        bench.fact("reading.net.work_mem", float(other.value(
            "SELECT pg_size_bytes(current_setting('work_mem')) * current_setting('hash_mem_multiplier')::numeric / 1048576")))


def read_poll(bench, source, session):
    """A consumer has seen nothing yet and takes 10,000 changes, bounded by their ordinals."""
    first = session.value("SELECT cdc.fn_cdc_get_min_lsn('public_reading')")
    bound = f"""SELECT start_lsn FROM cdc.lsn_time_mapping WHERE start_lsn >= '{first}' AND first_ordinal + change_count > 10000
        ORDER BY start_lsn LIMIT 1"""
    begin = []

    def poll():
        last = session.value(bound)
        session.run("BEGIN", f"DECLARE poll NO SCROLL CURSOR FOR SELECT * FROM {function((first, last))} {ORDER}")
        begin.append(session.rows("FETCH 1 FROM poll"))

    bench.sample("reading.poll.bounded", 1000 * seconds_of(poll))
    bench.require_equal(len(begin[0]), 1, "first row of the batch")
    session.run("MOVE ALL IN poll")
    bench.require_equal(int(session.cursor.statusmessage.split()[1]) + 1, 10000, "rows of the batch")
    session.run("COMMIT")
    explained(bench, session, "poll.bound", bound)
    explained(bench, session, "poll.batch", f"SELECT * FROM {function((first, session.value(bound)))} {ORDER}")

    last = session.value("SELECT cdc.fn_cdc_get_max_lsn()")

    def everything():
        session.run("BEGIN", f"DECLARE poll NO SCROLL CURSOR FOR SELECT * FROM {function((first, last))} {ORDER}", "FETCH 1 FROM poll")

    bench.sample("reading.poll.unbounded", 1000 * seconds_of(everything))
    session.run("COMMIT")


def lookups(session):
    lsn = session.value("SELECT start_lsn FROM cdc.lsn_time_mapping ORDER BY start_lsn OFFSET 100 LIMIT 1")
    return {
        "SELECT 1": "SELECT 1",
        "fn_cdc_get_min_lsn": "SELECT cdc.fn_cdc_get_min_lsn('public_reading')",
        "fn_cdc_get_max_lsn": "SELECT cdc.fn_cdc_get_max_lsn()",
        "fn_cdc_increment_lsn": f"SELECT cdc.fn_cdc_increment_lsn('{lsn}')",
        "fn_cdc_map_lsn_to_time": f"SELECT cdc.fn_cdc_map_lsn_to_time('{lsn}')",
        "fn_cdc_map_time_to_lsn": "SELECT cdc.fn_cdc_map_time_to_lsn('largest less than or equal', now())",
        "fn_cdc_get_column_ordinal": "SELECT cdc.fn_cdc_get_column_ordinal('public_reading', 'amount')",
        "fn_cdc_has_column_changed": "SELECT cdc.fn_cdc_has_column_changed('public_reading', 'amount', '\\x10')",
        "fn_cdc_is_bit_set": "SELECT cdc.fn_cdc_is_bit_set(5, '\\x10')",
        "all changes of one commit without rows": f"SELECT * FROM {function((lsn, lsn))} WHERE id = -1",
    }


def read_lookups(bench, source, session):
    # The first connections after something else find a colder processor.
    client_times(bench, source, "SELECT 1", 200, protocol="prepared")
    for name, query in lookups(session).items():
        waits = client_times(bench, source, query, max(200, bench.scaled(2000)), protocol="prepared")
        bench.sample(f"reading.lookups.{name}", plots.median(waits))


READS = {"last": read_last, "range": read_range, "net": read_net, "poll": read_poll, "lookups": read_lookups}


def goals(bench, cases):
    samples = bench.samples
    if "last" in cases:
        bench.goal("reading.last: last 1000 changes through the function, ms", plots.median(samples["reading.last.function.p50"]), "<=", 2,
                   samples["reading.last.function.p50"])
    if "range" in cases:
        value, spread = ratio_spread(samples, "reading.range.function", "reading.range.plain")
        bench.goal("reading.range: function / plain table with btree", value, "<=", 1.2, spread)
    if "net" in cases:
        # The faster one of the two is the one that somebody would end up with.
        best = min(("reading.net.window", "reading.net.window_plain"), key=lambda key: plots.median(samples[key]))
        value, spread = ratio_spread(samples, best, "reading.net.function")
        bench.goal("reading.net: window functions / net changes", value, ">=", 3, spread)
        bench.goal("reading.net: memory beyond the start, MB (work_mem x hash_mem_multiplier + 16)", max(samples["reading.net.memory"]), "<=",
                   bench.facts["reading.net.work_mem"] + 16, samples["reading.net.memory"])
    if "poll" in cases:
        bench.goal("reading.poll: first row of a batch bounded by ordinals, ms", plots.median(samples["reading.poll.bounded"]), "<=", POLL_MS,
                   samples["reading.poll.bounded"])
    if "lookups" in cases:
        base = plots.median(samples["reading.lookups.SELECT 1"])
        for key, values in samples.items():
            if key.startswith("reading.lookups.fn_"):
                bench.goal(f"{key}: ms beyond SELECT 1", plots.median(values) - base, "<=", LOOKUP_MS, [value - base for value in values])


def report(bench, cases):
    samples = bench.samples
    text = [bench.facts["reading.what"] + ". Plans are in the JSON file beside this page."]
    lines = []
    labels = {
        "last.function.p50": "last 1000 changes in order, query function, ms at the client", "last.function.p99": "the same, p99",
        "last.plain.p50": "the same of the plain table with btree", "last.plain.p99": "the same, p99",
        "range.function": f"all changes, {bench.facts.get('reading.range.what')}, query function, s",
        "range.plain": "the same of the plain table with btree, s",
        "net.function": f"net changes, {bench.facts.get('reading.net.what')}, query function, s",
        "net.window": "window functions over the all-changes function, s", "net.window_plain": "window functions over the plain table, s",
        "net.memory": "net changes, memory of the backend beyond its start, MB",
        "poll.bounded": "first poll of 10,000 changes, bounded by ordinals: first row after, ms",
        "poll.unbounded": "first poll without a bound: first row after, ms",
    }
    for name, label in labels.items():
        if f"reading.{name}" in samples:
            lines.append([label, *interval(samples[f"reading.{name}"])])
    if lines:
        text.append(table(["", "n", "median", "min .. max"], lines))
    if "lookups" in cases:
        text += ["Look-ups, prepared statements, milliseconds at the client, medians:",
                 table(["", "n", "median", "min .. max"],
                       [[f"`{key.removeprefix('reading.lookups.')}`", *interval(values)] for key, values in samples.items()
                        if key.startswith("reading.lookups.")])]
    return "\n\n".join(text)


def plot(bench, cases, folder):
    groups, series = [], {"function": [], "plain table": []}
    for case, function_key, plain_key in (("last", "last.function.p50", "last.plain.p50"), ("range", "range.function", "range.plain"),
                                          ("net", "net.function", "net.window_plain")):
        if case in cases:
            groups.append(case)
            unit = 0.001 if case == "last" else 1
            series["function"].append(unit * plots.median(bench.samples[f"reading.{function_key}"]))
            series["plain table"].append(unit * plots.median(bench.samples[f"reading.{plain_key}"]))
    if not groups:
        return []
    return [plots.bars(folder, "reading", "Reading: query functions and a plain table with btree", "seconds (log)", groups, series, log=True)]
