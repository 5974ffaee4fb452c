"""What clients may send the matching engine: everything. It answers, refuses or hangs up, and serves the others."""
import random
import resource
import struct
import time

import process
from service_client import (ACK, BAD_COMMAND, BODY_BYTES_MAX, CANCEL, DONE, EXPIRED, FILL, GTD, NEW, NEW_ORDER,
                            NOT_HERE, OLD, OUTCOMES_KEPT, REDUCE, SELL, SUBSCRIBE, TOO_LATE, TOO_OLD, UNKNOWN_ORDER,
                            Ack, Ended, ServiceCase, cancel, clock, frame, hello, order, switch)
from workdir import main, seed

E_TOO_LARGE_TEXT = "larger than 8192 bytes"


class Frames(ServiceCase):
    def assert_serves(self, engine, client_id=7):
        """It still takes a new client's order."""
        self.assertTrue(engine.running(), engine.err()[-3000:])
        client = self.client(engine)
        self.assertEqual(client.ack(order(client_id, 1)).outcome, DONE)
        client.close()

    def assert_refused(self, engine, text, *frames, greet=True):
        client = self.client(engine, greet)
        client.send(*frames)
        status, said = client.error()
        self.assertGreater(status, 0)
        self.assertIn(text, said)

    def test_hello_is_answered_with_version_and_epoch(self):
        engine = self.engine()
        client = self.client(engine)
        self.assertEqual((client.version, client.epoch), ("1.0.0", engine.ready["epoch"]))

    def test_malformed_frames_are_refused_and_only_their_connection_ends(self):
        engine = self.engine()
        bystander = self.client(engine)
        first = "first frame must be HELLO"
        self.assert_refused(engine, first, order(1, 1), greet=False)
        self.assert_refused(engine, first, frame(1, b"\1\0\0\0"), greet=False)
        self.assert_refused(engine, "version 1", hello(2), greet=False)
        self.assert_refused(engine, "HELLO twice", hello())
        self.assert_refused(engine, "unknown frame type", frame(99))
        self.assert_refused(engine, "unknown frame type", frame(SUBSCRIBE))
        self.assert_refused(engine, "unknown frame type", frame(32))
        self.assert_refused(engine, E_TOO_LARGE_TEXT, struct.pack("<IHH", BODY_BYTES_MAX + 1, NEW_ORDER, 0))
        self.assert_refused(engine, E_TOO_LARGE_TEXT, b"\xff" * 8)
        self.assert_refused(engine, E_TOO_LARGE_TEXT, struct.pack("<IHH", 0xFFFFFFFF, 1, 0), greet=False)
        self.assert_refused(engine, "malformed frame header", struct.pack("<IHH", 8, NEW_ORDER, 1))
        malformed = "malformed command"
        self.assert_refused(engine, malformed, frame(NEW_ORDER, b"\1" * 47))
        self.assert_refused(engine, malformed, frame(NEW_ORDER, order(1, 1)[8:-5] + b"\2" + bytes(4)))
        self.assert_refused(engine, malformed, frame(CANCEL))
        self.assert_refused(engine, malformed, frame(REDUCE, b"\1" * BODY_BYTES_MAX))
        self.assert_refused(engine, malformed, switch(1, 1, 1 << 31))
        self.assertEqual(bystander.ack(order(1, 1)).outcome, DONE)
        self.assert_serves(engine)

    def test_values_out_of_range_are_answered_not_applied(self):
        engine = self.engine()
        client = self.client(engine)
        for name in ((0, 1), (1 << 24, 1), (1, 0), (1, 1 << 40), ((1 << 64) - 1, (1 << 64) - 1)):
            ack = client.ack(order(*name))
            self.assertEqual((ack.client, ack.client_seq, ack.outcome, ack.seq), (*name, BAD_COMMAND, 0))
        for number, wrong in enumerate(({"size": 0}, {"size": 1 << 63}, {"side": 2}, {"time_in_force": 9},
                                        {"expire_ns": 5}, {"time_in_force": GTD}), 1):
            ack = client.ack(order(1, number, **wrong))
            self.assertNotEqual(ack.outcome, DONE, wrong)
            self.assertEqual(ack.seq, number)  # a refusal of the book is an outcome like any other
        self.assertEqual(client.ack(cancel(1, 20, (1 << 64) - 1)).outcome, UNKNOWN_ORDER)
        self.assert_serves(engine)

    def test_commands_that_this_engine_does_not_take_are_answered_not_applied(self):
        engine = self.engine()
        client = self.client(engine)
        for command in (clock(1, 1, 5), switch(1, 1, 1)):
            ack = client.ack(command)
            self.assertEqual((ack.outcome, ack.seq), (NOT_HERE, 0))
        self.assertEqual(client.ack(order(1, 1)).seq, 1)

    def test_garbage_ends_its_own_connection_only(self):
        draw = random.Random(seed())
        engine = self.engine()
        for number in range(60):
            client = self.client(engine, greet=number % 2 == 0)
            try:
                client.send(draw.randbytes(draw.randrange(1, 20000)))
                client.socket.shutdown(1)
                while True:
                    client.receive()
            except (Ended, BrokenPipeError, ConnectionResetError, OSError):
                pass
            client.close()
        self.assert_serves(engine)

    def test_frames_in_the_smallest_pieces_are_whole_in_the_end(self):
        engine = self.engine()
        client = self.client(engine)
        for byte in order(1, 1) + order(1, 2):
            client.send(bytes([byte]))
        self.assertEqual([Ack(client.receive_of(ACK)).client_seq for _ in range(2)], [1, 2])

    def test_a_half_frame_is_never_applied(self):
        engine = self.engine()
        for cut in (1, 7, 8, 30, len(order(1, 1)) - 1):
            client = self.client(engine)
            client.send(order(1, 1)[:cut])
            client.close()
        self.assertEqual(self.client(engine).ack(order(1, 1)).seq, 1)

    def test_what_was_sent_before_the_end_of_a_connection_is_taken(self):
        engine = self.engine()
        client = self.client(engine)
        client.send(order(1, 1), order(1, 2))
        client.close()
        status = [process.program("baton"), "service", "status", engine.ready["control"], "-o", "json"]
        self.wait_until(lambda: process.run(*status, check=0).json()["released_seq"] == 2, "both orders")
        again = self.client(engine)
        self.assertEqual([again.ack(order(1, n)).seq for n in (1, 2, 3)], [1, 2, 3])

    def test_orders_arrive_over_tcp_too(self):
        engine = self.engine(listen="tcp:127.0.0.1:0")
        self.assertTrue(engine.listen.startswith("tcp:127.0.0.1:"))
        self.assertEqual(self.client(engine).ack(order(1, 1)).outcome, DONE)
        self.assert_refused(engine, E_TOO_LARGE_TEXT, struct.pack("<IHH", BODY_BYTES_MAX + 1, NEW_ORDER, 0))

    def test_an_address_that_can_not_be_is_refused_with_what_to_do(self):
        for listen in ("unix:", "tcp:nowhere", "carrier-pigeon", "unix:/nowhere/at/all/s", f"unix:{'x' * 200}"):
            result = process.run(NEW, "run", "--dir", self.data, "--listen", listen)
            self.assertEqual(result.status, 1, result)
            self.assertRegex(result.stderr, r"(?m)^baton: listen on .+: .+: .+")


