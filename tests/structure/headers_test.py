"""Every header compiles alone, in C; the public ones in C++ too, and with nothing but the public headers below them."""
import concurrent.futures
import os
import shutil
import subprocess
import unittest

import tree
from workdir import TestCase, main

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Werror", "-fsyntax-only"]


class Headers(TestCase):
    def compile_all(self, jobs):
        """jobs: (name, command, program text). The program comes from a file: `#pragma once` of a main file warns."""
        directory = self.workdir()

        def compile_one(job):
            number, (name, command, text) = job
            source = directory / f"{number}.{'cc' if '-xc++' in command else 'c'}"
            source.write_text(text)
            result = subprocess.run([*command, source], capture_output=True, text=True, check=False)
            return "" if result.returncode == 0 else f"{name}: {result.stderr}"

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            wrong = [text for text in pool.map(compile_one, enumerate(jobs)) if text]
        self.assertTrue(jobs)
        self.assertEqual("\n".join(wrong), "")

    def public(self):
        for header, owners in tree.public_headers().items():
            yield header, owners[0], tree.include_flags(tree.public_modules(owners[0]))

    def test_every_private_header_compiles_alone(self):
        compiler = os.environ.get("CC", "gcc")
        jobs = []
        for name in tree.files(".h"):
            folder = tree.folder_of(name)
            if folder is None or "include" in name.parts[:2]:
                continue
            flags = tree.include_flags(tree.public_modules(folder))
            command = [compiler, "-std=gnu17", "-D_GNU_SOURCE", *WARNINGS, f"-I{tree.SOURCE}", *flags]
            jobs.append((name, command, f'#include "{name}"\n#include "{name}"\n'))
        self.compile_all(jobs)

    def test_every_public_header_compiles_alone_in_c17(self):
        compiler = os.environ.get("CC", "gcc")
        self.compile_all([(header, [compiler, "-std=c17", *WARNINGS, *flags],
                           f"#include <{header}>\n#include <{header}>\n")
                          for header, _, flags in self.public()])

    def test_every_public_header_compiles_alone_in_cxx17(self):
        compiler = shutil.which(os.environ.get("CXX", "g++"))
        if not compiler:
            self.skipTest("no C++ compiler")
        self.compile_all([(header, [compiler, "-xc++", "-std=c++17", *WARNINGS, *flags],
                           f"#include <{header}>\n#include <{header}>\n")
                          for header, _, flags in self.public()])

    def test_every_header_has_pragma_once(self):
        self.assertEqual([str(name) for name in tree.files(".h") if "#pragma once" not in tree.read(name)], [])


if __name__ == "__main__":
    main()
