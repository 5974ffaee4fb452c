"""scripts/setup asks apt for what is missing and for nothing else; scripts/test tells the truth about failures.

The system's commands are replaced by recorders in front of the PATH, so nothing is installed.
"""
import os
import shutil
import stat

import process
import tree
from workdir import TestCase, main

DPKG = """#!/bin/sh
for last; do :; done
if [ -e "$FAKE/installed.$last" ]; then printf installed; else printf not-installed; exit 1; fi
"""
APT = """#!/bin/sh
echo "apt-get $*" >>"$FAKE/calls"
case "$*" in *install*) for package; do : >"$FAKE/installed.$package"; done ;; esac
"""
ID = '#!/bin/sh\necho "$FAKE_UID"\n'
SUDO = '#!/bin/sh\necho "sudo $1" >>"$FAKE/calls"\nexec "$@"\n'
PACKAGES = ["gcc", "g++", "libc6-dev", "cmake", "ninja-build", "pkg-config", "python3", "openssl", "liburing-dev",
            "liblz4-dev", "libxxhash-dev", "libmsgpack-dev", "libjansson-dev", "libgnutls28-dev", "libssl-dev",
            "libjemalloc-dev", "libcmocka-dev", "spin", "libmicrohttpd-dev", "libsqlite3-dev", "libhiredis-dev",
            "redis-tools"]


class Fake(TestCase):
    def setUp(self):
        self.directory = self.workdir("fake")
        self.path = self.directory / "bin"
        self.path.mkdir()

    def command(self, name, text):
        file = self.path / name
        file.write_text(text)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def calls(self):
        file = self.directory / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def run_script(self, name, *arguments, uid=0, **env):
        return process.run(name, *arguments, env={
            "PATH": f"{self.path}:{os.environ['PATH']}", "FAKE": self.directory, "FAKE_UID": uid,
            "BATON_SUDO": "fake-sudo", **env})


class Setup(Fake):
    def setUp(self):
        super().setUp()
        for name, text in (("dpkg-query", DPKG), ("apt-get", APT), ("id", ID)):
            self.command(name, text)
        for package in PACKAGES:
            (self.directory / f"installed.{package}").touch()

    def setup(self, *arguments, **options):
        return self.run_script(tree.SOURCE / "scripts" / "setup", *arguments, **options)

    def remove(self, *packages):
        for package in packages:
            (self.directory / f"installed.{package}").unlink()

    def test_with_everything_there_apt_is_not_called(self):
        self.assertEqual(self.setup().status, 0)
        self.assertEqual(self.calls(), [])

    def test_as_root_it_installs_only_what_is_missing_and_says_why(self):
        self.remove("liblz4-dev", "cmake")
        result = self.setup()
        self.assertEqual(result.status, 0, result)
        self.assertIn("cmake: the build system", result.stdout)
        self.assertEqual(self.calls()[0], "apt-get update -qq")
        self.assertEqual(self.calls()[1:], ["apt-get install -y -qq --no-install-recommends cmake liblz4-dev"])
        self.assertEqual(self.setup().stdout, "setup: everything is there\n")

    def test_with_sudo_every_apt_call_goes_through_it(self):
        self.command("fake-sudo", SUDO)
        self.remove("ninja-build")
        self.assertEqual(self.setup(uid=1000).status, 0)
        self.assertEqual([call.split()[0] for call in self.calls()], ["sudo", "apt-get", "sudo", "apt-get"])

    def test_without_root_and_sudo_it_says_what_an_administrator_has_to_run(self):
        self.remove("ninja-build")
        result = self.setup(uid=1000)
        self.assertEqual(result.status, 1)
        self.assertIn("apt-get install -y --no-install-recommends ninja-build", result.stderr)
        self.assertEqual(self.calls(), [])

    def test_a_dry_run_installs_nothing(self):
        self.remove("gcc")
        result = self.setup("--dry-run")
        self.assertEqual((result.status, self.calls()), (0, []))
        self.assertIn("gcc: the C compiler", result.stdout)

    def test_what_a_campaign_or_the_fuzzer_needs_is_installed_only_when_asked_for(self):
        for option, packages in (("--campaign", "e2fsprogs xfsprogs"), ("--fuzz", "clang-14 libclang-rt-14-dev")):
            self.assertEqual(self.setup(option).status, 0)
            self.assertEqual(self.calls()[-1], f"apt-get install -y -qq --no-install-recommends {packages}")

    def test_what_the_benchmark_compares_with_is_optional_package_by_package(self):
        self.command("apt-get", APT + 'case "$*" in *rocksdb*) exit 100 ;; esac\n')
        result = self.setup("--bench")
        self.assertEqual(result.status, 0, result)
        self.assertIn("librocksdb-dev can't be had", result.stdout)
        installs = [call.split()[-1] for call in self.calls() if "install" in call]
        self.assertIn("liblmdb-dev", installs)
        self.assertNotIn("gcc", installs)

    def test_an_apt_that_fails_is_a_failure(self):
        self.command("apt-get", "#!/bin/sh\nexit 100\n")
        self.remove("gcc")
        self.assertNotEqual(self.setup().status, 0)

    def test_an_unknown_option_is_an_error(self):
        self.assertEqual(self.setup("--frobnicate").status, 1)


