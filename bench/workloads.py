"""
workloads.py: the eight loads: their tables, the rows that are there before, and one round of changes.

A round can be repeated: the next one changes other rows, or the same ones again, by as many changes. Each says how many
changes, change rows and transactions it made; what is measured is compared with that. The schema is the same on a subscriber.
"""
import re
from dataclasses import dataclass

from .harness import seconds_of

# Eight columns, about 100 bytes.
ROW = """(id bigint PRIMARY KEY, account integer NOT NULL, kind smallint, active boolean,
    amount numeric(12,2), changed timestamptz, name text, note text)"""

MAKE_ROWS = """SELECT id, (id % 100000)::integer, (id % 10)::smallint, id % 2 = 0, (id % 1000000) / 100.0,
    now(), 'customer ' || id % 100000, 'a note of about forty characters, ' || id % 1000 FROM generate_series({first}, {last}) AS id"""


@dataclass
class Done:
    """What one round did to the captured tables. An update is one change and two change rows."""

    transactions: int
    changes: int
    rows: int
    seconds: float = 0.0


class Workload:
    """Base of all: tables in schema public, in a database of its own."""

    name = ""
    what = ""
    amount_column = "id"  # summed for comparing two copies

    def __init__(self, bench):
        self.bench = bench

    @property
    def tables(self):
        """The captured ones."""
        return [self.name]

    def schema(self):
        raise NotImplementedError

    def fill(self, cluster, session):
        """Rows that are there before anything looks at changes."""

    def change(self, cluster, session, number):
        """One round of changes; gives a Done."""
        raise NotImplementedError

    def load(self, cluster, session, number):
        """One round, with the time it took."""
        done = []
        taken = seconds_of(lambda: done.append(self.change(cluster, session, number)))
        done[0].seconds = taken
        return done[0]

    def publication(self):
        return f"CREATE PUBLICATION bench FOR TABLE {', '.join(self.tables)}, marker WITH (publish_via_partition_root = true)"

    def fingerprint(self, session):
        """What two copies must agree on."""
        return [session.row(f"SELECT count(*), sum({self.amount_column}) FROM {table}") for table in self.tables]