class Trading(ServiceCase):
    def test_each_side_of_a_trade_is_told(self):
        engine = self.engine()
        maker, taker = self.client(engine), self.client(engine)
        maker.ack(order(1, 1, price=100, size=10))
        ack = taker.ack(order(2, 1, price=90, size=4, side=SELL))
        self.assertEqual((ack.filled, ack.remaining), (4, 0))
        fill = struct.unpack("<QQQqQQBB6x", maker.receive_of(FILL))
        self.assertEqual(fill, (1, 1, 1, 100, 4, 6, 0, 0))

    def test_an_order_good_till_a_time_expires_by_the_wall_clock(self):
        engine = self.engine()
        client = self.client(engine)
        command = order(1, 1, time_in_force=GTD, expire_ns=time.time_ns() + 1000000000)
        self.assertEqual(client.ack(command).outcome, DONE)
        self.assertEqual(struct.unpack("<QQQ", client.receive_of(EXPIRED)), (1, 1, 10))
        self.assertEqual(client.ack(cancel(1, 2, 1)).outcome, UNKNOWN_ORDER)

    def test_an_order_good_till_a_time_expires_by_the_clients_clock(self):
        engine = self.engine("--ticks", "client")
        client = self.client(engine)
        client.ack(order(1, 1, time_in_force=GTD, expire_ns=1000))
        self.assertEqual(client.ack(clock(2, 1, 999)).outcome, DONE)
        client.send(clock(2, 2, 1000))
        self.assertEqual(struct.unpack("<QQQ", client.receive_of(EXPIRED)), (1, 1, 10))

    def test_what_shipped_dark_changes_answers_only_once_it_is_switched_on(self):
        engine = self.engine(program=NEW)
        client = self.client(engine)
        client.ack(order(1, 1))
        self.assertEqual(client.ack(cancel(1, 2, 1)).outcome, DONE)
        self.assertEqual(client.ack(cancel(1, 3, 1)).outcome, UNKNOWN_ORDER)
        self.assertEqual(client.ack(switch(1, 4, 1)).outcome, DONE)
        self.assertEqual(client.ack(cancel(1, 5, 1)).outcome, TOO_LATE)
        self.assertEqual(client.ack(cancel(1, 6, 77)).outcome, UNKNOWN_ORDER)
        engine.kill()
        client = self.client(self.engine(program=NEW))
        self.assertEqual(client.ack(cancel(1, 7, 1)).outcome, TOO_LATE)


