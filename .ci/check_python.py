"""Prints whether .venv can be used with this Python: "usable", "missing" or "outdated"; fails if this Python is too old.

The Makefile runs it with any Python, also with Python 2, which has to be able to give that message.
"""

import os
import subprocess
import sys

LOWEST = (3, 10)


def format_version(version):
    """Return the major and minor version."""
    return ".".join(str(number) for number in version[:2])


def read_version(program):
    """Return the version of a Python."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.check_output([program, "-c", code], stderr=subprocess.STDOUT).decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return "a version that is no longer installed"


def main(venv=".venv"):
    """Print the state of a virtual environment, and return the exit code."""
    own = format_version(sys.version_info)
    if tuple(sys.version_info) < LOWEST:
        text = "{} is Python {}; tfimm_resolver needs {} or newer. Name another one: make PYTHON=python3.12 ...\n"
        sys.stderr.write(text.format(sys.executable, own, format_version(LOWEST)))
        return 1
    state = "missing"
    if os.path.isdir(venv):
        found = read_version(os.path.join(venv, "bin", "python"))
        state = "usable" if found == own else "outdated"
        if found != own:
            sys.stderr.write("{} was created by Python {}, not by {}: it is created again\n".format(venv, found, own))
    sys.stdout.write(state + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
