"""A struct's declaration (<baton/layout.h>) that says something else than the struct does not compile."""
import os
import unittest

import process
import tree
from workdir import TestCase, main

STRUCT = """#include <baton/layout.h>
typedef struct thing thing;
struct thing { uint64_t id; thing *next; uint32_t many[4]; thing *both[2]; baton_digest digest; };
static const baton_layout_field fields[] = {%s};
const baton_layout_type type = BATON_LAYOUT_TYPE(thing, fields);
"""


class Declare(TestCase):
    def compiles(self, field):
        source = self.workdir() / "declare.c"
        source.write_text(STRUCT % field)
        return process.run(os.environ.get("CC", "gcc"), "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                           *tree.include_flags(tree.public_modules("snapshot")), source).status == 0

    def test_what_is_true_compiles(self):
        for field in ("BATON_FIELD(thing, id)", "BATON_POINTER(thing, next, thing)", "BATON_FIELD_ARRAY(thing, many)",
                      "BATON_POINTER_ARRAY(thing, both, thing)", "BATON_OPAQUE(thing, digest)"):
            self.assertTrue(self.compiles(field), field)

    def test_a_pointer_is_no_number_and_a_number_no_pointer(self):
        for field in ("BATON_FIELD(thing, next)", "BATON_FIELD_ARRAY(thing, both)", "BATON_POINTER(thing, id, thing)",
                      "BATON_POINTER(thing, both, thing)", "BATON_POINTER_ARRAY(thing, many, thing)", "BATON_FIELD(thing, digest)", "BATON_FIELD(thing, many)",
                      "BATON_FIELD(thing, missing)"):
            self.assertFalse(self.compiles(field), field)


if __name__ == "__main__":
    main()
