"""The format pages tell the truth: their tables are compared with the structs of the format headers.

In docs/format/<page>.md a heading that holds one `struct_name` in backticks, followed by a table
`| offset | size | name | meaning |`, describes that struct of the header that the page belongs to, mostly <module>/format.h.
"""
import os
import re
import unittest

import process
import tree
from workdir import TestCase, main

HEADING = re.compile(r"^#{2,5} .*`((?:baton|arena|market)_\w+)`", re.MULTILINE)
ROW = re.compile(r"^\|\s*(\d+)\s*\|\s*(\d+)\s*\|\s*`?(\w+)(?:\[\w*\])?`?\s*\|", re.MULTILINE)
SIZED = re.compile(r"static_assert\(sizeof\(((?:baton|arena|market)_\w+)\)\s*==")


def tables(text):
    """struct name -> [(offset, size, field)] of the first table after the heading that names it."""
    found = {}
    pieces = re.split(r"^(?=#{1,5} )", text, flags=re.MULTILINE)
    for piece in pieces:
        heading = HEADING.match(piece)
        rows = [(int(offset), int(size), name) for offset, size, name in ROW.findall(piece)]
        if heading and rows:
            found[heading.group(1)] = rows
    return found


def program(header, found):
    """C that compiles if and only if every row is true."""
    lines = ["#include <assert.h>", "#include <stddef.h>", f'#include "{header}"']
    for struct, rows in found.items():
        for offset, size, name in rows:
            where = f"{struct}.{name}"
            lines.append(f'static_assert(offsetof({struct}, {name}) == {offset}, "{where} offset");')
            lines.append(f'static_assert(sizeof((({struct} *)0)->{name}) == {size}, "{where} size");')
        end = rows[-1][0] + rows[-1][1]
        lines.append(f'static_assert(sizeof({struct}) == {end}, "{struct}: the last row ends it");')
    return "\n".join(lines) + "\n"


class Format(TestCase):
    def check(self, module, page=None, header=None):
        page, header = page or f"docs/format/{module}.md", header or f"{module}/format.h"
        for name in (page, header):
            self.assertTrue((tree.SOURCE / name).is_file(), f"{name} is missing")
        found = tables(tree.read(page))
        self.assertTrue(found, f"{page} describes no struct")
        for struct, rows in found.items():
            end = 0
            for offset, size, name in rows:
                self.assertEqual(offset, end, f"{page}: {struct}.{name} does not begin where the row before ends")
                end = offset + size
        undescribed = set(SIZED.findall(tree.read(header))) - set(found)
        self.assertEqual(sorted(undescribed), [], f"{header} fixes their size, {page} has no table of them")
        self.compile(module, program(header, found))

    def compile(self, module, text):
        source = self.workdir() / "format.c"
        source.write_text(text)
        result = process.run(os.environ.get("CC", "gcc"), "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only",
                             f"-I{tree.SOURCE}", *tree.include_flags(tree.public_modules(module)), source)
        self.assertEqual(result.status, 0, result.stderr[-4000:])

    def test_the_journal_page_agrees_with_the_structs(self):
        self.check("journal")

    def test_the_snapshot_page_agrees_with_the_structs(self):
        self.check("snapshot")

    def test_the_arena_page_agrees_with_the_structs(self):
        self.check("snapshot", "docs/format/arena.md", "snapshot/arena.h")

    def test_the_export_page_agrees_with_the_structs(self):
        self.check("snapshot", "docs/format/export.md", "snapshot/export.h")

    def test_the_page_of_the_handover_protocol_is_the_headers(self):
        self.check("drain", "docs/format/handover.md", "drain/peer_wire.h")

    def test_the_market_data_page_agrees_with_the_structs(self):
        self.check("examples", "docs/format/market-data.md", "examples/exchange/market-data/market_data.h")

    def test_the_check_sees_a_wrong_row(self):
        page = ("## Batch\n### `baton_x`\n| offset | size | name | meaning |\n|---|---|---|---|\n"
                "| 0 | 8 | `epoch` | term |\n| 8 | 4 | count | how many |\n")
        self.assertEqual(tables(page), {"baton_x": [(0, 8, "epoch"), (8, 4, "count")]})
        source = self.workdir() / "wrong.c"
        struct = "typedef struct { char epoch[8]; char other[1]; char count[4]; } baton_x;\n"
        (source.parent / "x.h").write_text(struct)
        source.write_text(program("x.h", tables(page)))
        result = process.run("gcc", "-std=gnu17", "-fsyntax-only", source)
        self.assertNotEqual(result.status, 0)
        self.assertIn("baton_x.count offset", result.stderr)


if __name__ == "__main__":
    main()
