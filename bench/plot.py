# SPDX-License-Identifier: MIT
"""The ratios of a run as a picture, drawn by gnuplot: a dot a figure, one line of dots a row."""

import os
import shutil
import subprocess

from placement import DISTURBED, MIXED

SCRIPT = """
set terminal svg size 900,{height} font "sans,11" background "white"
set output "{output}"
set title "vionic / peer, median ratio (bars: quartiles)"
set logscale x
set xrange [0.05:20]
set yrange [-0.5:{top}] reverse
set xtics ("0.1" 0.1, "0.2" 0.2, "0.5" 0.5, "1" 1, "2" 2, "5" 5, "10" 10)
set grid x
set key outside bottom horizontal
set arrow from 1,-0.5 to 1,{top} nohead lc rgb "#444444"
set ytics ({names})
set lmargin 32
plot "{data}" index 0 using 2:1:3:4 with xerrorbars pt 7 lc rgb "#1b7837" title "throughput (right is better)", \\
     "{data}" index 1 using 2:1:3:4 with xerrorbars pt 5 lc rgb "#762a83" title "cost, time (left is better)"
"""


def _points(document):
    """(row and class, metric's direction, ratio) of all that has a peer."""
    for result in document["rows"]:
        for name, found in result["classes"].items():
            if name in (MIXED, DISTURBED):
                continue
            label = result["name"] + ("" if name == "any" else f", {name}")
            for metric in result["metrics"]:
                ratio = found["figures"][metric["name"]]["ratio"]
                if ratio and metric["better"]:
                    yield label, metric["better"], ratio


def draw(document, base):
    """Writes base.svg; returns its path, or None where there is no gnuplot or nothing to draw."""
    points = list(_points(document))
    if not points or not shutil.which("gnuplot"):
        return None
    labels = list(dict.fromkeys(label for label, _, _ in points))
    blocks = ["\n".join(f"{labels.index(label)} {ratio['median']} {ratio['low']} {ratio['high']}"
                        for label, better, ratio in points if better == wanted) or "0 NaN NaN NaN"
              for wanted in (+1, -1)]
    data, output = base + ".dat", base + ".svg"
    with open(data, "w", encoding="ascii") as file:
        file.write("\n\n\n".join(blocks) + "\n")
    names = ", ".join(f'"{label}" {i}' for i, label in enumerate(labels))
    subprocess.run(["gnuplot"], input=SCRIPT.format(
        height=120 + 20 * len(labels), output=output, data=data, names=names, top=len(labels) - 0.5),
                   text=True, check=True)
    os.unlink(data)
    return output