class Resends(ServiceCase):
    def test_a_resend_is_answered_with_the_original_ack_across_kill_drain_and_version(self):
        engine = self.engine()
        client = self.client(engine)
        sent = [order(1, 1), order(2, 1, side=SELL, size=3), cancel(1, 2, 1), cancel(1, 3, 1)]
        answers = [client.ack(command) for command in sent]
        self.assertEqual([ack.seq for ack in answers], [1, 2, 3, 4])
        for end in (None, engine.kill, None):
            if end:
                end()
                engine = self.engine()
            again = self.client(engine)
            self.assertEqual([again.ack(command).body for command in sent], [ack.body for ack in answers])
        self.assertEqual(engine.terminate(), 0)
        client = self.client(self.engine(program=NEW))
        self.assertEqual([client.ack(command).body for command in sent], [ack.body for ack in answers])
        self.assertEqual(client.ack(order(3, 1)).seq, 5)

    def test_a_resend_beside_the_first_is_applied_once(self):
        client = self.client(self.engine())
        client.send(order(1, 1), order(1, 1), order(1, 1), order(1, 2))
        self.assertEqual(client.ack().seq, 1)
        last = client.ack()
        while last.client_seq == 1:  # one more for each that came after it was durable
            self.assertEqual(last.seq, 1)
            last = client.ack()
        self.assertEqual((last.client_seq, last.seq), (2, 2))

    def test_what_is_older_than_what_is_kept_is_refused_not_applied(self):
        client = self.client(self.engine())
        client.send(*[order(1, 10 + n) for n in range(OUTCOMES_KEPT + 1)])
        for n in range(OUTCOMES_KEPT + 1):
            self.assertEqual(client.ack().seq, n + 1)
        self.assertEqual((client.ack(order(1, 11)).seq, client.ack(order(1, 11)).outcome), (2, DONE))
        for old in (1, 9, 10):
            ack = client.ack(order(1, old))
            self.assertEqual((ack.outcome, ack.seq), (TOO_OLD, 0))

    def test_answers_go_to_the_connection_that_last_spoke_for_the_client(self):
        engine = self.engine()
        first, second = self.client(engine), self.client(engine)
        first.ack(order(1, 1))
        self.assertEqual(second.ack(order(1, 2)).client_seq, 2)
        self.assertEqual(first.ack(order(1, 3)).client_seq, 3)


class Crowds(ServiceCase):
    def setUp(self):
        super().setUp()
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, self.limits)

    def crowd(self, count, greet=False):
        """So many connections; without greet they never say HELLO."""
        if self.limits[1] < count + 200:
            self.skipTest(f"only {self.limits[1]} descriptors are allowed here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(self.limits[0], count + 200), self.limits[1]))
        return [self.client(self.running, greet) for _ in range(count)]

    def test_idle_connections_do_not_lock_others_out(self):
        self.running = self.engine()
        served = self.client(self.running)
        self.crowd(1200)
        self.assertEqual(served.ack(order(1, 1)).outcome, DONE)
        self.assertEqual(self.client(self.running).ack(order(2, 1)).outcome, DONE)

    def test_who_finds_a_full_house_is_told_and_one_that_leaves_makes_room(self):
        self.running = self.engine()
        crowd = self.crowd(1023, greet=True)
        self.assertIn("as many connections as there may be", self.client(self.running, greet=False).error()[1])
        self.assertEqual(crowd[-1].ack(order(1, 1)).outcome, DONE)
        crowd[5].close()
        self.wait_until(self.has_room, "the place that was left")

    def has_room(self):
        try:
            return self.client(self.running).ack(order(2, 1)).outcome == DONE
        except (Ended, AssertionError, BrokenPipeError, ConnectionResetError):
            return False

    def test_with_few_descriptors_it_serves_and_still_drains_and_takes_its_snapshot(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, self.limits[1]))
        limited = process.program("matching-engine-1.0.0")
        wrapper = self.directory / "limited"
        wrapper.write_text(f'#!/bin/sh\nulimit -n 128\nexec "{limited}" "$@"\n')
        wrapper.chmod(0o755)
        self.running = self.engine(program=wrapper)
        self.crowd(300)
        self.assertEqual(self.client(self.running).ack(order(1, 1)).outcome, DONE)
        self.assertEqual(self.running.terminate(), 0)
        self.assertIn("snapshot=taken", self.running.err())

    def test_a_client_that_does_not_read_is_dropped_and_may_come_back(self):
        engine = self.engine()
        deaf, other = self.client(engine), self.client(engine)
        deaf.send(*[order(1, n, size=1, side=2) for n in range(1, OUTCOMES_KEPT + 11)])
        sent, refused = 0, order(1, 0) * 1000
        try:
            # 16 MiB of answers, 56 bytes each, and what the sockets hold.
            while sent < 1000000:
                deaf.send(refused)
                sent += 1000
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertLess(sent, 1000000, "it was never dropped")
        self.assertEqual(other.ack(order(2, 1)).outcome, DONE)
        back = self.client(engine)
        self.assertEqual(back.ack(order(1, 1, size=1, side=2)).outcome, TOO_OLD)
        self.assertEqual(back.ack(order(1, OUTCOMES_KEPT + 10, size=1, side=2)).seq, OUTCOMES_KEPT + 10)
        self.assertEqual(back.ack(order(1, 5000)).outcome, DONE)


