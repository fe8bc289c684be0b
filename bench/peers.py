"""
peers.py: everything that reads the log beside capture: how each is set up, and how it drains a backlog.

All drain the same WAL from copies of one slot, which was made right before the load, so that all begin at the same place.
Each verifies that it has seen what was loaded. Those that run on the source's side as triggers are in triggers.py.
"""
from .cluster import library_available, lsn_text
from .harness import seconds_of

SLOT = "native"
PGLOGICAL_SLOT = "plugin = 'pglogical_output' AND database = current_database()"


def copy_slot(session, name, plugin):
    session.run(f"SELECT pg_copy_logical_replication_slot('{SLOT}', '{name}', false, '{plugin}')")


def drop_slot(bench, session, name):
    """A slot that its reader has just let go may be in use for another moment."""
    bench.wait_until(lambda: session.value(f"SELECT NOT active FROM pg_replication_slots WHERE slot_name = '{name}'"),
                     f"slot {name} to be free", limit=60)
    session.run(f"SELECT pg_drop_replication_slot('{name}')")


class Reader:
    """A way to read a backlog. `drain` gives seconds."""

    name = ""
    what = ""
    plugin = "pgoutput"
    library = None  # of the plugin, when a package has it

    def __init__(self, bench, source, workload):
        self.bench = bench
        self.source = source
        self.workload = workload

    @classmethod
    def available(cls, bench):
        return cls.library is None or library_available(bench, cls.library)

    def set_up(self, session):
        """Before the first load, in the source's database."""

    def before_load(self, session):
        """Everything of an earlier round is over; the slot that all copy from is about to be made."""

    def drain(self, session, end, done):
        raise NotImplementedError

    def tear_down(self, session):
        """After the last round."""


class Peek(Reader):
    """Decoding in one backend, without a client; what comes out is counted."""

    function = "pg_logical_slot_peek_binary_changes"
    options = ""

    def drain(self, session, end, done):
        copy_slot(session, self.name, self.plugin)
        counted = []
        taken = seconds_of(lambda: counted.append(session.value(
            f"SELECT count(*) FROM {self.function}('{self.name}', '{lsn_text(end)}', NULL{self.options})")))
        self.verify(session, counted[0], done)
        drop_slot(self.bench, session, self.name)
        return taken

    def verify(self, session, messages, done):
        self.bench.require(messages > done.changes, f"{self.name}: {messages} messages for {done.changes} changes")


class Null(Peek):
    name = "null"
    what = "decoding in the server with empty callbacks: the physical limit"
    plugin = "nullout"

    def set_up(self, session):
        session.run("CREATE FUNCTION nullout_changes() RETURNS bigint LANGUAGE c AS 'nullout'")

    def verify(self, session, messages, done):
        # It sees tables that are not captured, too, and the marker.
        changes = session.value("SELECT nullout_changes()")
        self.bench.require(changes >= done.changes, f"null: {changes} changes decoded, {done.changes} made")


class Pgoutput(Peek):
    name = "peek"
    what = "`pg_logical_slot_peek_binary_changes`, pgoutput, counted"
    options = ", 'proto_version', '1', 'publication_names', 'bench'"


class Decoderbufs(Peek):
    name = "decoderbufs"
    what = "`pg_logical_slot_peek_binary_changes`, decoderbufs, counted"
    plugin = "decoderbufs"
    library = "decoderbufs"


class Recvlogical(Reader):
    name = "recvlogical"
    what = "`pg_recvlogical`, pgoutput, to /dev/null"

    def drain(self, session, end, done):
        copy_slot(session, self.name, self.plugin)
        taken = seconds_of(lambda: self.source.run_program(
            "pg_recvlogical", f"--dbname={session.connection.info.dbname}", f"--slot={self.name}", "--start", "--no-loop",
            f"--endpos={lsn_text(end)}", "--file=/dev/null", "--option=proto_version=1", "--option=publication_names=bench"))
        self.bench.require(session.value(f"SELECT confirmed_flush_lsn >= '{lsn_text(end)}' FROM pg_replication_slots "
                                         f"WHERE slot_name = '{self.name}'"), "pg_recvlogical ended too early")
        drop_slot(self.bench, session, self.name)
        return taken


