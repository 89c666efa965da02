# SPDX-License-Identifier: MIT
"""How each of the checks here ends."""


def verdict(name, what, count, problems):
    """Prints the problems and how many of `what` were looked at; the exit status, 1 also if there were none."""
    print("\n".join(problems))
    print(f"{name}: {count} {what}, {len(problems)} problems")
    return 1 if problems or not count else 0
