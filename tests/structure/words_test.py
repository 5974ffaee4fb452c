"""Nothing is left open in the sources, no file is too long to be read, no text names a developer's machine."""
import re
import unittest

import tree
from workdir import main

# Put together, so that this file does not hold what it looks for.
OPEN = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
MACHINE = re.compile(r"(?<![\w./<>\-])/(wo" + r"rk|home/\w+|root)(?=[/\s\"'`,;:)]|$)", re.MULTILINE)
OUTSIDE = re.compile(r"\.\./sha" + "red")

LINES_MAX = 600
FUNCTION_LINES_MAX = 60
TEXT = (".c", ".h", ".py", ".sh", ".cmake", ".txt", ".md", ".in", ".json", ".yaml", ".yml", ".toml", ".map")


def is_text(name):
    return name.name.endswith(TEXT) or name.parts[0] in ("scripts", ".ci") or name.name == "LICENSE"


class Words(unittest.TestCase):
    def found(self, pattern, names):
        return [f"{name}: {match.group(0)}" for name in names for match in pattern.finditer(tree.read(name))]

    def test_nothing_is_marked_as_still_to_be_done(self):
        self.assertEqual(self.found(OPEN, [name for name in tree.files() if is_text(name)]), [])

    def test_no_file_names_a_path_of_one_machine(self):
        self.assertEqual(self.found(MACHINE, [name for name in tree.files() if is_text(name)]), [])

    def test_only_tests_look_outside_the_tree(self):
        names = [name for name in tree.files() if is_text(name) and name.parts[0] != "tests"]
        self.assertEqual(self.found(OUTSIDE, names), [])

    def test_every_source_file_can_be_read_in_one_sitting(self):
        lengths = {str(name): tree.read(name).count("\n") for name in tree.files(".c", ".h", ".py", ".sh")}
        self.assertEqual({name: lines for name, lines in lengths.items() if lines > LINES_MAX}, {})

    def test_every_function_fits_a_screen(self):
        wrong = {}
        for name in tree.files(".c"):
            begin = None
            for number, line in enumerate(tree.read(name).splitlines(), 1):
                if line == "{":  # the brace style makes a function's body easy to find
                    begin = number
                elif line.startswith("}") and begin:
                    if number - begin - 1 > FUNCTION_LINES_MAX:
                        wrong[f"{name}:{begin}"] = number - begin - 1
                    begin = None
        self.assertEqual(wrong, {})

    def test_every_folder_has_its_page(self):
        folders = {name.parts[0] for name in tree.files(".c") if tree.folder_of(name)}
        folders |= {"/".join(name.parts[:2]) for name in tree.files(".c") if name.parts[0] == "examples"}
        folders -= {"tests", "examples", "examples/counter"}  # the last one is a single file, printed in README.md
        self.assertEqual([folder for folder in sorted(folders) if not (tree.SOURCE / folder / "README.md").is_file()],
                         [])

    def test_the_patterns_find_what_they_look_for(self):
        for text in ("/* TO" + "DO: later */", "FIX" + "ME", "# X" + "XX"):
            self.assertTrue(OPEN.search(text), text)
        for text in ("cd /wo" + "rk/main", "`/wo" + "rk`", "see /ho" + "me/someone/x"):
            self.assertTrue(MACHINE.search(text), text)
        for text in ("scripts/wo" + "rk/x", "/wo" + "rker", "a/ro" + "ot/b", "RO" + "OT/"):
            self.assertFalse(MACHINE.search(text), text)


if __name__ == "__main__":
    main()
