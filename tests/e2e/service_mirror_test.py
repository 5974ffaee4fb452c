"""risk-mirror between the real risk engine and a real redis-server: what is in Redis is what the risk engine has, to the unit,
whoever is killed; one key version goes and the other stays."""
import shutil
import signal

import process
import workdir
from exchange_case import BASE, QUOTE, ExchangeCase, Flow
from exchange_stage import kill_switch
from handover_case import stopped
from redis_server import RedisServer
from service_client import DONE, SELL, order
from workdir import main, wait_until

MIRROR = process.program("risk-mirror")


class MirrorCase(ExchangeCase):
    pairs = f"{BASE}/{QUOTE}/1,{BASE}/{QUOTE}/1"
    risk_options = ("--outbox", "risk-mirror")
    CLIENTS = (1, 2, 3, 4)

    def setUp(self):
        super().setUp()
        self.redis = RedisServer(self)
        self.mirror = None

    def start_mirror(self, *options, version="v1", at=None):
        self.mirror = self.spawn(MIRROR, "--redis", at or self.redis.address, "--from", self.paths["checked"],
                                 "--key-version", version, *options)
        self.mirror.wait_for("risk_mirror.ready", "stderr")
        return self.mirror

    def begin(self, amount=100000):
        self.redis.start()
        self.start_all()
        client = self.client()
        for number in self.CLIENTS:
            self.deposit(client, number, BASE, amount)
            self.deposit(client, number, QUOTE, amount)
        return client

    def unconfirmed(self):
        status = self.status_of(self.directories["risk"])
        return status["outbox"]["effects"] if status else None

    def wait_mirrored(self, version="v1"):
        """Redis has all, and says so."""
        def mirrored():
            if not self.mirror.running():
                raise AssertionError(f"the mirror ended with {self.mirror.popen.returncode}:\n{self.mirror.err()}")
            return self.redis.ask("HGET", f"{version}:position", "whole") == "1" and self.unconfirmed() == 0
        wait_until(mirrored, "the mirror to have all")

    def in_risk_engine(self, number):
        """{symbol: (position, cash, open to buy, open to sell)}, what is zero left out."""
        of = self.account_of(number)
        found = {symbol: tuple(numbers[:4]) for symbol, numbers in of.exposures.items() if any(numbers[:4])}
        return found, (of.killed, of.all_killed)

    def in_redis(self, number, version="v1"):
        exposure, pnl = (self.redis.hash(f"{version}:{what}:{number}") for what in ("exposure", "pnl"))
        found = {}
        for symbol in {int(field.split(":")[0]) for field in [*exposure, *pnl]}:
            numbers = (exposure.get(f"{symbol}:position"), pnl.get(str(symbol)), exposure.get(f"{symbol}:open_buy"),
                       exposure.get(f"{symbol}:open_sell"))
            if any(int(one or 0) for one in numbers):  # int(): nothing but whole numbers, no exponents
                found[symbol] = tuple(int(one or 0) for one in numbers)
        killed = [int(self.redis.ask("GET", key) or 0) for key in
                  (f"{version}:kill_switch:{number}", f"{version}:kill_switch")]
        return found, tuple(killed)

    def assert_equal_everywhere(self, version="v1"):
        self.wait_mirrored(version)
        for number in self.CLIENTS:
            self.assertEqual(self.in_redis(number, version), self.in_risk_engine(number), number)

    def trade(self, client, first, count, size=1):
        for number in range(first, first + count):
            self.assertEqual(client.ack(order(1, number, size=2 * size)).outcome, DONE)
            self.assertEqual(client.ack(order(2, number, size=size, side=SELL)).outcome, DONE)