CMAKE = '#!/bin/sh\necho "cmake $*" >>"$FAKE/calls"\ncase "$*" in *"$FAKE_NO_BUILD"*) exit 1 ;; esac\n'
CTEST = """#!/bin/sh
echo "ctest $*" >>"$FAKE/calls"
case "$*" in
*"$FAKE_FAILS"*) echo "50% tests passed, 1 tests failed out of 2"; exit 8 ;;
*) echo "100% tests passed, 0 tests failed out of 4"; echo "Total Test time (real) = 1 sec" ;;
esac
"""


class TestScript(Fake):
    def setUp(self):
        super().setUp()
        self.copy = self.directory / "tree"
        (self.copy / "scripts").mkdir(parents=True)
        for name in ("lib.sh", "test", "build"):
            shutil.copy(tree.SOURCE / "scripts" / name, self.copy / "scripts" / name)
        self.command("cmake", CMAKE)
        self.command("ctest", CTEST)
        setup = self.copy / "scripts" / "setup"
        setup.write_text('#!/bin/sh\necho setup >>"$FAKE/calls"\n')
        setup.chmod(0o755)

    def run_it(self, *arguments, fails="nothing", no_build="nothing"):
        return self.run_script(self.copy / "scripts" / "test", *arguments, FAKE_FAILS=fails, FAKE_NO_BUILD=no_build)

    def presets(self):
        return [call.split("build/")[1].split()[0] for call in self.calls() if call.startswith("ctest ")]

    def test_it_sets_up_then_tests_three_presets_and_ends_with_the_line_of_ctest(self):
        result = self.run_it()
        self.assertEqual(result.status, 0, result)
        self.assertEqual(self.calls()[0], "setup")
        self.assertEqual(self.presets(), ["release", "asan", "tsan"])
        lines = result.stdout.splitlines()
        self.assertEqual(lines[-1], "100% tests passed, 0 tests failed out of 4")
        self.assertIn("total: 12 of 12 tests passed", lines[-2])

    def test_a_failure_in_an_earlier_preset_is_the_exit_status_and_the_last_word(self):
        result = self.run_it(fails="build/asan")
        self.assertEqual(result.status, 1, result)
        self.assertEqual(self.presets(), ["release", "asan", "tsan"])
        lines = result.stdout.splitlines()
        self.assertEqual(lines[-1], "50% tests passed, 1 tests failed out of 2")
        self.assertIn("total: 9 of 10 tests passed", lines[-2])
        self.assertIn("failed: asan", lines[-2])

    def test_a_preset_that_does_not_build_is_a_failure(self):
        result = self.run_it(no_build="build/release")
        self.assertEqual(result.status, 1, result)
        self.assertEqual(self.presets(), ["asan", "tsan"])
        self.assertEqual(result.stdout.splitlines()[-1], "release did not build")

    def test_options_reach_ctest_and_quick_is_release_only(self):
        self.run_it("--quick", "-R", "journal")
        self.assertEqual(self.presets(), ["release"])
        self.assertTrue(self.calls()[-1].endswith("-R journal"), self.calls())