class Bulk(Workload):
    """Many rows in transactions of 1000."""

    name = "bulk"
    full = 2000000

    def __init__(self, bench, rows=None):
        super().__init__(bench)
        self.count = rows or bench.scaled(self.full, 1000)
        self.what = f"{self.count:,} inserts of 8 columns, about 100 bytes, 1000 in a transaction"
        self.next = 1

    def schema(self):
        return f"""CREATE TABLE bulk {ROW};
            CREATE PROCEDURE load_bulk(first bigint, transactions integer) LANGUAGE plpgsql AS $$
            BEGIN
                FOR i IN 0 .. transactions - 1 LOOP
                    INSERT INTO bulk {MAKE_ROWS.format(first="first + i * 1000", last="first + i * 1000 + 999")};
                    COMMIT;
                END LOOP;
            END $$"""

    def change(self, cluster, session, number):
        session.run(f"CALL load_bulk({self.next}, {self.count // 1000})")
        self.next += self.count
        return Done(self.count // 1000, self.count, self.count)


class Oltp(Workload):
    """Transactions of one row, from pgbench."""

    name = "oltp"
    full = 200000
    base_rows = 100000
    clients = 4
    amount_column = "amount"

    def __init__(self, bench, transactions=None):
        super().__init__(bench)
        self.count = (transactions or bench.scaled(self.full, self.clients)) // self.clients * self.clients
        self.what = (f"{self.count:,} one-row transactions: 60 % update, 30 % insert, 10 % delete; pgbench, "
                     f"{self.clients} clients, prepared statements")

    def schema(self):
        return f"CREATE TABLE oltp {ROW}"

    def fill(self, cluster, session):
        session.run(f"INSERT INTO oltp {MAKE_ROWS.format(first=1, last=self.base_rows)}", "VACUUM ANALYZE oltp")

    def scripts(self, number):
        """Arguments of pgbench; numbers must differ between loads of one table."""
        # Every transaction changes exactly one row: a client deletes what it has inserted, and inserts where it has nothing
        # left. The variables n and d last as long as the client.
        key = f"{number * 1000000000} + :client_id * 10000000"
        insert = f"""\\set n :n + 1
            \\set key {key} + :n
            INSERT INTO oltp VALUES (:key, :client_id, 1, true, 10, now(), 'customer ' || :n, 'a note of about forty characters, 123');"""
        scripts = {
            "update": f"""\\set id random(1, {self.base_rows})
                UPDATE oltp SET amount = amount + 1, changed = now() WHERE id = :id;""",
            "insert": insert,
            "delete": f"""\\if :d < :n
                \\set d :d + 1
                \\set key {key} + :d
                DELETE FROM oltp WHERE id = :key;
                \\else
                {insert}
                \\endif""",
        }
        arguments = ["--no-vacuum", "--protocol=prepared", f"--client={self.clients}", "--jobs=2", "-Dn=0", "-Dd=0",
                     f"--random-seed={number}"]
        for weight, (script, text) in zip((60, 30, 10), scripts.items()):
            path = f"{self.bench.work}/oltp.{script}"
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join(line.strip() for line in text.splitlines()) + "\n")
            arguments.append(f"--file={path}@{weight}")
        return arguments

    def change(self, cluster, session, number):
        output = cluster.run_program("pgbench", *self.scripts(number), f"--transactions={self.count // self.clients}",
                                     database=database_of(session))
        self.bench.require_equal(transactions_of(output), self.count, "transactions of pgbench")
        return Done(self.count, self.count, self.count)

    def load(self, cluster, session, number):
        # How many of them were updates only the table knows: what pgbench says of each script is not exact with two threads.
        updates = f"SELECT sum(amount)::bigint FROM oltp WHERE id <= {self.base_rows}"
        before = session.value(updates)
        done = super().load(cluster, session, number)
        done.rows += session.value(updates) - before
        return done


class Update(Workload):
    """One transaction that changes every row."""

    name = "updated"
    full = 2000000
    amount_column = "amount"

    def __init__(self, bench, rows=None):
        super().__init__(bench)
        self.count = rows or bench.scaled(self.full)
        self.what = f"one transaction that updates {self.count:,} rows of 8 columns"

    def schema(self):
        return f"CREATE TABLE updated {ROW}"

    def fill(self, cluster, session):
        session.run(f"INSERT INTO updated {MAKE_ROWS.format(first=1, last=self.count)}", "VACUUM ANALYZE updated")

    def change(self, cluster, session, number):
        session.run("UPDATE updated SET amount = amount + 1, changed = now()")
        return Done(1, self.count, 2 * self.count)


class Tpcb(Workload):
    """pgbench's own script."""

    name = "tpcb"
    full = 50000
    scale = 20
    clients = 8

    def __init__(self, bench):
        super().__init__(bench)
        self.count = bench.scaled(self.full, self.clients)
        self.scale = max(2, int(Tpcb.scale * min(1, bench.size * 2)))
        self.what = (f"{self.count:,} transactions of pgbench's TPC-B script: three updates and an insert each; scale "
                     f"{self.scale}, {self.clients} clients")

    @property
    def tables(self):
        return ["pgbench_accounts", "pgbench_tellers", "pgbench_branches", "pgbench_history"]

    def schema(self):
        # As pgbench makes them; a subscriber needs them without the rows.
        return """CREATE TABLE pgbench_accounts (aid integer PRIMARY KEY, bid integer, abalance integer, filler character(84))
                WITH (fillfactor = 100);
            CREATE TABLE pgbench_branches (bid integer PRIMARY KEY, bbalance integer, filler character(88))
                WITH (fillfactor = 100);
            CREATE TABLE pgbench_tellers (tid integer PRIMARY KEY, bid integer, tbalance integer, filler character(84))
                WITH (fillfactor = 100);
            CREATE TABLE pgbench_history (tid integer, bid integer, aid integer, delta integer, mtime timestamp,
                filler character(22))"""

    def fingerprint(self, session):
        return [session.row("SELECT count(*), sum(abalance) FROM pgbench_accounts"),
                session.row("SELECT count(*), sum(tbalance) FROM pgbench_tellers"),
                session.row("SELECT count(*), sum(bbalance) FROM pgbench_branches"),
                session.row("SELECT count(*), sum(delta) FROM pgbench_history")]

    def fill(self, cluster, session):
        cluster.run_program("pgbench", "--initialize", "--init-steps=gv", "--quiet", f"--scale={self.scale}",
                            database=database_of(session))

    def change(self, cluster, session, number):
        output = cluster.run_program(
            "pgbench", "--no-vacuum", "--protocol=prepared", f"--client={self.clients}", "--jobs=2", f"--random-seed={number}",
            f"--transactions={self.count // self.clients}", database=database_of(session))
        self.bench.require_equal(transactions_of(output), self.count, "transactions of pgbench")
        return Done(self.count, 4 * self.count, 7 * self.count)


