"""
plots.py: the pictures beside the tables, with matplotlib.
"""
import statistics


def median(values):
    """NaN where nothing was measured: it leaves a hole in a picture."""
    return statistics.median(values) if values else float("nan")


def new_figure(width, height):
    # Here, because asking for the names of all cases needs no pictures, and it takes a second.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure, folder, name):
    figure.savefig(f"{folder}/plot-{name}.png", dpi=90)
    return f"plot-{name}.png"


def bars(folder, name, title, unit, groups, series, log=False, line=None):
    """A group of bars for each case, a colour for each of the series: {label: [a value for each group]}."""
    from matplotlib import colormaps

    figure = new_figure(max(7, 3 + 0.18 * len(groups) * len(series)), 4.2)
    axes = figure.subplots()
    width = 0.85 / max(1, len(series))
    for number, (label, values) in enumerate(series.items()):
        places = [place - 0.425 + width * (number + 0.5) for place in range(len(groups))]
        axes.bar(places, values, width, label=label, color=colormaps["tab20"].colors[number % 20])
    axes.set_xticks(range(len(groups)), groups)
    axes.set_title(title)
    axes.set_ylabel(unit)
    if log:
        axes.set_yscale("log")
    if line is not None:
        axes.axhline(line, color="grey", linewidth=0.8, linestyle="--")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.grid(axis="y", alpha=0.3)
    return save(figure, folder, name)


def curves(folder, name, title, panels, log_x=True):
    """Panels side by side: (label of x, label of y, {series: ([x], [y])}, whether y is logarithmic)."""
    figure = new_figure(5.2 * len(panels), 4.0)
    for axes, (x_label, y_label, series, log_y) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        for label, (xs, ys) in series.items():
            axes.plot(xs, ys, marker="o" if len(xs) < 50 else None, markersize=4, label=label)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if log_x:
            axes.set_xscale("log")
        if log_y:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if len(series) > 1:
            axes.legend(fontsize=8)
    figure.suptitle(title)
    return save(figure, folder, name)
