# SPDX-License-Identifier: MIT
"""From windows to a table: medians and spread, only within one class of placement."""

import statistics

from placement import DISTURBED, MIXED

NAME_WIDTH = 29
ENOUGH = 10  # windows of each contender in a class; fewer are marked
HEADER = (f"{'row':<{NAME_WIDTH}} {'class':<5} {'windows':>8}  {'vionic Mpps':>19} {'DPDK Mpps':>19} "
          f"{'ratio':>17}  {'vionic cyc/pkt':>16} {'DPDK cyc/pkt':>16} {'ratio':>17}  {'CPU':>4}")


def spread(values):
    """Median and quartiles."""
    if len(values) < 2:
        low = middle = high = values[0]
    else:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "low": low, "high": high, "count": len(values)}


def _ratios(pairs, field):
    """vionic / DPDK of windows next to each other."""
    return spread([getattr(ours, field) / getattr(theirs, field) for ours, theirs in pairs])


def summarise(pairs):
    """{class: figures} of a row's pairs of neighbouring windows (vionic's, DPDK's)."""
    classes = {}
    for name in sorted({window.placement for pair in pairs for window in pair}):
        same = [pair for pair in pairs if all(window.placement == name for window in pair)]
        sides = {side: [pair[index] for pair in pairs if pair[index].placement == name]
                 for index, side in enumerate(("vionic", "dpdk"))}
        classes[name] = {
            "windows": {side: len(windows) for side, windows in sides.items()},
            "sides": {side: _side(windows) for side, windows in sides.items() if windows},
            "pairs": len(same),
        }
        if same:
            classes[name]["packets_ratio"] = _ratios(same, "packets_per_second")
            classes[name]["cycles_ratio"] = _ratios(same, "cycles_per_packet")
    return classes


def _side(windows):
    return {
        "mpps": spread([window.packets_per_second / 1e6 for window in windows]),
        "cycles_per_packet": spread([window.cycles_per_packet for window in windows]),
        "cpu_share": spread([window.cpu_share for window in windows]),
    }


def _cell(figures, digits):
    if not figures:
        return "-"
    return (f"{figures['median']:.{digits}f} "
            f"({figures['low']:.{digits}f}-{figures['high']:.{digits}f})")


def _line(row_name, class_name, figures):
    sides, windows = figures["sides"], figures["windows"]
    mpps = [_cell(sides.get(side, {}).get("mpps"), 2) for side in ("vionic", "dpdk")]
    cycles = [_cell(sides.get(side, {}).get("cycles_per_packet"), 0) for side in ("vionic", "dpdk")]
    share = sides["vionic"]["cpu_share"]["median"] if "vionic" in sides else 0
    mark = " " if min(windows.values()) >= ENOUGH else "!"
    return (f"{row_name:<{NAME_WIDTH}} {class_name:<5} {windows['vionic']:>3}/{windows['dpdk']:<3}{mark} "
            f" {mpps[0]:>19} {mpps[1]:>19} {_cell(figures.get('packets_ratio'), 2):>17} "
            f" {cycles[0]:>16} {cycles[1]:>16} {_cell(figures.get('cycles_ratio'), 2):>17} "
            f" {share * 100:>3.0f}%")


def lines(row_name, classes):
    """The table's lines of one row."""
    made = [_line(row_name, name, figures) for name, figures in classes.items()
            if name not in (MIXED, DISTURBED)]
    for name, why in ((MIXED, "the hypervisor moved the CPUs"), (DISTURBED, "other programs ran")):
        windows = classes.get(name, {}).get("windows")
        if windows:
            made.append(f"{row_name:<{NAME_WIDTH}} -     {windows['vionic']:>3}/{windows['dpdk']:<3}  "
                        f"left out: {why} meanwhile")
    return made