class Once(MirrorCase):
    def test_whoever_is_killed_redis_has_what_the_risk_engine_has(self):
        client = self.begin()
        client.close()
        flow = Flow(self, workdir.seed(), self.CLIENTS)
        self.start_mirror()

        def again(name):
            if name == "mirror":
                self.start_mirror()
            elif name == "redis":
                self.redis.start()
            else:
                self.start("risk")
        cuts = [("mirror",), ("redis",), ("risk",), ("mirror", "redis"), ("redis", "risk"), ("mirror", "risk"), ("redis",),
                ("mirror",)]
        for number, names in enumerate(cuts):
            flow.send(60)
            flow.take(50 - 5 * number)
            for name in names:
                {"mirror": self.mirror, "redis": self.redis, "risk": self.children["risk"]}[name].kill()
            for name in names:
                again(name)
            flow.take(0)
        self.assert_equal_everywhere()
        self.assertTrue(any(self.in_redis(number)[0].get(0, (0,))[0] for number in self.CLIENTS))
        self.assertEqual(self.mirror.terminate(), 0, self.mirror.err())
        self.start_mirror("--check")  # the risk engine's own list, beside what was counted up
        self.mirror.wait_for("risk_mirror.checked", "stderr")
        self.assertEqual(self.mirror.terminate(), 0, self.mirror.err())
        self.assertEqual(self.children["risk"].terminate(), 0)
        process.run(process.program("risk-engine"), "baton", "verify", self.directories["risk"], "--pairs", self.pairs,
                    *self.risk_options, check=0)

    def test_whole_numbers_stay_exact_beyond_the_doubles(self):
        large = (1 << 60) - 3
        client = self.begin(amount=1 << 60)
        self.start_mirror()
        for number, size in enumerate((large, 1, 1)):
            self.assertEqual(client.ack(order(1, number + 1, price=1, size=size)).outcome, DONE)
            self.assertEqual(client.ack(order(2, number + 1, price=1, size=size, side=SELL)).outcome, DONE)
            self.assert_equal_everywhere()
        self.assertEqual(self.redis.ask("HGET", "v1:exposure:1", "0:position"), str(large + 2))
        self.assertEqual(self.redis.ask("HGET", "v1:pnl:1", "0"), str(-large - 2))

    def test_kill_switches_are_one_get(self):
        client = self.begin()
        self.start_mirror()
        self.wait_mirrored()
        for account, key in ((3, "v1:kill_switch:3"), (0, "v1:kill_switch")):
            for on in (1, 0, 1):
                self.assertEqual(self.admin(client, kill_switch, account, on), DONE)
                wait_until(lambda: self.redis.ask("GET", key) == str(on), f"{key} to be {on}")
        self.assert_equal_everywhere()
        self.assertIsNone(self.redis.ask("GET", "v1:kill_switch:2"))


class Beside(MirrorCase):
    def test_across_a_handover_of_the_risk_engine_nothing_is_missed_and_nothing_doubled(self):
        self.begin().close()
        flow = Flow(self, workdir.seed(), self.CLIENTS)
        self.start_mirror()
        flow.send(40)
        new = self.start("risk", self.other, "--standby-of", self.directories["risk"])
        self.wait_level(new, self.directories["risk"])
        flow.send(60)
        self.handover(self.directories["risk"], "--wait", "--max-gap", "30s", check=0)
        self.assertEqual(self.children["risk"].wait(), 0)
        self.children["risk"], self.directories["risk"] = new, self.other
        flow.send(40)
        flow.take(0)
        self.assert_equal_everywhere()

    def test_two_mirrors_of_one_version_do_not_count_twice(self):
        client = self.begin()
        mirrors = [self.start_mirror(), self.start_mirror()]
        for number in range(1, 31):
            self.trade(client, number, 1)
        self.assert_equal_everywhere()
        for child in mirrors:
            self.assertEqual(child.terminate(), 0, child.err())


class Versions(MirrorCase):
    def test_a_new_key_version_becomes_whole_and_goes_alone(self):
        client = self.begin()
        self.start_mirror()
        self.trade(client, 1, 5)
        self.assertEqual(self.admin(client, kill_switch, 4, 1), DONE)
        self.assert_equal_everywhere()
        self.assertEqual(self.mirror.terminate(), 0)
        old = self.redis.keys()
        for other in ("v22:exposure:1", "v2", "w:v2:pnl:1"):
            self.redis.ask("SET", other, "another's")

        self.start_mirror(version="v2")  # it has never seen what is there already
        self.assertEqual(self.mirror.wait(), 1)
        self.assertIn("risk_mirror.gap", self.mirror.err())
        self.assertIn("--resync", self.mirror.err())
        self.start_mirror("--resync", version="v2")
        self.assert_equal_everywhere("v2")
        self.trade(client, 6, 5)
        self.assert_equal_everywhere("v2")
        self.assertEqual(self.mirror.terminate(), 0)

        done = process.run(MIRROR, "flush", "--redis", self.redis.address, "--key-version", "v2", check=0)
        self.assertRegex(done.stdout, r"flushed \d\d? keys of v2")
        self.assertEqual(self.redis.keys(), sorted(old + ["v22:exposure:1", "v2", "w:v2:pnl:1"]))
        self.start_mirror()  # what happened meanwhile was told to v2
        self.assertEqual(self.mirror.wait(), 1)
        self.assertIn("risk_mirror.gap", self.mirror.err())
        self.start_mirror("--resync")
        self.trade(client, 11, 5)
        self.assert_equal_everywhere()

    def test_many_clients_come_over_page_by_page_while_they_trade(self):
        self.CLIENTS = tuple(range(1, 131))
        client = self.begin()
        self.start_mirror()
        for number in self.CLIENTS:
            client.send(order(number, 1, price=50, size=number))
        wait_until(lambda: self.in_risk_engine(130)[0] == {0: (0, 0, 130, 0)}, "all orders to be open")
        self.wait_mirrored()
        self.assertEqual(self.mirror.terminate(), 0)
        flow = Flow(self, workdir.seed(), self.CLIENTS)
        flow.seqs = dict.fromkeys(self.CLIENTS, 1)
        self.start_mirror("--resync", version="v2")
        for _ in range(5):
            flow.send(100)
            flow.take(20)
        self.mirror.kill()
        self.start_mirror("--resync", version="v2")  # from the page where it was
        flow.take(0)
        self.assert_equal_everywhere("v2")
        self.assertEqual(self.mirror.terminate(), 0)
        self.start_mirror("--check", version="v2")
        self.mirror.wait_for("risk_mirror.checked", "stderr")


