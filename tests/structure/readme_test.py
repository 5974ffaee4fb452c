"""What a new user copies out of the README works: its C compiles, links and runs; its links lead somewhere."""
import os
import pathlib
import re
import subprocess

import process
import tree
from workdir import TestCase, main

BLOCK = re.compile(r"^```c\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
SCRIPT = re.compile(r"(?:^|[\s`(])((?:scripts|docs|\.ci)/[\w./-]+)", re.MULTILINE)


class Readme(TestCase):
    def programs(self):
        return [text for text in BLOCK.findall(tree.read("README.md")) if "int main(" in text]

    def test_the_example_links_a_service_in_under_sixty_lines(self):
        self.assertEqual(len(self.programs()), 1, "the README shows one whole C program")
        lines = [line for line in self.programs()[0].splitlines() if line.strip()]
        self.assertLess(len(lines), 60)

    def test_the_example_is_the_file_in_examples(self):
        self.assertEqual(self.programs(), [tree.read("examples/counter/counter.c")])

    def test_the_example_compiles_links_and_its_count_survives_kill_and_drain(self):
        library = pathlib.Path(os.environ.get("BATON_BUILD", tree.SOURCE / "build/release")) / "lib"
        if not (library / "libbaton.so").exists():
            self.skipTest("libbaton.so is not built in this preset")
        directory = self.workdir()
        source, binary = directory / "counter.c", directory / "counter"
        source.write_text(self.programs()[0])
        process.run(os.environ.get("CC", "gcc"), "-std=gnu17", "-Wall", "-Wextra", "-Werror",
                    *tree.include_flags(tree.MODULES), source, "-o", binary, f"-L{library}", "-lbaton",
                    f"-Wl,-rpath,{library}", check=0)
        for end, counted in ((process.Process.kill, 2), (process.Process.terminate, 4), (process.Process.kill, 6)):
            service = self.spawn(binary, "run", "--dir", directory / "data", stdin=subprocess.PIPE)
            service.popen.stdin.write(b"one\nmore\n")
            service.popen.stdin.flush()
            service.wait_for(f"{counted} lines")
            self.assertEqual(end(service), 0 if end is process.Process.terminate else -9, service.err())

    def test_every_link_of_every_page_leads_to_a_file(self):
        wrong = []
        for page in tree.files(".md"):
            for target in LINK.findall(tree.read(page)):
                if not (tree.SOURCE / page.parent / target).exists():
                    wrong.append(f"{page}: {target}")
        self.assertEqual(wrong, [])

    def test_every_script_and_page_that_the_readme_names_is_there(self):
        names = {name.rstrip("./") for name in SCRIPT.findall(tree.read("README.md"))}
        self.assertEqual([name for name in sorted(names) if not (tree.SOURCE / name).exists()], [])


if __name__ == "__main__":
    main()