# Stands for clang with libFuzzer, or for one without it, and for the build of the targets.
CLANG = '#!/bin/sh\n[ -e "$FAKE/libfuzzer" ] || exit 1\nfor last; do :; done\n: >build/fuzz.probe\n'
FUZZ_CMAKE = """#!/bin/sh
echo "cmake CC=$CC $*" >>"$FAKE/calls"
mkdir -p build/fuzz/tests && cp "$FAKE/target" build/fuzz/tests/one_fuzz
"""


class FuzzScript(Fake):
    def setUp(self):
        super().setUp()
        self.copy = self.directory / "tree"
        (self.copy / "scripts").mkdir(parents=True)
        (self.copy / "tests" / "fuzz").mkdir(parents=True)
        (self.copy / "tests" / "fuzz" / "x.cmake").write_text("baton_fuzz_target(one_fuzz SOURCES a.c)\n")
        for name in ("lib.sh", "fuzz"):
            shutil.copy(tree.SOURCE / "scripts" / name, self.copy / "scripts" / name)
        setup = self.copy / "scripts" / "setup"
        setup.write_text('#!/bin/sh\necho "setup $*" >>"$FAKE/calls"\n')
        setup.chmod(0o755)
        for name in ("clang", "clang-14"):
            self.command(name, CLANG)
        self.command("cmake", FUZZ_CMAKE)
        (self.directory / "libfuzzer").touch()

    def fuzz(self, target, *arguments):
        file = self.directory / "target"
        file.write_text(f"#!/bin/sh\n{target}\n")
        file.chmod(0o755)
        return self.run_script(self.copy / "scripts" / "fuzz", *arguments)

    def test_a_target_that_finds_nothing_is_success(self):
        result = self.fuzz("echo '#7 DONE   cov: 42 ft: 1'; echo 'stat::number_of_executed_units: 7'", "--seconds", "3")
        self.assertEqual(result.status, 0, result)
        self.assertIn("one_fuzz: nothing in 3 s, 42 places of the code reached, 7 inputs", result.stdout)
        self.assertTrue(any("CC=clang-14 --preset fuzz" in call for call in self.calls()), self.calls())
        self.assertNotIn("setup --fuzz", self.calls())

    def test_what_is_found_is_a_failure_that_says_how_to_repeat_it(self):
        result = self.fuzz("echo 'SUMMARY: overflow'\necho 'x; Test unit written to build/fuzz/findings/crash-1'\nexit 77")
        self.assertEqual(result.status, 1, result)
        self.assertIn("SUMMARY: overflow", result.stderr)
        self.assertIn("repeat it: build/fuzz/tests/one_fuzz build/fuzz/findings/crash-1", result.stderr)

    def test_without_libfuzzer_the_built_in_mutator_runs_and_its_seed_is_kept(self):
        (self.directory / "libfuzzer").unlink()
        result = self.fuzz('echo "3 inputs, to repeat: $0 --runs 2000 --seed 5 CORPUS"; exit 134', "--seconds", "1")
        self.assertEqual(result.status, 1, result)
        self.assertIn("setup --fuzz", self.calls())
        self.assertIn("built-in mutator", result.stderr)
        self.assertIn("one_fuzz --runs 2000 --seed 5 tests/fuzz/corpus/one", result.stderr)

    def test_an_unknown_target_is_an_error(self):
        result = self.fuzz("exit 0", "none_fuzz")
        self.assertEqual(result.status, 1)
        self.assertIn("no such target", result.stderr)


if __name__ == "__main__":
    main()