class Versions(ServiceCase):
    def test_pinned_data_takes_both_versions_and_finalized_data_only_the_newer(self):
        engine = self.engine()
        sent = [order(1, 1), order(2, 1, side=SELL, size=3)]
        answers = [self.client(engine).ack(command).body for command in sent]
        self.assertEqual(engine.terminate(), 0)
        for program in (NEW, OLD, NEW):
            engine = self.engine(program=program)
            client = self.client(engine)
            self.assertEqual([client.ack(command).body for command in sent], answers)
            self.assertEqual(client.ack(switch(3, 1, 3)).outcome, NOT_HERE)
            if program is OLD:
                engine.kill()
            elif engine.ready["epoch"] < 4:
                self.assertEqual(engine.terminate(), 0)
        process.run(process.program("baton"), "service", "finalize", engine.ready["control"], check=0)
        self.assertEqual(client.ack(switch(3, 1, 3)).outcome, DONE)
        self.assertEqual(client.ack(order(2, 2, side=SELL, size=2)).filled, 2)
        digests = []
        for end in (process.Process.kill, process.Process.terminate):
            end(engine)
            digest = process.run(NEW, "baton", "digest", self.data, "-o", "json", check=0).json()
            digests.append(digest["state_digest"])
            refused = process.run(OLD, "run", "--dir", self.data, "--listen", f"unix:{self.orders_path}")
            self.assertEqual(refused.status, 1, refused)
            self.assertRegex(refused.stderr, r"(?m)^baton: .*schema.*: .+")
            engine = self.engine(program=NEW)
        self.assertEqual(digests[0], digests[1])
        client = self.client(engine)
        self.assertEqual([client.ack(command).body for command in sent], answers)
        self.assertEqual(client.ack(cancel(2, 3, 1)).outcome, TOO_LATE)


class Neighbours(ServiceCase):
    def test_a_second_engine_on_the_same_directory_is_refused_and_the_first_serves_on(self):
        engine = self.engine()
        other = self.socket_path("other")
        result = process.run(NEW, "run", "--dir", self.data, "--listen", f"unix:{other}",
                             "--control", f"{other}.control")
        self.assertEqual(result.status, 7, result)
        self.assertRegex(result.stderr, r"(?m)^baton: [^:]+: .+: .+")
        self.assertEqual(self.client(engine).ack(order(1, 1)).outcome, DONE)

    def test_a_second_engine_on_the_same_address_is_refused_and_the_first_serves_on(self):
        engine = self.engine()
        result = process.run(NEW, "run", "--dir", self.directory / "other", "--listen", engine.listen)
        self.assertNotEqual(result.status, 0, result)
        self.assertRegex(result.stderr, r"(?m)^baton: listen on .+: another process listens there: .+")
        self.assertEqual(self.client(engine).ack(order(1, 1)).outcome, DONE)

    def test_a_file_that_is_no_socket_is_never_replaced(self):
        file = self.directory / "precious"
        file.write_text("keep")
        result = process.run(NEW, "run", "--dir", self.data, "--listen", f"unix:{file}")
        self.assertEqual(result.status, 1, result)
        self.assertEqual(file.read_text(), "keep")

    def test_the_address_of_a_killed_engine_can_be_used_at_once(self):
        self.engine().kill()
        self.assertEqual(self.client(self.engine()).ack(order(1, 1)).outcome, DONE)


if __name__ == "__main__":
    main()
