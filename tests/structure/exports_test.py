"""What libbaton.so exports is what the public headers declare, no more and no less.

`python3 tests/structure/exports_test.py --write` writes cmake/libbaton.map anew from the headers.
"""
import os
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import process  # noqa: E402
import tree  # noqa: E402
from workdir import TestCase, main  # noqa: E402

MAP = "cmake/libbaton.map"
# One line of gcc's -aux-info: /* base/include/baton/x.h:12:NC */ extern int baton_x (int);
DECLARED = re.compile(r"^/\* (\S+):\d+:\w+ \*/ extern .*?\b(\w+) \(", re.MULTILINE)


def declared():
    """The functions and objects that the public headers declare, from the compiler itself."""
    headers = tree.public_headers()
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory) / "all.c"
        source.write_text("".join(f"#include <{header}>\n" for header in headers))
        listing = pathlib.Path(directory) / "all.aux"
        process.run("gcc", "-std=gnu17", "-fsyntax-only", "-aux-info", listing,
                    *tree.include_flags(tree.MODULES), source, check=0)
        names = {name for path, name in DECLARED.findall(listing.read_text()) if "/include/baton/" in path}
    for header, owners in headers.items():
        text = tree.read(f"{owners[0]}/include/{header}")
        names |= set(re.findall(r"^extern (?!\"C\")[^;(]*?\b(\w+)(?:\[[^]]*\])?;", text, re.MULTILINE))
    return names


def map_text(names):
    body = "".join(f"    {name};\n" for name in sorted(names))
    return ("# What libbaton.so exports: the functions of the public headers. Written by\n"
            "# tests/structure/exports_test.py --write and compared with them by the test.\n"
            f"BATON_0 {{\nglobal:\n{body}local:\n    *;\n}};\n")


class Exports(TestCase):
    def test_the_version_map_names_what_the_public_headers_declare(self):
        self.assertTrue(declared())
        self.assertEqual(tree.read(MAP), map_text(declared()),
                         "run python3 tests/structure/exports_test.py --write")

    def test_the_shared_library_exports_what_the_public_headers_declare(self):
        library = pathlib.Path(os.environ.get("BATON_BUILD", tree.SOURCE / "build/release")) / "lib/libbaton.so"
        if not library.exists():
            self.skipTest(f"{library} is not built in this preset")
        listing = process.run("nm", "-D", "--defined-only", library, check=0).stdout
        exported = {line.split()[-1].partition("@")[0] for line in listing.splitlines()} - {"BATON_0"}
        self.assertEqual(sorted(exported), sorted(declared()))

    def test_every_exported_name_has_our_prefix(self):
        self.assertEqual([name for name in declared() if not name.startswith("baton_")], [])


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        (tree.SOURCE / MAP).write_text(map_text(declared()))
    else:
        main()
