"""
cluster.py: private clusters: made, started with settings, warmed, asked, and removed.

All servers of a run have real fsync and commits that wait for it. Autovacuum is off and no checkpoint happens by itself
while something is timed: either would disturb one case and not the other. Server and clients share two processors, on
larger machines by pinning.
"""
import os
import shutil
import signal
import subprocess

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from .harness import Failure

# Waits in Python and not in the library, so that a signal ends a statement that is under way.
psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)

PINNED = ["taskset", "--cpu-list", "0,1"] if (os.cpu_count() or 1) > 2 else []

SETTINGS = {
    "shared_preload_libraries": "",
    "listen_addresses": "",
    "wal_level": "logical",
    "max_replication_slots": 40,
    "max_wal_senders": 20,
    "max_worker_processes": 40,
    "max_connections": 100,
    "shared_buffers": "1GB",
    "min_wal_size": "3GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "log_checkpoints": "off",
    # A subscription that is switched on begins at once, and not after the 5 seconds that it waits by default between two starts.
    "wal_retrieve_retry_interval": "10ms",
}


class Session:
    """One connection. Each statement is its own transaction, as procedures that commit need it."""

    def __init__(self, conninfo):
        self.connection = psycopg2.connect(conninfo)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()

    def run(self, *statements):
        for statement in statements:
            self.cursor.execute(statement)

    def rows(self, query):
        self.cursor.execute(query)
        return self.cursor.fetchall()

    def row(self, query):
        return self.rows(query)[0]

    def value(self, query):
        return self.row(query)[0]

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Cluster:
    """One server with its data in the work folder, reached by a socket there."""

    def __init__(self, bench, name, port, **settings):
        self.bench = bench
        self.name = name
        self.port = port
        self.folder = f"{bench.work}/{name}"
        self.log = f"{bench.work}/{name}.log"
        self.running = False
        self.undropped = []
        self.settings = dict(SETTINGS, **settings)
        self.run_program("initdb", f"--pgdata={self.folder}", "--auth=peer", "--encoding=UTF8", "--no-locale", "--no-sync")
        # Servers that know it refuse to load other output plugins than these.
        if self.describes("output_plugin_libraries"):
            self.settings["output_plugin_libraries"] = (
                "pgoutput, test_decoding, nullout, wal2json, decoderbufs, pglogical_output")
        self.settings.update(port=port, unix_socket_directories=bench.work,
                             dynamic_library_path=f"$libdir:{bench.lib}")
        bench.servers.append(self)

    def describes(self, setting):
        known = subprocess.run([f"{self.bench.bindir}/postgres", "--describe-config"], capture_output=True, text=True,
                               check=True).stdout
        return any(line.startswith(setting + "\t") for line in known.splitlines())

    def start(self, **settings):
        """With other settings than before, where any are given."""
        self.settings.update(settings)
        with open(f"{self.folder}/bench.conf", "w", encoding="utf-8") as conf:
            for name, value in self.settings.items():
                conf.write(f"{name} = '{value}'\n")
        with open(f"{self.folder}/postgresql.conf", "a+", encoding="utf-8") as conf:
            conf.seek(0)
            if "bench.conf" not in conf.read():
                conf.write("include 'bench.conf'\n")
        self.run_program("pg_ctl", f"--pgdata={self.folder}", f"--log={self.log}", "--wait", "start")
        self.running = True
        if not self.keeps_databases():
            for database in self.undropped:
                self.drop_database(database)
            self.undropped.clear()
        return self

    def restart(self, **settings):
        self.stop("fast")
        return self.start(**settings)

    def stop(self, mode="fast"):
        if self.running:
            self.running = False
            self.run_program("pg_ctl", f"--pgdata={self.folder}", f"--mode={mode}", "--wait", "stop")

    def remove(self):
        """The disk is needed by the next part."""
        self.stop("immediate")
        self.bench.servers.remove(self)
        shutil.rmtree(self.folder)

    def conninfo(self, database="bench"):
        return f"host={self.bench.work} port={self.port} user=postgres dbname={database}"

    def connect(self, database="bench", options=""):
        return Session(self.conninfo(database) + f" options='-c statement_timeout={self.bench.limit}s "
                       f"-c client_min_messages=warning {options}'")

    def environment(self, database="bench"):
        return dict(os.environ, PGHOST=self.bench.work, PGPORT=str(self.port), PGUSER="postgres", PGDATABASE=database)

    def run_program(self, program, *arguments, database="bench", stdin=None):
        """A program of the server, with a limit; gives its output."""
        return run_limited([*PINNED, f"{self.bench.bindir}/{program}", *map(str, arguments)], self.bench.limit,
                           env=self.environment(database), stdin=stdin)

    def start_program(self, program, *arguments, database="bench"):
        """The same in the background; its end is finish_program()."""
        return subprocess.Popen([*PINNED, f"{self.bench.bindir}/{program}", *map(str, arguments)],
                                env=self.environment(database), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def finish_program(self, process):
        try:
            output, _ = process.communicate(timeout=self.bench.limit)
        except subprocess.TimeoutExpired as late:
            process.kill()
            raise Failure(f"{process.args[0]} took longer than {self.bench.limit} s") from late
        if process.returncode != 0:
            raise Failure(f"{' '.join(process.args)}: {output}")
        return output

    def copy_table(self, table, database, other, other_database):
        """The rows of a table to a table of the same name in another cluster."""
        reader = subprocess.Popen([f"{self.bench.bindir}/psql", "-X", "-q", "-c", f"COPY {table} TO STDOUT"],
                                  env=self.environment(database), stdout=subprocess.PIPE)
        other.run_program("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", f"COPY {table} FROM STDIN",
                          database=other_database, stdin=reader.stdout)
        reader.stdout.close()
        if reader.wait() != 0:
            raise Failure(f"could not copy {table}")

    def create_database(self, name):
        with self.connect("postgres") as admin:
            admin.run(f"CREATE DATABASE {name}")

    def keeps_databases(self):
        """pglogical's supervisor does not answer the signal that DROP DATABASE waits for: it would wait for ever."""
        return "pglogical" in self.settings["shared_preload_libraries"]

    def drop_database(self, name):
        """Now, or when the server has been started without pglogical."""
        if self.keeps_databases():
            self.undropped.append(name)
        else:
            with self.connect("postgres") as admin:
                admin.run(f"DROP DATABASE {name} WITH (FORCE)")

    def warm(self):
        """As on a server that has been up for a while: every page of shared_buffers has been used, and WAL files are
        recycled ones. Without this whoever comes first pays for both."""
        with self.connect("postgres") as admin:
            admin.run("CREATE UNLOGGED TABLE filler (filler text)", "ALTER TABLE filler ALTER filler SET STORAGE PLAIN",
                      f"INSERT INTO filler SELECT repeat('x', 8000) FROM generate_series(1, {self.bench.scaled(140000)})",
                      "DROP TABLE filler")
            for _ in range(self.bench.scaled(190)):
                admin.run("SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()")
            admin.run("CHECKPOINT")

    def checkpoint(self):
        with self.connect("postgres") as admin:
            admin.run("CHECKPOINT")

    def insert_lsn(self):
        """End of what has been written, as a number: differences are bytes."""
        with self.connect("postgres") as admin:
            return int(admin.value("SELECT pg_current_wal_insert_lsn() - '0/0'"))


def lsn_text(number):
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def run_limited(command, limit, **keywords):
    """A program in a process group of its own, so that nothing of it survives the limit."""
    if keywords.get("stdin") is None:
        keywords["stdin"] = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                          **keywords) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Failure(f"{command[0]} took longer than {limit} s") from error
            raise
        if process.returncode != 0:
            raise Failure(f"{' '.join(command)}: {output}")
        return output


