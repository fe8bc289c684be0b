"""
engine.py: what is measured: the extension, as a user would drive it.
"""
from .cluster import lsn_text


class Engine:
    """Capture in one database of one cluster."""

    def __init__(self, bench, session):
        self.bench = bench
        self.session = session
        self.patience = f"{bench.limit}s"

    def enable(self, tables):
        """The database and these tables; capture runs afterwards."""
        self.session.run("CREATE EXTENSION cdc", "CALL cdc.sp_cdc_enable_db()")
        self.enable_tables(tables)

    def enable_tables(self, tables):
        for table in tables:
            self.session.run(f"CALL cdc.sp_cdc_enable_table('public', '{table}', role_name => NULL)")
        self.wait()

    def start(self):
        self.session.run("CALL cdc.sp_cdc_start_job('capture')")

    def stop(self):
        self.session.run("CALL cdc.sp_cdc_stop_job('capture')")

    def wait(self, end=None):
        """Until everything up to an LSN, or to now, is visible in the change tables."""
        lsn = f"'{lsn_text(end)}'" if end else "NULL"
        self.session.run(f"CALL cdc.wait_for_capture({lsn}, '{self.patience}')")

    def drain(self, end):
        """Capture of a backlog from a stopped job: both workers are started, too."""
        self.start()
        self.wait(end)

    def changes(self):
        """How many changes were captured in the life of the database."""
        return self.session.value("SELECT next_ordinal FROM cdc._progress")

    def change_tables(self):
        return [row[0] for row in self.session.rows("SELECT object_id::regclass::text FROM cdc.change_tables")]

    def change_rows(self):
        """How many rows the change tables have."""
        tables = self.change_tables()
        return sum(self.session.value(f"SELECT count(*) FROM {table}") for table in tables)

    def disk(self):
        """Bytes of the change tables, with index and TOAST."""
        return int(self.session.value("""SELECT coalesce(sum(pg_total_relation_size(i.inhrelid)), 0)
            FROM cdc.change_tables AS t JOIN pg_inherits AS i ON i.inhparent = t.object_id"""))

    def workers(self):
        """Process ids of writer and decoder."""
        return self.session.row("SELECT worker_pid, decoder_pid FROM cdc.pg_stat_cdc WHERE database = current_database()")

    def require_captured(self, changes_before, rows_before, done):
        """Exactly what the load did, in changes and in rows that a reader finds."""
        self.bench.require_equal(self.changes() - changes_before, done.changes, "captured changes")
        self.bench.require_equal(self.change_rows() - rows_before, done.rows, "rows in the change tables")

    def slot_at_the_end(self):
        """What went before is captured, confirmed and on disk: a drain from here on reads what is loaded from here on."""
        self.start()
        self.wait()
        self.session.run("CHECKPOINT")
        position = self.session.value("SELECT pg_current_wal_insert_lsn()")

        # Over WAL that is not its own capture confirms the slot only once in a while, and after 16 MB: each switch is as many.
        def confirmed():
            self.session.run("SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()", "CHECKPOINT")
            return self.session.value(f"""SELECT restart_lsn >= '{position}' FROM pg_replication_slots
                WHERE plugin = 'cdc' AND database = current_database()""")

        self.bench.wait_until(confirmed, "the slot of capture at the end of the log", pause=0.1, limit=120)
        self.stop()
