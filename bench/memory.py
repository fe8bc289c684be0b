"""
memory.py: what writer and decoder hold at most, for each of the loads, with the job running.

RssAnon is memory of their own: shared_buffers and the queue are shared memory and not in it. The bound of the project is
the queue's size (what the writer collects), what the reorder buffer may take, and a constant.
"""
import threading

from . import plots
from .cluster import Cluster
from .engine import Engine
from .report import table
from .workloads import WORKLOADS

TITLE = "Memory"
CASES = list(WORKLOADS)

# Beyond cdc.capture_queue_size and logical_decoding_work_mem, both processes together, in MB: caches of the catalog,
# two processes' own state, one row as large as it comes, and the reorder buffer's own bookkeeping, which it does not count.
CONSTANT = 32
PAUSE = 0.02


def rss_anon(pid):
    """Private memory of a process in kB; 0 when it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


class Sampler:
    """with Sampler([pid, ...]) as sampler: ...; sampler.peaks afterwards, in MB, and the peak of their sum."""

    def __init__(self, pids):
        self.pids = pids
        self.peaks = [0.0] * len(pids)
        self.together = 0.0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)

    def sample(self):
        # Once more after the end: what is over before the first pause is seen, too.
        more = True
        while more:
            more = not self.ended.wait(PAUSE)
            now = [rss_anon(pid) / 1024 for pid in self.pids]
            self.peaks = [max(pair) for pair in zip(self.peaks, now)]
            self.together = max(self.together, sum(now))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def run(bench, cases):
    source = Cluster(bench, "source", 54106, shared_preload_libraries="cdc").start()
    for case in cases:
        workload = WORKLOADS[case](bench)
        source.create_database("memory")
        session = source.connect("memory")
        session.run(workload.schema())
        workload.fill(source, session)
        bench.fact(f"memory.{case}.what", workload.what)
        engine = Engine(bench, session)
        engine.enable(workload.tables)
        bench.fact("memory.bound", megabytes(session, "cdc.capture_queue_size") + megabytes(session, "logical_decoding_work_mem"))
        for number in bench.rounds(f"memory.{case}: {workload.what}; job running"):
            once(bench, source, session, engine, workload, case, number)
        session.run("CALL cdc.sp_cdc_disable_db()")
        session.close()
        source.drop_database("memory")
    source.remove()


def megabytes(session, setting):
    return int(session.value(f"SELECT pg_size_bytes(current_setting('{setting}')) / 1048576"))


def once(bench, source, session, engine, workload, case, number):
    # A fresh pair, so that nothing of an earlier round is counted.
    engine.stop()
    session.run("CHECKPOINT")
    engine.start()
    engine.wait()
    changes, rows = engine.changes(), engine.change_rows()
    pids = engine.workers()
    bench.sample(f"memory.{case}.writer.idle", rss_anon(pids[0]) / 1024)
    bench.sample(f"memory.{case}.decoder.idle", rss_anon(pids[1]) / 1024)
    with Sampler(pids) as sampler:
        done = workload.load(source, session, number)
        engine.wait()
    engine.require_captured(changes, rows, done)
    bench.require_equal(engine.workers(), pids, "workers that were not restarted meanwhile")
    bench.sample(f"memory.{case}.writer.peak", sampler.peaks[0])
    bench.sample(f"memory.{case}.decoder.peak", sampler.peaks[1])
    bench.sample(f"memory.{case}.both.peak", sampler.together)


def goals(bench, cases):
    bound = bench.facts["memory.bound"] + CONSTANT
    for case in cases:
        values = bench.samples[f"memory.{case}.both.peak"]
        bench.goal(f"memory.{case}: both processes, MB", max(values), "<=", bound, values)


def report(bench, cases):
    lines = []
    for case in cases:
        cells = [f"{plots.median(bench.samples[f'memory.{case}.{key}']):.1f}"
                 for key in ("writer.idle", "writer.peak", "decoder.idle", "decoder.peak", "both.peak")]
        lines.append([f"**{case}**: {bench.facts[f'memory.{case}.what']}", *cells])
    return (f"`RssAnon` in MB, sampled every {PAUSE * 1000:.0f} ms from before the load until its last change was visible, medians: memory "
            "of their own, without `shared_buffers` and the queue. The bound is `cdc.capture_queue_size` + `logical_decoding_work_mem` "
            f"({bench.facts['memory.bound']} MB here) + {CONSTANT} MB.\n\n"
            + table(["load", "writer before", "writer peak", "decoder before", "decoder peak", "both at once"], lines))


def plot(bench, cases, folder):
    series = {what: [plots.median(bench.samples[f"memory.{case}.{what}.peak"]) for case in cases] for what in ("writer", "decoder")}
    return [plots.bars(folder, "memory", "Peak of private memory", "MB", cases, series, line=bench.facts["memory.bound"] + CONSTANT)]