class Wal2json(Reader):
    """As a change table of one's own: what the plugin gives, inserted in the server, the cheapest way there is."""

    name = "wal2json"
    what = "wal2json (format 2) into a table, in the server"
    plugin = "wal2json"
    library = "wal2json"

    def set_up(self, session):
        session.run("CREATE TABLE wal2json_changes (lsn pg_lsn, xid xid, data text)")

    def drain(self, session, end, done):
        copy_slot(session, self.name, self.plugin)
        # Where there are other tables, only those that capture reads, too. Partitions are known by their own names.
        tables = ""
        if self.workload.name == "tables":
            tables = ", 'add-tables', '" + ",".join(f"public.{table}" for table in self.workload.tables) + "'"
        session.run("CHECKPOINT")
        taken = seconds_of(lambda: session.run(
            f"INSERT INTO wal2json_changes SELECT * FROM pg_logical_slot_peek_changes('{self.name}', '{lsn_text(end)}', NULL, "
            f"'format-version', '2'{tables})"))
        found = session.value("SELECT count(*) FROM wal2json_changes WHERE left(data, 13) IN "
                              """('{"action":"I"', '{"action":"U"', '{"action":"D"')""")
        # The marker is one more, where nothing is filtered.
        self.bench.require_equal(found, done.changes + (0 if tables else 1), "changes in wal2json's table")
        session.run("TRUNCATE wal2json_changes")
        drop_slot(self.bench, session, self.name)
        return taken


class Replication(Reader):
    """A subscriber: a second cluster with the same tables and their primary keys."""

    def __init__(self, bench, source, workload, subscriber, database):
        super().__init__(bench, source, workload)
        self.subscriber = subscriber
        self.database = database
        self.session = None
        self.markers = 0

    def drop_copy(self):
        self.session.close()
        self.subscriber.drop_database(self.database)

    def set_up(self, session):
        """The tables as they are in the source now."""
        self.subscriber.create_database(self.database)
        self.session = self.subscriber.connect(self.database)
        self.session.run(self.workload.schema(), "CREATE TABLE marker (id bigint PRIMARY KEY)")
        for table in self.workload.tables:
            if session.value(f"SELECT EXISTS (SELECT FROM {table})"):
                self.source.copy_table(table, session.connection.info.dbname, self.subscriber, self.database)
        self.session.run("VACUUM ANALYZE")

    def wait_for_marker(self, number):
        self.bench.wait_until(lambda: self.session.value(f"SELECT EXISTS (SELECT FROM marker WHERE id = {number})"),
                              f"the marker on the {self.name} subscriber", pause=0.005, limit=600)

    def require_equal_copy(self, session):
        self.bench.require_equal(self.workload.fingerprint(self.session), self.workload.fingerprint(session),
                                 f"tables of the {self.name} subscriber")


class Native(Replication):
    name = "native"
    what = "native logical replication into an indexed copy"

    def set_up(self, session):
        super().set_up(session)
        self.session.run(f"CREATE SUBSCRIPTION native CONNECTION '{self.source.conninfo(session.connection.info.dbname)}' "
                         "PUBLICATION bench WITH (enabled = false, create_slot = false, slot_name = 'native_apply', copy_data = false)")

    def before_load(self, session):
        self.session.run("VACUUM", "CHECKPOINT")

    def drain(self, session, end, done):
        copy_slot(session, "native_apply", self.plugin)
        self.session.run("CHECKPOINT")
        marker = session.value("SELECT max(id) FROM marker")

        def apply():
            self.session.run("ALTER SUBSCRIPTION native ENABLE")
            self.wait_for_marker(marker)

        taken = seconds_of(apply)
        self.session.run("ALTER SUBSCRIPTION native DISABLE")
        drop_slot(self.bench, session, "native_apply")
        self.require_equal_copy(session)
        return taken

    # Live, for the cost of the source: the slot is the subscription's own.
    def go_live(self, session):
        Replication.set_up(self, session)
        self.session.run(f"CREATE SUBSCRIPTION native_live CONNECTION '{self.source.conninfo(session.connection.info.dbname)}' "
                         "PUBLICATION bench WITH (copy_data = false)")
        self.bench.wait_until(lambda: session.value(
            "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'native_live' AND state = 'streaming')"),
            "the subscription to stream")

    def end_live(self):
        self.session.run("DROP SUBSCRIPTION native_live")
        self.drop_copy()

    def tear_down(self, session):
        self.session.run("ALTER SUBSCRIPTION native SET (slot_name = NONE)", "DROP SUBSCRIPTION native")
        self.drop_copy()


