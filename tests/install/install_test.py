"""Baton as a user gets it: installed, found by pkg-config and by CMake, linked shared and static, from C and from C++."""
import os
import pathlib
import shutil

import process
from workdir import SOURCE, TestCase, main, temp_root

BUILD = pathlib.Path(os.environ.get("BATON_BUILD", SOURCE / "build" / "release"))
HERE = pathlib.Path(__file__).resolve().parent
CC = os.environ.get("CC", "gcc")


def dynamic_libraries(binary):
    """The NEEDED names of a program."""
    lines = process.run("readelf", "-d", binary, check=0).stdout.splitlines()
    return [line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line]


class Installed(TestCase):
    @classmethod
    def setUpClass(cls):
        """Install once, and then move the tree: what is installed must not remember where it was made."""
        cls.root = pathlib.Path(temp_root()) / f"install.{os.getpid()}"
        cls.prefix = cls.root / "moved"
        cls.addClassCleanup(shutil.rmtree, cls.root, True)
        process.run("cmake", "--install", BUILD, "--prefix", cls.root / "first", check=0)
        (cls.root / "first").rename(cls.prefix)
        cls.pkg_config_dir = next(cls.prefix.rglob("baton.pc")).parent
        cls.libdir = cls.pkg_config_dir.parent

    def pkg_config(self, *arguments):
        path = f"{self.pkg_config_dir}:{os.environ.get('PKG_CONFIG_PATH', '')}"
        return process.run("pkg-config", *arguments, "baton", check=0, env={"PKG_CONFIG_PATH": path}).stdout.split()

    def run_twice(self, binary):
        """First start: nothing there, three numbers become durable, SIGTERM drains. Second: it goes on."""
        data = self.workdir("data") / "tally"
        environment = {"LD_LIBRARY_PATH": self.libdir}
        for found in (0, 6):
            service = self.spawn(binary, "run", "--dir", data, env=environment)
            service.wait_for(f"total {found + 6}\n")
            self.assertEqual(service.terminate(), 0, service.err())
            lines = service.out().splitlines()
            self.assertEqual(lines[0], f"found {found}")
            totals = [int(line.split()[-1]) for line in lines[1:] if line.startswith("durable:")]
            self.assertEqual(totals, [found + 1, found + 3, found + 6])
        process.run(binary, "baton", "verify", data, env=environment, check=0)
        return data, environment

    def test_a_c_service_builds_with_pkg_config_against_the_shared_library(self):
        binary = self.workdir() / "tally"
        process.run(CC, "-std=gnu17", "-Wall", "-Wextra", "-Werror", HERE / "tally.c", "-o", binary,
                    *self.pkg_config("--cflags", "--libs"), check=0)
        self.assertIn("libbaton.so.0", dynamic_libraries(binary))
        self.assertFalse([name for name in dynamic_libraries(binary) if "jemalloc" in name])
        data, environment = self.run_twice(binary)
        info = process.run(binary, "baton", "info", "-o", "json", env=environment, check=0).json()
        self.assertEqual(info["name" if "name" in info else "service"], "tally")
        replay = process.run(binary, "baton", "replay", data, "-o", "json", env=environment, check=0)
        self.assertIn("digest", replay.stdout)

    def test_a_c_service_builds_with_pkg_config_against_the_static_library(self):
        binary = self.workdir() / "tally"
        flags = [f"{self.libdir}/libbaton.a" if flag == "-lbaton" else flag
                 for flag in self.pkg_config("--static", "--cflags", "--libs")]
        process.run(CC, "-std=gnu17", HERE / "tally.c", "-o", binary, *flags, check=0)
        self.assertFalse([name for name in dynamic_libraries(binary) if "baton" in name])
        self.run_twice(binary)

    def test_a_cxx_service_builds_with_the_cmake_package_shared_and_static(self):
        if not shutil.which(os.environ.get("CXX", "g++")):
            self.skipTest("no C++ compiler")
        build = self.workdir()
        process.run("cmake", "-S", HERE / "package", "-B", build, "-G", "Ninja",
                    f"-DCMAKE_PREFIX_PATH={self.prefix}", check=0)
        process.run("cmake", "--build", build, timeout=240, check=0)
        self.assertIn("libbaton.so.0", dynamic_libraries(build / "tally_baton"))
        self.assertFalse([name for name in dynamic_libraries(build / "tally_baton_static") if "baton" in name])
        self.run_twice(build / "tally_baton")
        self.run_twice(build / "tally_baton_static")

    def test_the_soname_and_the_version_agree(self):
        self.assertEqual(self.pkg_config("--modversion"), ["0.1.0"])
        library = (self.libdir / "libbaton.so").resolve()
        self.assertEqual(library.name, "libbaton.so.0.1.0")
        listing = process.run("readelf", "-d", library, check=0).stdout
        self.assertIn("[libbaton.so.0]", listing)

    def test_only_what_a_user_needs_is_installed(self):
        names = sorted(str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*") if not path.is_dir())
        headers = [name for name in names if name.startswith("include/")]
        self.assertTrue(headers)
        self.assertEqual([name for name in headers if not name.startswith("include/baton/")], [])
        programs = [name for name in names if name.startswith("bin/")]
        self.assertLessEqual(set(programs), {"bin/baton", "bin/batond"})

    def test_no_installed_text_names_the_build_tree(self):
        wrong = [str(path) for path in self.prefix.rglob("*") if path.suffix in (".pc", ".cmake", ".h")
                 and (str(SOURCE) in path.read_text() or str(self.root) in path.read_text())]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    main()