class InsertedThenUpdated(Workload):
    """Rows that are inserted, and then each updated once, `batch` in a transaction."""

    batch = 1000

    def __init__(self, bench):
        super().__init__(bench)
        self.count = bench.scaled(self.full, self.batch)
        self.next = 1

    def load_procedure(self, insert, update):
        """`insert` takes its rows from {rows}, a series of numbers; `update` gets a condition on id."""
        last = self.batch - 1
        return f"""CREATE PROCEDURE load_{self.name}(first bigint, transactions integer) LANGUAGE plpgsql AS $$
            BEGIN
                FOR t IN 0 .. transactions - 1 LOOP
                    {insert.format(rows=f"generate_series(first + t * {self.batch}, first + t * {self.batch} + {last})")};
                    COMMIT;
                END LOOP;
                FOR t IN 0 .. transactions - 1 LOOP
                    {update} WHERE id BETWEEN first + t * {self.batch} AND first + t * {self.batch} + {last};
                    COMMIT;
                END LOOP;
            END $$"""

    def change(self, cluster, session, number):
        session.run(f"CALL load_{self.name}({self.next}, {self.count // self.batch})")
        self.next += self.count
        return Done(2 * self.count // self.batch, 2 * self.count, 3 * self.count)


class Wide(InsertedThenUpdated):
    """A hundred columns, inserts and updates of one of them."""

    name = "wide"
    full = 100000

    def __init__(self, bench):
        super().__init__(bench)
        self.what = (f"{self.count:,} inserts of 100 columns, about 900 bytes, and an update of one column of each; 1000 in a "
                     "transaction")

    def schema(self):
        kinds = [("integer", "i"), ("numeric(12,2)", "i / 100.0"), ("text", "'value ' || i")]
        columns = ", ".join(f"c{n} {kinds[n % 3][0]}" for n in range(2, 101))
        values = ", ".join(kinds[n % 3][1] for n in range(2, 101))
        return f"CREATE TABLE wide (id bigint PRIMARY KEY, {columns}); " + self.load_procedure(
            f"INSERT INTO wide SELECT i, {values} FROM {{rows}} AS i", "UPDATE wide SET c3 = c3 + 1")


class Toast(InsertedThenUpdated):
    """Values stored out of line, inserted and then left alone by an update."""

    name = "toast"
    full = 10000
    batch = 100

    def __init__(self, bench):
        super().__init__(bench)
        self.what = (f"{self.count:,} inserts of rows with a value of 20 kB that does not compress, and an update of another column "
                     "of each; 100 in a transaction")

    def schema(self):
        # From a pool, because making so many different values would take longer than all the rest.
        return """CREATE TABLE payloads (n integer PRIMARY KEY, payload text);
            INSERT INTO payloads SELECT n, (SELECT encode(decode(string_agg(md5(n || ':' || g), ''), 'hex'), 'base64')
                FROM generate_series(1, 960) AS g) FROM generate_series(0, 99) AS n;
            CREATE TABLE toast (id bigint PRIMARY KEY, counter integer NOT NULL, payload text);
            """ + self.load_procedure("INSERT INTO toast SELECT i, 0, payload FROM {rows} AS i JOIN payloads ON n = i % 100",
                                      "UPDATE toast SET counter = counter + 1")


class Tables(Workload):
    """A hundred captured tables among a thousand others."""

    name = "tables"
    full = 20000

    def __init__(self, bench, captured=100, others=1000, rows=None):
        super().__init__(bench)
        self.captured = captured
        self.others = others
        self.per_table = others // captured
        self.count = (rows // 10 if rows else bench.scaled(self.full, 100))
        self.next = 1
        self.what = (f"{self.count * 10:,} inserts into {captured} captured tables and {self.count * 10 * self.per_table:,} into "
                     f"{others:,} others; a transaction has 10 rows for each of {1 + self.per_table} tables")

    @property
    def tables(self):
        return [f"captured_{n}" for n in range(self.captured)]

    def schema(self):
        return f"""DO $$ BEGIN
                FOR n IN 0 .. {self.captured - 1} LOOP
                    EXECUTE format('CREATE TABLE captured_%s (id bigint PRIMARY KEY, account integer, name text)', n);
                END LOOP;
                FOR n IN 0 .. {self.others - 1} LOOP
                    EXECUTE format('CREATE TABLE other_%s (id bigint PRIMARY KEY, account integer, name text)', n);
                END LOOP;
            END $$;
            CREATE PROCEDURE load_tables(first bigint, transactions integer) LANGUAGE plpgsql AS $$
            BEGIN
                FOR t IN 0 .. transactions - 1 LOOP
                    EXECUTE format('INSERT INTO captured_%s SELECT i, 1, ''customer '' || i FROM generate_series($1, $2) AS i',
                        t % {self.captured}) USING first + t * 10, first + t * 10 + 9;
                    FOR other IN 0 .. {self.per_table - 1} LOOP
                        EXECUTE format('INSERT INTO other_%s SELECT i, 1, ''customer '' || i FROM generate_series($1, $2) AS i',
                            t % {self.captured} * {self.per_table} + other) USING first + t * 10, first + t * 10 + 9;
                    END LOOP;
                    COMMIT;
                END LOOP;
            END $$"""

    def change(self, cluster, session, number):
        session.run(f"CALL load_tables({self.next}, {self.count})")
        self.next += self.count * 10
        return Done(self.count, self.count * 10, self.count * 10)


class Leaves(Workload):
    """A source with 500 partitions."""

    name = "leaves"
    full = 500000

    def __init__(self, bench):
        super().__init__(bench)
        self.count = bench.scaled(self.full, 1000)
        self.next = 1
        self.what = f"{self.count:,} inserts into a table of 500 partitions by hash, 1000 in a transaction"

    def schema(self):
        return f"""CREATE TABLE leaves {ROW} PARTITION BY HASH (id);
            DO $$ BEGIN
                FOR n IN 0 .. 499 LOOP
                    EXECUTE format('CREATE TABLE leaves_%s PARTITION OF leaves FOR VALUES WITH (MODULUS 500, REMAINDER %s)', n, n);
                END LOOP;
            END $$;
            CREATE PROCEDURE load_leaves(first bigint, transactions integer) LANGUAGE plpgsql AS $$
            BEGIN
                FOR i IN 0 .. transactions - 1 LOOP
                    INSERT INTO leaves {MAKE_ROWS.format(first="first + i * 1000", last="first + i * 1000 + 999")};
                    COMMIT;
                END LOOP;
            END $$"""

    def change(self, cluster, session, number):
        session.run(f"CALL load_leaves({self.next}, {self.count // 1000})")
        self.next += self.count
        return Done(self.count // 1000, self.count, self.count)


WORKLOADS = {"bulk": Bulk, "oltp": Oltp, "update": Update, "tpcb": Tpcb, "wide": Wide, "toast": Toast, "tables": Tables,
             "leaves": Leaves}


def transactions_of(pgbench_output):
    return int(re.search(r"number of transactions actually processed: (\d+)", pgbench_output).group(1))


def database_of(session):
    return session.connection.info.dbname