class Pglogical(Replication):
    """The extension that native replication came from. Its slot is its own, made when it subscribes; it stands at the same place
    because the subscription runs until everything before the load is applied."""

    name = "pglogical"
    what = "pglogical into an indexed copy"
    library = "pglogical"

    @classmethod
    def available(cls, bench):
        return library_available(bench, "pglogical")

    def set_up(self, session):
        super().set_up(session)
        here = self.source.conninfo(session.connection.info.dbname)
        there = self.subscriber.conninfo(self.database)
        session.run("CREATE EXTENSION pglogical", f"SELECT pglogical.create_node('provider', '{here}')")
        # Of a partitioned table it takes the partitions.
        tables = [row[0] for captured in [*self.workload.tables, "marker"] for row in session.rows(
            f"""SELECT relid::text FROM pg_partition_tree('{captured}') WHERE isleaf
            UNION ALL SELECT '{captured}' WHERE NOT EXISTS (SELECT FROM pg_partition_tree('{captured}'))""")]
        for table in tables:
            # Without a primary key it takes inserts only.
            keyed = session.value(f"SELECT EXISTS (SELECT FROM pg_index WHERE indrelid = '{table}'::regclass AND indisprimary)")
            name = "default" if keyed else "default_insert_only"
            session.run(f"SELECT pglogical.replication_set_add_table('{name}', '{table}')")
        self.session.run("CREATE EXTENSION pglogical", f"SELECT pglogical.create_node('subscriber', '{there}')",
                         f"SELECT pglogical.create_subscription('bench', '{here}', synchronize_structure := false, "
                         "synchronize_data := false)")
        self.wait_replicating()

    def wait_replicating(self):
        self.bench.wait_until(lambda: self.session.value("SELECT status = 'replicating' FROM pglogical.show_subscription_status()"),
                              "pglogical to replicate", limit=120)

    def before_load(self, session):
        self.session.run("VACUUM", "SELECT pglogical.alter_subscription_enable('bench', true)")
        self.wait_replicating()
        position = session.value("SELECT pg_current_wal_insert_lsn()")

        def confirmed():
            session.run("CHECKPOINT")
            return session.value(f"SELECT restart_lsn >= '{position}' AND confirmed_flush_lsn >= '{position}' "
                                 f"FROM pg_replication_slots WHERE {PGLOGICAL_SLOT}")

        self.bench.wait_until(confirmed, "the slot of pglogical at the end of the log", pause=0.2, limit=120)
        self.pause(session)

    def pause(self, session):
        self.session.run("SELECT pglogical.alter_subscription_disable('bench', true)")
        self.bench.wait_until(lambda: session.value(f"SELECT NOT active FROM pg_replication_slots WHERE {PGLOGICAL_SLOT}"),
                              "pglogical to pause", limit=60)

    def drain(self, session, end, done):
        self.session.run("CHECKPOINT")
        marker = session.value("SELECT max(id) FROM marker")

        def apply():
            self.session.run("SELECT pglogical.alter_subscription_enable('bench', true)")
            self.wait_for_marker(marker)

        taken = seconds_of(apply)
        self.pause(session)
        self.require_equal_copy(session)
        return taken

    def go_live(self, session):
        self.set_up(session)

    def end_live(self):
        self.session.run("SELECT pglogical.drop_subscription('bench')", "SELECT pglogical.drop_node('subscriber')")
        self.drop_copy()

    def tear_down(self, session):
        self.end_live()
        session.run("SELECT pglogical.drop_node('provider')", "DROP EXTENSION pglogical")
