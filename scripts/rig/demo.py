"""What scripts/demo runs after the build; see there for the options."""
import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import demo_summary
from campaign import Wrong
from demo_steps import Demo
from processes import Failed, Processes, run_rig


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/demo", add_help=False)
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--json")
    parser.add_argument("--timeline")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--io", choices=["auto", "uring", "threads"], default="auto")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=int, help=argparse.SUPPRESS)  # the tests have fewer orders, and steps sooner
    parser.add_argument("--pace", type=float, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def write_json(result, path):
    text = json.dumps(result) + "\n"
    if path == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        pathlib.Path(path).write_text(text)


def run(options):
    root = pathlib.Path(options.work) if options.work else options.bin.parent / "demo"
    root.mkdir(parents=True, exist_ok=True)
    keep = options.keep
    work = pathlib.Path(tempfile.mkdtemp(prefix="demo-", dir=root))
    try:
        with Processes() as processes:
            result = demo_summary.summarize(Demo(options, work, processes).run(), options)
        if options.json:
            write_json(result, options.json)
        if options.json != "-":
            print(demo_summary.text(result))
        keep = keep or not result["good"]
        return 0 if result["good"] else 1
    except Wrong as wrong:
        keep = True
        raise Failed(str(wrong)) from wrong
    except (Failed, OSError, subprocess.SubprocessError, ValueError, KeyError):
        keep = True
        raise
    finally:
        if keep:
            print(f"files kept in {work}", file=sys.stderr)
        else:
            shutil.rmtree(work, ignore_errors=True)


def main(arguments):
    options = parse(arguments)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1 << 31)
    return run_rig("run the demo", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