class Wrong(MirrorCase):
    def test_while_redis_is_away_or_says_nothing_it_waits_and_then_misses_nothing(self):
        client = self.begin()
        self.start_mirror()
        self.trade(client, 1, 3)
        self.redis.kill()
        self.trade(client, 4, 3)
        self.mirror.wait_for("risk_mirror.waits", "stderr")
        self.assertIn("see after Redis", self.mirror.err())
        self.assertGreater(self.unconfirmed(), 0)
        self.redis.start()
        self.mirror.wait_for("risk_mirror.goes_on", "stderr")
        self.assert_equal_everywhere()
        self.redis.child.send(signal.SIGSTOP)
        wait_until(lambda: stopped(self.redis.child), "redis-server to stand still")
        self.trade(client, 7, 3)
        self.assertEqual(self.mirror.terminate(), 0)  # in the middle of a script, or before it
        self.redis.child.send(signal.SIGCONT)
        self.start_mirror()
        self.assert_equal_everywhere()
        self.redis.ask("SCRIPT", "FLUSH")
        self.trade(client, 10, 3)
        self.assert_equal_everywhere()

    def test_what_redis_has_lost_or_somebody_has_changed_is_named(self):
        client = self.begin()
        self.start_mirror()
        self.trade(client, 1, 3)
        self.assert_equal_everywhere()
        self.redis.kill()
        shutil.rmtree(self.redis.directory)
        self.redis.directory.mkdir()
        self.redis.start()
        self.assertEqual(self.mirror.wait(), 1)
        self.assertIn("risk_mirror.lost", self.mirror.err())
        self.assertIn("appendfsync", self.mirror.err())
        self.start_mirror("--resync")
        self.assert_equal_everywhere()
        self.assertEqual(self.mirror.terminate(), 0)

        self.start_mirror()
        self.wait_mirrored()
        before = self.redis.ask("HGET", "v1:position", "number")
        self.redis.ask("HINCRBYFLOAT", "v1:pnl:2", "0", "1")
        self.trade(client, 4, 1)
        self.assertEqual(self.mirror.wait(), 1)
        self.assertIn("risk_mirror.diverged", self.mirror.err())
        self.assertIn("v1:pnl:2 0: 301 where the risk engine had 300", self.mirror.err())
        self.assertGreaterEqual(int(self.redis.ask("HGET", "v1:position", "number")), int(before))
        self.start_mirror("--resync")
        self.assert_equal_everywhere()
        self.redis.kill()
        shutil.rmtree(self.redis.directory)
        self.redis.directory.mkdir()
        self.redis.start()  # while it runs, and may make it anew by itself
        self.mirror.wait_for("risk_mirror.lost", "stderr")
        self.trade(client, 5, 1)
        self.assert_equal_everywhere()

    def test_a_risk_engine_that_has_lost_what_it_had_released_is_named(self):
        client = self.begin()
        self.assertEqual(self.children["risk"].terminate(), 0)
        shutil.copytree(self.directories["risk"], self.root / "backup", ignore=shutil.ignore_patterns("*.sock*"))
        self.start("risk")
        self.start_mirror()
        self.trade(client, 1, 3)
        self.assert_equal_everywhere()
        for child in self.children.values():
            child.kill()
        shutil.rmtree(self.directories["risk"])
        shutil.copytree(self.root / "backup", self.directories["risk"])
        self.start("risk")
        self.assertEqual(self.mirror.wait(), 1, self.mirror.err())
        self.assertRegex(self.mirror.err(), "risk_mirror.went_back|confirmed an effect that was never sent")

    def test_it_says_what_it_wants(self):
        text = process.run(MIRROR, "--help", check=0).stdout
        for word in ("--redis", "--key-version", "flush", "Examples:"):
            self.assertIn(word, text)
        for arguments, word in (((), "--redis: missing"), (("--redis", "unix:x"), "--from: missing"),
                                (("flush", "--redis", "unix:x"), "--key-version: missing"),
                                (("--redis", "unix:x", "--from", "unix:y", "z"), "'z': not known"),
                                (("--redis", "unix:x", "--from", "unix:y", "--key-version", "v*"), "'v*' is none"),
                                (("flush", "--redis", "unix:x", "--key-version", "v1", "--resync"), "takes --redis and")):
            self.assertIn(word, process.run(MIRROR, *arguments, check=1).stderr)
        nowhere = process.run(MIRROR, "flush", "--redis", f"unix:{self.root}/none", "--key-version", "v1", check=1)
        self.assertRegex(nowhere.stderr, "baton: unix:.*: .*: mend that")


if __name__ == "__main__":
    main()
