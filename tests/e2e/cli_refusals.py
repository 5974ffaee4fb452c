"""Places where a journal can't or must not be: each gets a clear error, nothing is acknowledged and nothing changed."""
import os
import shutil
import subprocess

import process as processes
from cli_case import BATON, CliCase, deny_io_uring, private_mounts_work, tree_digest, wait_until
from workdir import main


class Refusals(CliCase):
    def setUp(self):
        self.root = self.workdir()
        self.journal = self.root / "journal"

    def test_a_second_writer_is_refused_and_the_first_goes_on(self):
        first = self.spawn(BATON, "journal", "append", "--ack", self.journal, stdin=subprocess.PIPE)
        first.popen.stdin.write(b"mine\n")
        first.popen.stdin.flush()
        first.wait_for("durable 1\n")
        self.assert_refused(self.append(self.journal, ["not mine"], "--ack", check=None), 7, str(self.journal))
        first.popen.stdin.write(b"mine too\n")
        first.popen.stdin.close()
        first.popen.stdin = None
        self.assertEqual(first.wait(), 0, first.err())
        self.assertEqual(self.payloads(self.journal), ["mine", "mine too"])

    def test_a_living_journal_can_be_read_and_verified_beside_its_writer(self):
        writer = self.spawn(BATON, "journal", "append", "--ack", self.journal, stdin=subprocess.PIPE)
        for number in range(1, 4):
            writer.popen.stdin.write(f"line {number}\n".encode())
            writer.popen.stdin.flush()
            writer.wait_for(f"durable {number}\n")
            self.assertEqual(self.payloads(self.journal), [f"line {i + 1}" for i in range(number)])
            self.baton("journal", "verify", self.journal, check=0)

    def test_tmpfs_is_refused_for_durable_and_fine_for_written(self):
        if not os.path.isdir("/dev/shm") or not os.access("/dev/shm", os.W_OK):
            self.skipTest("there is no /dev/shm to write to")
        directory = f"/dev/shm/baton-test-{os.getpid()}"
        self.addCleanup(shutil.rmtree, directory, True)
        result = self.append(directory, ["x"], "--ack", check=None)
        self.assert_refused(result, 1, "memory", directory)
        self.assertEqual(result.stdout, "")
        shutil.rmtree(directory, ignore_errors=True)
        self.append(directory, ["x"], "--mode", "written")
        self.assertEqual(self.payloads(directory), ["x"])

    def test_a_directory_that_is_no_directory_is_refused(self):
        self.journal.write_text("a file")
        self.assert_refused(self.append(self.journal, ["x"], check=None), 1, str(self.journal))
        self.assert_refused(self.append(self.root / "no" / "such" / "parent", ["x"], check=None), 1)
        self.assertEqual(self.journal.read_text(), "a file")

    def in_private_mounts(self, script, *arguments, **options):
        if not private_mounts_work():
            self.skipTest("mounting in a namespace of one's own needs root")
        return processes.run("unshare", "-m", "--propagation", "private", "sh", "-ec", script, "sh", *arguments, **options)

    def test_a_read_only_directory_is_refused_and_can_be_read(self):
        self.append(self.journal, ["before"])
        before = tree_digest(self.journal)
        result = self.in_private_mounts(
            'mount --bind "$2" "$2"; mount -o remount,bind,ro "$2"; code=0\n'
            '"$1" journal dump --payload "$2"; "$1" journal verify "$2"\n'
            'echo more | "$1" journal append --ack "$2" || code=$?; echo "exit $code"', BATON, self.journal)
        self.assertIn("before\n", result.stdout)
        self.assertIn("exit 1\n", result.stdout, result)
        self.assertNotIn("durable", result.stdout)
        self.assertRegex(result.stderr, r"baton: .*[Rr]ead-only")
        self.assertEqual(tree_digest(self.journal), before)

    FULL = (
        'truncate -s "$3" "$2/image"; {make}; mkdir "$2/disk"; mount {options} "$2/image" "$2/disk"; code=0\n'
        'i=0; while [ $i -lt 40000 ]; do echo "$i $5"; i=$((i+1)); done > "$2/input"\n'
        '"$1" journal append --ack --full-wait 1s $4 "$2/disk/j" < "$2/input" > "$2/acks" 2> "$2/errors" || code=$?\n'
        'echo "exit $code"; wc -l < "$2/acks"; "$1" journal dump --payload "$2/disk/j" > "$2/dump"\n'
        '"$1" journal verify "$2/disk/j" > "$2/verify" || echo "verify $?"; umount "$2/disk"')

    def check_full_disk(self, make, options, size, mode):
        padding = "z" * 1000
        script = self.FULL.format(make=make, options=options)
        result = self.in_private_mounts(script, BATON, self.root, size, mode, padding)
        if "exit" not in result.stdout:
            self.skipTest(f"no file system of one's own here: {result.stderr.strip()[-200:]}")
        code, acks = result.stdout.splitlines()[:2]
        errors = (self.root / "errors").read_text()
        self.assertEqual(code, "exit 1", errors)
        self.assertIn("full", errors)
        self.assertRegex(errors.splitlines()[-1], r"^baton: .*: .*: ")
        self.assertNotIn("verify", result.stdout)
        dumped = (self.root / "dump").read_text().splitlines()
        self.assertEqual(dumped, [f"{i} {padding}" for i in range(len(dumped))])
        self.assertGreater(int(acks), 0)
        self.assertGreaterEqual(len(dumped), int(acks))

    def test_a_full_disk_is_back_pressure_then_an_error_and_loses_nothing_acknowledged(self):
        if not shutil.which("mkfs.ext4"):
            self.skipTest("there is no mkfs.ext4")
        self.check_full_disk('mkfs.ext4 -q -F "$2/image"', "-o loop", "36M", "--io threads")

    def test_a_full_tmpfs_in_written_mode_too(self):
        self.check_full_disk("true", "-t tmpfs -o size=20m", "4096", "--mode written")

    def test_a_full_disk_recovers_when_space_returns(self):
        if not private_mounts_work() or not shutil.which("mkfs.ext4"):
            self.skipTest("mounting in a namespace of one's own needs root and mkfs.ext4")
        go, source = self.root / "go", self.root / "input"
        source.write_text("".join(f"{i} " + "z" * 1000 + "\n" for i in range(60000)))
        os.mkfifo(go)
        script = ('truncate -s 200M "$2/image"; mkfs.ext4 -q -F "$2/image"; mkdir "$2/disk"\n'
                  'mount -o loop "$2/image" "$2/disk"; dd if=/dev/zero of="$2/disk/filler" bs=1M count=160 2>/dev/null\n'
                  '( read line < "$2/go"; rm "$2/disk/filler" ) & reader=$!\n'
                  '"$1" journal append --full-wait 10m "$2/disk/j" < "$2/input"; kill $reader 2>/dev/null || true\n'
                  '"$1" journal verify "$2/disk/j"; "$1" journal dump --payload "$2/disk/j" | cmp - "$2/input"\n'
                  'umount "$2/disk"; echo all of it')
        child = self.spawn("unshare", "-m", "--propagation", "private", "sh", "-ec", script, "sh", BATON, self.root)
        wait_until(lambda: "disk is full" in child.err() or not child.running(), "the disk to be full")
        if child.running():
            with open(go, "w", encoding="ascii") as file:
                file.write("go\n")
        self.assertEqual(child.wait(), 0, child.err())
        self.assertIn("disk is full", child.err())
        self.assertIn("all of it", child.out())

    def run_denied(self, *options):
        return subprocess.run([BATON, "journal", "append", *options, self.journal], input="x\n", text=True,
                              capture_output=True, preexec_fn=deny_io_uring, check=False)

    def test_without_io_uring_auto_takes_threads_and_says_so(self):
        done = self.run_denied("-o", "json")
        if done.returncode == 99:
            self.skipTest("no seccomp here")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"backend":"threads"', done.stdout)
        self.assertIn("seccomp", done.stderr)

    def test_without_io_uring_asking_for_it_is_refused(self):
        done = self.run_denied("--io", "uring", "--ack")
        if done.returncode == 99:
            self.skipTest("no seccomp here")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertIn("baton: ", done.stderr)
        self.assertIn("io_uring", done.stderr)

    def test_a_result_that_can_not_be_written_is_an_error(self):
        self.append(self.journal, ["x"])
        for verb in ("dump", "stat"):
            with open("/dev/full", "w", encoding="ascii") as full:
                done = subprocess.run([BATON, "journal", verb, self.journal], stdout=full, stderr=subprocess.PIPE,
                                      text=True, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("stdout", done.stderr)

    def test_closed_standard_descriptors_do_not_reach_the_journal(self):
        done = subprocess.run(["sh", "-c", 'exec "$0" journal append "$1" <"$2" >&- 2>&-', BATON, self.journal,
                               os.path.abspath(__file__)], check=False)
        self.assertIn(done.returncode, (0, 1))
        with open(__file__, encoding="utf-8") as file:
            self.assertEqual(self.payloads(self.journal), file.read().splitlines())
        self.baton("journal", "verify", self.journal, check=0)


if __name__ == "__main__":
    main()
