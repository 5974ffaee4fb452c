"""The feed of trades: what its consumer has not confirmed comes again, word for word, whatever became of the engine."""
import struct

import process
from service_client import (ACK, CONFIRM, DONE, EFFECT, ERROR, NEW, NEW_ORDER, SELL, SETTLEMENT, SUBSCRIBE, Client, Ended,
                            ServiceCase, frame, order, subscription, trades_of)
from workdir import main

KEY = struct.Struct("<QQI4x")


class Feed(ServiceCase):
    def setUp(self):
        super().setUp()
        self.feed_path = self.socket_path("feed")

    def engine(self, *options, **more):
        return super().engine("--feed", f"unix:{self.feed_path}", "--outbox", "trades", *options, **more)

    def feed(self, engine, subscribe=True):
        feed = Client(self, engine.feed)
        if subscribe:
            feed.send(subscription())
        return feed

    def trade(self, client, number):
        """One trade; number counts from 1."""
        client.ack(order(1, number))
        self.assertEqual(client.ack(order(2, number, side=SELL)).outcome, DONE)

    def bodies(self, feed, count):
        return [feed.receive_trades() for _ in range(count)]

    def key(self, body):
        return KEY.unpack_from(body)

    def confirm(self, body):
        return frame(CONFIRM, body[:KEY.size])

    def unconfirmed(self, engine):
        status = process.run(process.program("baton"), "service", "status", engine.ready["control"], "-o", "json",
                             check=0)
        return status.json()["outbox"]["effects"]

    def test_unconfirmed_trades_come_again_word_for_word_across_reconnect_kill_drain_and_version(self):
        engine = self.engine()
        client, feed = self.client(engine), self.feed(engine)
        for number in (1, 2, 3):
            self.trade(client, number)
        sent = self.bodies(feed, 3)
        self.assertEqual([self.key(body)[1:] for body in sent], [(2, 0), (4, 0), (6, 0)])
        feed.close()
        self.assertEqual(self.bodies(self.feed(engine), 3), sent)
        engine.kill()
        engine = self.engine()
        self.assertEqual(self.bodies(self.feed(engine), 3), sent)
        self.assertEqual(engine.terminate(), 0)
        engine = self.engine(program=NEW)
        feed = self.feed(engine)
        self.assertEqual(self.bodies(feed, 3), sent)
        self.trade(self.client(engine), 4)
        self.assertEqual(self.key(self.bodies(feed, 1)[0]), (engine.ready["epoch"], 8, 0))

    def test_confirmed_trades_do_not_come_again(self):
        engine = self.engine()
        client, feed = self.client(engine), self.feed(engine)
        for number in (1, 2, 3):
            self.trade(client, number)
        sent = self.bodies(feed, 3)
        feed.send(self.confirm(sent[0]))
        self.wait_until(lambda: self.unconfirmed(engine) == 4, "the confirmation to take hold")
        self.trade(client, 4)  # acked: so is durable what was journaled before it
        sent += self.bodies(feed, 1)
        engine.kill()
        engine = self.engine()
        feed = self.feed(engine)
        self.assertEqual(self.bodies(feed, 3), sent[1:])
        feed.send(self.confirm(sent[3]), self.confirm(sent[1]))  # an older one again changes nothing
        self.wait_until(lambda: self.unconfirmed(engine) == 0, "the confirmation to take hold")
        self.trade(self.client(engine), 5)
        self.assertEqual(self.key(self.bodies(feed, 1)[0])[1], 10)
        self.assertEqual(engine.terminate(), 0)
        engine = self.engine()
        self.assertEqual(self.key(self.bodies(self.feed(engine), 1)[0])[1], 10)

    def test_many_trades_of_one_order_come_in_several_pieces_and_in_order(self):
        engine = self.engine()
        client, feed = self.client(engine), self.feed(engine)
        client.send(*[order(1, n, size=1) for n in range(1, 121)])
        client.send(order(2, 1, size=120, side=SELL))
        makers = []
        keys = []
        while len(makers) < 120:
            body = feed.receive_trades()
            keys.append(self.key(body))
            makers += [trade[2] for trade in trades_of(body)]
        self.assertEqual(makers, list(range(1, 121)))
        self.assertGreater(len(keys), 1)
        self.assertEqual([key[2] for key in keys], list(range(len(keys))))

    def test_a_slow_subscriber_misses_nothing_and_holds_nobody_up(self):
        engine = self.engine()
        client, feed = self.client(engine), self.feed(engine)
        count, part = 52000, 4000  # trades: 6 MiB, more than a connection may have waiting
        client.ack(order(1, 1, size=count))
        for first in range(1, count + 1, part):
            client.send(*[order(2, first + n, size=1, side=SELL) for n in range(part)])
            for _ in range(part):
                client.receive_of(ACK)
        reader = self.feed(engine)  # takes over from one that never read a byte
        for subscriber in (reader, self.feed(engine)):
            number = 0
            while number < count and (subscriber is not reader or number < 1000):
                for trade in trades_of(subscriber.receive_trades()):
                    number += 1
                    self.assertEqual(trade[0], number)
        self.assertEqual(client.ack(order(3, 1)).outcome, DONE)

    def test_the_newest_subscriber_takes_the_feed_over(self):
        engine = self.engine()
        first = self.feed(engine)
        self.trade(self.client(engine), 1)
        sent = self.bodies(first, 1)
        second = self.feed(engine)
        self.assertEqual(self.bodies(second, 1), sent)
        self.assertIn("taken over", first.error()[1])

    def test_what_a_consumer_may_not_say_is_refused(self):
        engine = self.engine()
        self.trade(self.client(engine), 1)
        for text, subscribe, said in (("after SUBSCRIBE", False, frame(CONFIRM, KEY.pack(1, 2, 0))),
                                      ("never sent", True, frame(CONFIRM, KEY.pack(1, 99, 0))),
                                      ("never sent", True, frame(CONFIRM, KEY.pack(9, 1, 0))),
                                      ("needs a key", True, frame(CONFIRM, b"\0" * 23)),
                                      ("SUBSCRIBE once", True, subscription()),
                                      ("SUBSCRIBE once", False, frame(SUBSCRIBE, b"x")),
                                      ("SUBSCRIBE once", False, frame(SUBSCRIBE)),
                                      ("see --outbox", False, subscription(SETTLEMENT)),
                                      ("see --outbox", False, subscription(0)),
                                      ("see --outbox", False, subscription(9)),
                                      ("see --outbox", False, subscription(65535)),
                                      ("SUBSCRIBE once", False, order(1, 9)),
                                      ("SUBSCRIBE once", False, frame(NEW_ORDER))):
            feed = self.feed(engine, subscribe)
            feed.send(said)
            kind, body = feed.receive()
            while kind == EFFECT:
                kind, body = feed.receive()
            self.assertEqual(kind, ERROR)
            self.assertIn(text, body[4:].decode())
            with self.assertRaises(Ended):
                feed.receive()
        self.assertEqual(len(self.bodies(self.feed(engine), 1)), 1)

    def test_an_engine_that_keeps_no_trades_has_no_feed(self):
        engine = ServiceCase.engine(self, "--feed", f"unix:{self.feed_path}")
        self.assertIn("--outbox", self.feed(engine).error()[1])


if __name__ == "__main__":
    main()
