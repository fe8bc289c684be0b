"""
triggers.py: capture by triggers on the source, as it is done without reading the log.

Each has install(session, tables), rows(session): how many it has recorded, per_change: whether an update is one row or two
(before and after, as capture has it), and disk(session): what its tables take.
"""
from .cluster import extension_available


class Trigger:
    name = ""
    what = ""
    extension = None
    rows_of_update = 2

    @classmethod
    def available(cls, cluster):
        return cls.extension is None or extension_available(cluster, cls.extension)

    def install(self, session, tables):
        raise NotImplementedError

    def targets(self, session):
        """Tables that the triggers write."""
        raise NotImplementedError

    def rows(self, session):
        return sum(session.value(f"SELECT count(*) FROM {table}") for table in self.targets(session))

    def expected(self, done):
        return done.rows if self.rows_of_update == 2 else done.changes

    def disk(self, session):
        return sum(int(session.value(f"SELECT pg_total_relation_size('{table}')")) for table in self.targets(session))


class Shadow(Trigger):
    """Typed rows as capture's: a table for each source, without index, two rows for an update."""

    def make_tables(self, session, tables):
        for table in tables:
            session.run(f"CREATE TABLE {table}_shadow (changed_at timestamptz, transaction xid8, operation smallint, LIKE {table})")

    def targets(self, session):
        return [row[0] for row in session.rows("SELECT oid::regclass::text FROM pg_class WHERE relname LIKE '%\\_shadow' AND relkind = 'r'")]


class RowTrigger(Shadow):
    name = "row trigger"
    what = "plpgsql row trigger into a typed table"

    def install(self, session, tables):
        self.make_tables(session, tables)
        for table in tables:
            session.run(f"""CREATE FUNCTION {table}_capture() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF TG_OP = 'INSERT' THEN
                        INSERT INTO {table}_shadow VALUES (now(), pg_current_xact_id(), 2, NEW.*);
                    ELSIF TG_OP = 'UPDATE' THEN
                        INSERT INTO {table}_shadow VALUES (now(), pg_current_xact_id(), 3, OLD.*), (now(), pg_current_xact_id(), 4, NEW.*);
                    ELSE
                        INSERT INTO {table}_shadow VALUES (now(), pg_current_xact_id(), 1, OLD.*);
                    END IF;
                    RETURN NULL;
                END $$""",
                        f"""CREATE TRIGGER capture AFTER INSERT OR UPDATE OR DELETE ON {table}
                    FOR EACH ROW EXECUTE FUNCTION {table}_capture()""")


class StatementTrigger(Shadow):
    name = "statement trigger"
    what = "plpgsql statement trigger with transition tables into a typed table"

    def install(self, session, tables):
        self.make_tables(session, tables)
        kinds = {
            "insert": ("NEW TABLE AS new_rows", "SELECT now(), pg_current_xact_id(), 2, n.* FROM new_rows AS n"),
            "update": ("OLD TABLE AS old_rows NEW TABLE AS new_rows",
                       "SELECT now(), pg_current_xact_id(), 3, o.* FROM old_rows AS o "
                       "UNION ALL SELECT now(), pg_current_xact_id(), 4, n.* FROM new_rows AS n"),
            "delete": ("OLD TABLE AS old_rows", "SELECT now(), pg_current_xact_id(), 1, o.* FROM old_rows AS o"),
        }
        for table in tables:
            for kind, (transition, query) in kinds.items():
                session.run(f"""CREATE FUNCTION {table}_{kind}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                        INSERT INTO {table}_shadow {query};
                        RETURN NULL;
                    END $$""",
                            f"""CREATE TRIGGER capture_{kind} AFTER {kind} ON {table} REFERENCING {transition}
                        FOR EACH STATEMENT EXECUTE FUNCTION {table}_{kind}()""")


class JsonbAudit(Trigger):
    """The usual audit table: one for all sources, a row for each change, with the indexes that such tables come with."""

    name = "jsonb audit"
    what = "row trigger into one audit table with jsonb, three indexes"
    rows_of_update = 1

    def install(self, session, tables):
        session.run("""CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ts timestamptz NOT NULL DEFAULT now(),
                table_oid oid NOT NULL, op text NOT NULL, record jsonb, old_record jsonb)""",
                    "CREATE INDEX ON audit USING brin (ts)", "CREATE INDEX ON audit (table_oid)",
                    """CREATE FUNCTION audit_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO audit (table_oid, op, record, old_record) VALUES (TG_RELID, TG_OP, to_jsonb(NEW), to_jsonb(OLD));
                RETURN NULL;
            END $$""")
        for table in tables:
            session.run(f"""CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION audit_change()""")

    def targets(self, session):
        return ["audit"]


class Pgq(Trigger):
    """Events into a queue of pgq, with the old row beside the new one. No consumer and no ticker: only the cost of recording."""

    name = "pgq"
    what = "pgq.logutriga with backup, no consumer"
    extension = "pgq"
    rows_of_update = 1

    def install(self, session, tables):
        session.run("CREATE EXTENSION pgq", "SELECT pgq.create_queue('changes')")
        for table in tables:
            session.run(f"""CREATE TRIGGER changes AFTER INSERT OR UPDATE OR DELETE ON {table}
                FOR EACH ROW EXECUTE FUNCTION pgq.logutriga('changes', 'backup')""")

    def targets(self, session):
        prefix = session.value("SELECT queue_data_pfx FROM pgq.queue WHERE queue_name = 'changes'")
        return [row[0] for row in session.rows(f"SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{prefix}'::regclass")]


class TableLog(Trigger):
    """A log table for each source, made by the extension itself, at its most complete level."""

    name = "table_log"
    what = "table_log_init(5), its own C trigger"
    extension = "table_log"

    def install(self, session, tables):
        session.run("CREATE EXTENSION table_log")
        for table in tables:
            session.run(f"SELECT table_log_init(5, 'public', '{table}', 'public', '{table}_log')")

    def targets(self, session):
        return [row[0] for row in session.rows("SELECT oid::regclass::text FROM pg_class WHERE relname LIKE '%\\_log' AND relkind = 'r'")]


TRIGGERS = [RowTrigger, StatementTrigger, JsonbAudit, Pgq, TableLog]
