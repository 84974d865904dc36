"""TAP, and what the two programs of this folder share. A check is a function that raises; one that needs a tool which is not
here raises NotRun, which tests/run shows."""
import os
import shutil
import subprocess
import sys
import traceback

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
OUTBOXD = os.path.abspath(os.environ.get("OUTBOXD", os.path.join(BUILD, "outboxd")))


class NotRun(Exception):
    pass


class UniqueLoader(yaml.SafeLoader):
    """A key that stands twice in a mapping is a mistake, and YAML's own reader takes the second without a word."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def path(*parts):
    return os.path.join(ROOT, *parts)


def text_of(*parts):
    with open(path(*parts), encoding="utf-8") as file:
        return file.read()


def yaml_of(*parts):
    """All documents of a file."""
    return [d for d in yaml.load_all(text_of(*parts), UniqueLoader) if d is not None]


def need(tool):
    if shutil.which(tool) is None:
        raise NotRun(f"{tool} is not installed")


def run(command, expect=0, **options):
    """stdout and stderr of a command that must end with that code."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          check=False, **options)
    assert done.returncode == expect, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def settings(file, environment):
    """A configuration of outboxd as the program reads it. What stands in it comes from that environment alone, as in a
    container; a mistake in it, or a name without a value, fails."""
    return yaml.load(run([OUTBOXD, "config", "-c", file], env=environment), UniqueLoader)


def seconds(duration):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    unit = duration.lstrip("0123456789")
    return int(duration[: len(duration) - len(unit)]) * units[unit]


def same(what, got, wanted):
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"


def main(checks):
    failed = 0
    print(f"1..{len(checks)}", flush=True)
    for number, check in enumerate(checks, 1):
        name = check.__name__
        try:
            check()
            print(f"ok {number} - {name}", flush=True)
        except NotRun as why:
            print(f"# not run: {name}: {why}\nok {number} - {name}", flush=True)
        except Exception:  # whatever it is, the other checks go on
            failed += 1
            for line in traceback.format_exc(limit=-2).splitlines():
                print(f"# {line}")
            print(f"not ok {number} - {name}", flush=True)
    sys.exit(1 if failed else 0)
