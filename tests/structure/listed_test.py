"""Nothing is forgotten: every source is compiled, every test is run. Sources are listed by hand, so a file can be missed."""
import json
import os
import pathlib
import re
import unittest

import process
import tree
from workdir import main

BUILD = pathlib.Path(os.environ.get("BATON_BUILD", tree.SOURCE / "build" / "release"))


class Listed(unittest.TestCase):
    def test_every_c_file_is_compiled(self):
        commands = json.loads((BUILD / "compile_commands.json").read_text())
        compiled = {os.path.relpath(os.path.join(entry["directory"], entry["file"]), tree.SOURCE) for entry in commands}
        # Built by tests against an installed copy and out of the README; the main that stands in for libFuzzer's;
        # peers of the benchmark whose packages need not be there.
        others = ("tests/install/", "examples/counter/", "tests/support/fuzz_main.c", "bench/peers/")
        missed = [str(name) for name in tree.files(".c")
                  if tree.folder_of(name) and not str(name).startswith(others) and str(name) not in compiled]
        self.assertEqual(missed, [])

    def test_every_python_test_is_run(self):
        listing = process.run("ctest", "--test-dir", BUILD, "--show-only=json-v1", check=0).json()
        scripts = {os.path.relpath(word, tree.SOURCE) for test in listing["tests"]
                   for word in test.get("command", []) if word.endswith(".py")}
        self.assertTrue(scripts)
        missed = [str(name) for name in tree.files(".py") if name.parts[0] == "tests"
                  and re.search(r"^if __name__ == .__main__.:", tree.read(name), re.MULTILINE)
                  and re.search(r"\bworkdir\b", tree.read(name))  # a test, not a tool
                  and str(name) not in scripts]
        self.assertEqual(missed, [])

    def test_every_list_of_tests_is_included(self):
        included = set(re.findall(r"[\w/-]+", tree.read("tests/CMakeLists.txt")))
        missed = [str(name) for name in tree.files(".cmake") if name.parts[0] == "tests"
                  and "/".join(name.parts[1:]).removesuffix(".cmake") not in included]
        self.assertEqual(missed, [])


if __name__ == "__main__":
    main()
