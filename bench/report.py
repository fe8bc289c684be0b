"""
report.py: from samples to what is written: medians, spread and ratios, goals reached or missed, the machine, the page.
"""
import json
import os
import platform
import re

from .harness import QUICK
from .plots import median


def interval(values, unit=1.0, digits=3):
    """Three cells of a table: n, median, smallest .. largest."""
    scaled = sorted(value / unit for value in values)
    return [str(len(scaled)), f"{median(scaled):.{digits}f}", f"{scaled[0]:.{digits}f} .. {scaled[-1]:.{digits}f}"]


def ratio_spread(samples, above, below):
    """Ratio of medians, and that of each repetition: these have seen the same disturbance."""
    pairs = zip(samples[above], samples[below])
    return median(samples[above]) / median(samples[below]), [a / b for a, b in pairs]


def table(header, lines):
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in [header, ["---"] * len(header), *lines])


def machine(bench, options):
    """Facts of machine and server, asked of a running cluster when there is one."""
    def file(path):
        with open(path, encoding="utf-8") as opened:
            return opened.read()

    processor = re.search(r"^model name\s*: (.*)", file("/proc/cpuinfo"), re.MULTILINE)
    memory = int(re.search(r"^MemTotal:\s+(\d+)", file("/proc/meminfo"), re.MULTILINE).group(1)) / 1048576
    system = re.search(r'^PRETTY_NAME="(.*)"', file("/etc/os-release"), re.MULTILINE)
    cores = os.cpu_count() or 1
    return {
        "commit": options.commit,
        "started": options.started,
        "processor": f"{processor.group(1) if processor else platform.machine()}, {cores} cores"
                     + (", server and clients pinned to two" if cores > 2 else ""),
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, {system.group(1) if system else 'unknown'}",
        "file system": file_system(bench.work),
        "server": bench.facts.get("server", "not started"),
        "settings": bench.facts.get("settings", ""),
        "peers": bench.facts.get("peers", ""),
        "repetitions": str(bench.repeat),
        "load": "full" if bench.size == 1 else f"{bench.size:g} of the full size",
        "load average before": options.load_before,
        "load average after": " ".join(file("/proc/loadavg").split()[:3]),
    }


def file_system(path):
    """Type of the file system below a path: the longest mount point that it begins with."""
    best = ("", "unknown")
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, point, kind = line.split()[:3]
            if (path + "/").startswith(point.rstrip("/") + "/") and len(point) > len(best[0]):
                best = (point, kind)
    return best[1]


def goals_table(bench):
    lines = []
    for goal in bench.goals:
        spread = f" ({', '.join(f'{one:.2f}' for one in goal['spread'])})" if goal["spread"] else ""
        lines.append([goal["goal"], f"{'at least' if goal['comparison'] == '>=' else 'at most'} {goal['limit']:g}",
                      f"{goal['value']:.3g}{spread}", "reached" if goal["reached"] else "**missed**"])
    return table(["what", "goal", "found (each repetition)", ""], lines)


def page(bench, options, sections, failure):
    """The whole result as Markdown."""
    facts = machine(bench, options)
    text = [f"# Speed of capture, {options.started[:10]}", "Written by `bench/run`; method: [bench/README.md](../README.md)."]
    if failure:
        text.append(f"**This run failed, and is incomplete**: {failure}")
    if bench.size < 1:
        text.append("**Not the full load**: "
                    + ("the numbers mean nothing." if bench.size < QUICK else "ratios show an order of magnitude."))
    text.append(table(["", ""], facts.items()))
    if float(options.load_before.split()[0]) >= 0.5:
        text.append("The machine was busy with other work when this run began (see the load average before it): times are too long,\n"
                    "and what needs both cores, as capture does, suffers more than what needs one.")
    if bench.goals:
        text += ["## Goals", goals_table(bench)]
    return "\n\n".join(text + sections) + "\n", facts


def section(bench, module, cases, folder):
    """One part: its goals are noted, its text and pictures made."""
    goals = len(bench.goals)
    try:
        module.goals(bench, cases)
        images = module.plot(bench, cases, folder)
        return "\n\n".join([f"## {module.TITLE}", module.report(bench, cases)] + [f"![{image}]({image})" for image in images])
    except (KeyError, IndexError, ZeroDivisionError):
        del bench.goals[goals:]
        raise


def write(bench, options, parts, failure=None):
    """report.md, report.json with every sample, and the plots; gives the number of goals missed."""
    sections = []
    for module, cases in parts:
        # In a run that failed the last case may be half measured, and later ones are missing.
        cases = list(cases)
        while cases:
            try:
                sections.append(section(bench, module, cases, options.result))
                break
            except (KeyError, IndexError, ZeroDivisionError):
                if failure is None:
                    raise
                cases.pop()
    text, facts = page(bench, options, sections, failure)
    with open(f"{options.result}/report.md", "w", encoding="utf-8") as file:
        file.write(text)
    with open(f"{options.result}/report.json", "w", encoding="utf-8") as file:
        json.dump({"machine": facts, "failure": failure, "goals": bench.goals, "facts": bench.facts, "samples": bench.samples}, file,
                  indent=1, default=str)
        file.write("\n")
    return sum(not goal["reached"] for goal in bench.goals)


def compare(former_path, later_path):
    """Medians of two runs side by side: what both have. Absolute numbers, so only runs on the same quiet machine compare."""
    runs = []
    for path in (former_path, later_path):
        with open(path, encoding="utf-8") as file:
            runs.append(json.load(file))
    former, later = runs
    for key in ("commit", "processor", "server", "load", "load average before"):
        print(f"{key}: {former['machine'][key]} | {later['machine'][key]}")
    print(f"{'':<48} {'former':>12} {'later':>12} {'later/former':>13}")
    for key, values in former["samples"].items():
        if key in later["samples"]:
            before, after = median(values), median(later["samples"][key])
            print(f"{key:<48} {before:12.6g} {after:12.6g} {after / before if before else float('nan'):13.2f}")