def extension_available(cluster, name):
    with cluster.connect("postgres") as admin:
        return admin.value(f"SELECT count(*) > 0 FROM pg_available_extensions WHERE name = '{name}'")


def library_available(bench, name):
    return os.path.exists(f"{bench.pg_config_value('--pkglibdir')}/{name}.so")


def server_facts(bench):
    """Version, settings and peers, for the report: from a cluster of its own, because each part makes and removes others."""
    cluster = Cluster(bench, "facts", 54105, shared_preload_libraries="cdc").start()
    with cluster.connect("postgres") as session:
        bench.fact("server", session.value("SHOW server_version") + ", debug_assertions " + session.value("SHOW debug_assertions"))
        bench.fact("settings", session.value(
            """SELECT string_agg(format('%s = %s', name, current_setting(name)), ', ' ORDER BY name) FROM pg_settings
            WHERE name IN ('shared_buffers', 'max_wal_size', 'min_wal_size', 'checkpoint_timeout', 'autovacuum', 'fsync', 'work_mem',
                'synchronous_commit', 'full_page_writes', 'wal_level', 'logical_decoding_work_mem', 'wal_buffers', 'hash_mem_multiplier',
                'jit', 'max_parallel_workers_per_gather') OR name LIKE 'cdc.capture%' OR name LIKE 'cdc.partition%'"""))
        known = session.rows("""SELECT name || ' ' || default_version FROM pg_available_extensions
            WHERE name IN ('pgq', 'table_log', 'pglogical', 'decoderbufs') ORDER BY name""")
        bench.fact("peers", ", ".join([row[0] for row in known] + (["wal2json"] if library_available(bench, "wal2json") else [])))
    cluster.remove()
