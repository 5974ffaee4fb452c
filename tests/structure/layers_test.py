"""Includes point only down: the table of layers (docs/architecture.md) holds for every include line."""
import pathlib
import re
import unittest

import tree
from workdir import main

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def violations(name, text, public, exists):
    """What is wrong with the include lines of one file. public: <baton/x.h> -> modules; exists: path -> bool."""
    folder = tree.folder_of(name)
    if folder is None:
        return []
    wrong = []
    for quote, target in INCLUDE.findall(text):
        if quote == "<":
            if not target.startswith("baton/"):
                continue
            owners = public.get(target)
            if owners is None:
                wrong.append(f"{name}: <{target}> is no public header")
            elif owners[0] not in tree.public_modules(folder):
                wrong.append(f"{name}: {folder}/ may not include <{target}> of {owners[0]}/")
            continue
        parts = pathlib.PurePosixPath(target).parts
        if "include" in name.parts[:2]:
            wrong.append(f'{name}: a public header includes "{target}"')
        elif parts[0] not in tree.LAYERS or not exists(target):
            wrong.append(f'{name}: "{target}" is not the path of a header from the top of the tree')
        elif parts[0] not in tree.LAYERS[folder]:
            wrong.append(f'{name}: {folder}/ may not include "{target}"')
        elif parts[1] == "include":
            wrong.append(f'{name}: "{target}" is public: <{"/".join(parts[2:])}>')
    return wrong


class Layers(unittest.TestCase):
    def test_every_include_points_down(self):
        public = tree.public_headers()
        names = [name for name in tree.files(".c", ".h") if tree.folder_of(name)]
        self.assertTrue(names)
        wrong = []
        for name in names:
            wrong += violations(name, tree.read(name), public, lambda path: (tree.SOURCE / path).is_file())
        self.assertEqual(wrong, [])

    def test_two_modules_do_not_publish_a_header_of_the_same_name(self):
        self.assertEqual({name: owners for name, owners in tree.public_headers().items() if len(owners) > 1}, {})

    def test_the_check_sees_a_wrong_include(self):
        public = {"baton/status.h": ["base"], "baton/engine.h": ["engine"], "baton/main.h": ["drain"]}
        cases = [
            ("journal/append.c", '#include "snapshot/store.h"', 1),
            ("snapshot/store.c", '#include "journal/format.h"', 1),
            ("base/io.c", "#include <baton/engine.h>", 1),
            ("base/io.c", '#include "io.h"', 1),
            ("engine/run.c", "#  include <baton/main.h>", 1),
            ("examples/exchange/book.c", '#include "engine/run.h"', 1),
            ("orchestrator-shim/main.c", '#include "base/io.h"', 1),
            ("engine/include/baton/engine.h", '#include "engine/run.h"', 1),
            ("journal/append.c", "#include <baton/nowhere.h>", 1),
            ("journal/append.c", '#include "base/include/baton/status.h"', 1),
            ("journal/append.c", '#include "base/io.h"\n#include <baton/status.h>\n#include <stdio.h>', 0),
            ("examples/exchange/book.c", '#include "examples/exchange/book.h"\n#include <baton/main.h>', 0),
        ]
        for name, text, count in cases:
            found = violations(pathlib.PurePosixPath(name), text, public, lambda path: path != "io.h")
            self.assertEqual(len(found), count, (name, text, found))


if __name__ == "__main__":
    main()
