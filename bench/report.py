# SPDX-License-Identifier: MIT
"""From windows to a table: medians and spread, only within one class of placement."""

import statistics

from placement import DISTURBED, MIXED

NAME_WIDTH = 31
ENOUGH = 10  # windows of each side in a class; fewer are marked
HEADER = (f"{'row':<{NAME_WIDTH}} {'class':<5} {'windows':>8}  {'figure':<13} {'vionic':>21} {'peer':>21} "
          f"{'ratio':>17}  peer, bar")


def spread(values):
    """Median and quartiles."""
    if len(values) < 2:
        low = middle = high = values[0]
    else:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "low": low, "high": high, "count": len(values)}


def summarise(metrics, rounds):
    """{class: {"windows": […], "figures": {metric: {"sides": […], "ratio": …}}}} of a row's rounds,
    each a list of one window of each side."""
    classes = {}
    for name in sorted({window.placement for windows in rounds for window in windows}):
        sides = [[windows[i] for windows in rounds if windows[i].placement == name]
                 for i in range(len(rounds[0]))]
        same = [windows for windows in rounds if all(w.placement == name for w in windows)]
        classes[name] = {"windows": [len(side) for side in sides],
                         "figures": {metric.name: _figure(metric.name, sides, same)
                                     for metric in metrics}}
    return classes


def _figure(name, sides, same):
    medians = [spread([window.figures[name] for window in side]) if side else None for side in sides]
    pairs = [(ours.figures[name], theirs.figures[name]) for ours, theirs, *_ in same
             if theirs.figures[name]] if len(sides) > 1 else []
    return {"sides": medians, "ratio": spread([ours / theirs for ours, theirs in pairs]) if pairs else None}


def _cell(figures, digits):
    if not figures:
        return "-"
    if figures["count"] == 1:
        return f"{figures['median']:.{digits}f}"
    return (f"{figures['median']:.{digits}f} "
            f"({figures['low']:.{digits}f}-{figures['high']:.{digits}f})")


def lines(row, result):
    """The table's lines of one row."""
    made = []
    peer = [result["gap"]] if result["gap"] else ["".join(result["sides"][1:]), row.bar]
    for name, found in result["classes"].items():
        if name in (MIXED, DISTURBED):
            continue
        few = row.classed and min(found["windows"]) < ENOUGH
        windows = "/".join(map(str, found["windows"])) + ("!" if few else " ")
        for i, metric in enumerate(row.metrics):
            figure = found["figures"][metric.name]
            cells = [_cell(side, metric.digits) for side in figure["sides"]] + ["-"]
            left = (f"{row.name:<{NAME_WIDTH}} {name:<5} {windows:>8}" if i == 0
                    else " " * (NAME_WIDTH + 15))
            last = ", ".join(filter(None, peer)) if i == 0 else ""
            made.append(f"{left}  {metric.name:<13} {cells[0]:>21} {cells[1]:>21} "
                        f"{_cell(figure['ratio'], 2):>17}  {last}".rstrip())
    for name, why in ((MIXED, "the hypervisor moved the CPUs"), (DISTURBED, "other programs ran")):
        if name in result["classes"]:
            windows = "/".join(map(str, result["classes"][name]["windows"]))
            made.append(f"{row.name:<{NAME_WIDTH}} -     {windows:>7}   left out: {why} meanwhile")
    return made
