"""The order service by its real program: the life of orders across the services behind it, whoever of them is cut off."""
import struct

import process
from exchange_case import ORDERS_PROGRAM, MatchingCase, OrdersCase
from exchange_stage import BARRIER_BODY, LAST, RESTS, TRADES, barrier, report, trade
from exchange_wire import BARRIER, BARRIER_DONE
from handover_case import ENGINE_NEW
from service_client import ACK, DONE, FILL, NEW_ORDER, REPORT, TOO_LATE, UNKNOWN_ORDER, cancel, order
from workdir import main, wait_until

NEW, ACKNOWLEDGED, PARTLY_FILLED, FILLED, CANCELLED, REJECTED = range(1, 7)
NO_MONEY, NO_ROOM = 80, 70


class Life(OrdersCase):
    def test_an_order_goes_on_word_for_word_and_its_ack_and_fills_come_back(self):
        self.service_runs()
        client, other = self.client(), self.client()
        client.send(order(1, 1))
        self.stage.wait_taken(1)
        self.assertEqual(self.stage.taken, [(NEW_ORDER, order(1, 1)[8:])])
        self.assertEqual(self.states(other, 1, 1), ([(1, NEW, 0, 10)], 0))
        self.stage.matching.emit(REPORT, report((1, 1), NEW_ORDER, remaining=10, flags=RESTS))
        ack = client.ack()
        self.assertEqual((ack.client_seq, ack.seq, ack.outcome, ack.remaining), (1, 1, DONE, 10))
        self.assertEqual(self.states(other, 1), ([(1, ACKNOWLEDGED, 0, 10)], 0))
        other.send(order(2, 1, size=4, side=1))
        self.stage.wait_taken(2)
        self.stage.matching.emit(REPORT, report((2, 1), NEW_ORDER, size=4, filled=4, flags=LAST, items=TRADES,
                                                parts=[trade(7, (1, 1), (2, 1), 4, maker_remaining=6)]))
        fill = struct.unpack("<QQQqQQBB6x", client.receive_of(FILL))
        self.assertEqual(fill, (1, 1, 7, 100, 4, 6, 0, 0))
        self.assertEqual(struct.unpack("<QQQqQQBB6x", other.receive_of(FILL)), (2, 1, 7, 100, 4, 0, 1, 1))
        self.assertEqual(other.ack().filled, 4)
        self.assertEqual(self.states(other, 1, 1), ([(1, PARTLY_FILLED, 4, 6)], 0))
        self.assertEqual(self.states(other, 2, 1), ([(1, FILLED, 4, 0)], 0))
        self.assertEqual(self.states(other, 2), ([], 0))

    def test_what_the_risk_engine_refuses_is_rejected(self):
        self.service_runs()
        client = self.client()
        client.send(order(1, 1))
        self.stage.wait_taken(1)
        self.stage.risk.emit(REPORT, report((1, 1), NEW_ORDER, outcome=NO_MONEY))
        self.assertEqual(client.ack().outcome, NO_MONEY)
        self.assertEqual(self.states(client, 1, 1), ([(1, REJECTED, 0, 0)], 0))
        self.assertEqual(client.ack(cancel(1, 2, 1)).outcome, TOO_LATE)
        self.assertEqual(client.ack(cancel(1, 3, 9)).outcome, UNKNOWN_ORDER)
        self.assertEqual(len(self.stage.taken), 1)

    def test_a_resend_is_answered_once_there_is_an_answer_and_goes_on_once(self):
        service = self.service_runs()
        client = self.client()
        client.send(order(1, 1), order(1, 1), order(1, 2))
        self.stage.wait_taken(2)
        self.stage.answer = self.stage.rest
        for kind, body in list(self.stage.taken):
            self.stage.rest(kind, body)
        first = [client.ack(), client.ack()]
        self.assertEqual([ack.client_seq for ack in first], [1, 2])
        for end in (service.kill, None):
            again = self.client()
            self.assertEqual([again.ack(order(1, n)).body for n in (1, 2)], [ack.body for ack in first])
            if end:
                end()
                service = self.service_runs()
        self.assertEqual([body[8:16] for _, body in self.stage.taken], [struct.pack("<Q", n) for n in (1, 2)])

    def test_pages_of_open_orders_have_each_once(self):
        self.stage.answer = self.stage.rest
        self.service_runs()
        client, count = self.client(), 250
        for number in range(1, count + 1):
            self.assertEqual(client.ack(order(5, number)).outcome, DONE)
        self.assertEqual(client.ack(cancel(5, count + 1, 7)).outcome, DONE)
        seqs, more = [], 1
        while more:
            page, more = self.states(client, 5, after_seq=seqs[-1] if seqs else 0)
            seqs += [one[0] for one in page]
        self.assertEqual(seqs, [n for n in range(1, count + 1) if n != 7])
        for after, first in ((6, [8]), (7, [8]), (8, [9]), (count - 1, [count]), (count, []), (2**63, [])):
            self.assertEqual([one[0] for one in self.states(client, 5, after_seq=after)[0]][:1], first)

    def test_when_too_much_is_under_way_clients_wait_and_go_on_later(self):
        self.service_runs("--pending-max", "4")
        client, other = self.client(), self.client()
        client.send(*[order(1, n) for n in range(1, 11)])
        self.stage.wait_taken(4)
        self.assertEqual(len(self.states(other, 1)[0]), 4)
        self.stage.answer = self.stage.rest
        for kind, body in list(self.stage.taken):
            self.stage.rest(kind, body)
        # The stage answers what comes now while the first four are still being answered: in either order.
        self.assertEqual(sorted(client.ack().client_seq for _ in range(10)), list(range(1, 11)))
        self.assertEqual([struct.unpack_from("<Q", body, 8)[0] for _, body in self.stage.taken], list(range(1, 11)))

    def test_who_has_waited_too_long_for_room_is_refused_and_may_come_again(self):
        self.service_runs("--pending-max", "1", "--patience", "1")
        client, other = self.client(), self.client()
        client.send(order(1, 1), order(1, 2))
        refused = client.ack()
        self.assertEqual((refused.client_seq, refused.outcome, refused.seq), (2, NO_ROOM, 0))
        # By now nothing has come from behind for so long, either: the next one does not wait.
        self.assertEqual(other.ack(order(2, 1)).outcome, NO_ROOM)
        self.assertEqual(self.states(other, 1), ([(1, NEW, 0, 10)], 0))
        self.assertEqual(len(self.stage.taken), 1)
        self.stage.answer = self.stage.rest
        self.stage.rest(*self.stage.taken[0])
        self.assertEqual(client.ack().outcome, DONE)
        for seq in (1, 2):
            self.assertEqual(client.ack(order(1, seq)).outcome, DONE)
        self.assertEqual(other.ack(order(2, 1)).outcome, DONE)
        self.assertEqual(len(self.stage.taken), 3)

    def test_a_command_that_waits_does_not_draw_its_clients_answers_to_where_it_came_from(self):
        self.service_runs("--pending-max", "1")
        before, now = self.client(), self.client()
        before.send(order(1, 1), order(1, 2))  # the second one waits
        self.stage.wait_taken(1)
        now.send(order(1, 1))
        for _ in range(3):  # turns in which it is shown again
            self.states(now, 1)
        for number in (1, 2):
            self.stage.rest(*self.stage.taken[number - 1])
            self.assertEqual(now.ack().client_seq, number)
            self.stage.wait_taken(2)


class Links(OrdersCase):
    def flow(self, client, first, last, number=1):
        """Orders, each acked before the next, however often it has to be sent again."""
        for n in range(first, last + 1):
            self.assertEqual(client.ack(order(number, n)).outcome, DONE)

    def assert_each_went_on_once(self, count):
        self.assertEqual(self.stage.consumer.wrong, [])
        self.assertEqual([struct.unpack_from("<Q", body, 8)[0] for _, body in self.stage.taken], list(range(1, count + 1)))

    def wait_all_confirmed(self):
        wait_until(lambda: not self.stage.matching.kept, "all reports to be confirmed")

    def test_killed_and_started_again_nothing_is_lost_and_nothing_goes_on_twice(self):
        self.stage.answer = self.stage.rest
        service, count, done = self.service_runs(), 60, 0
        client = self.client()
        for cut in range(1, 6):
            client.send(*[order(1, n) for n in range(done + 1, count + 1)])
            done = self.ack_from(client, done + cut)
            service.kill()
            service = self.service_runs()
            client = self.client()
        client.send(*[order(1, n) for n in range(done + 1, count + 1)])
        self.ack_from(client, count)
        self.assert_each_went_on_once(count)
        self.wait_all_confirmed()
        self.assertEqual([one[0] for one in self.states(client, 1)[0]], list(range(1, count + 1)))
        self.assertEqual(service.terminate(), 0)
        process.run(ORDERS_PROGRAM, "baton", "verify", self.data, check=0)
        self.service_runs()
        self.assertEqual(len(self.states(self.client(), 1)[0]), count)

    def test_producers_that_go_away_and_come_again_are_dialed_and_each_report_counts_once(self):
        self.stage.answer = self.stage.rest
        self.service_runs()
        client = self.client()
        for round_ in range(5):
            self.flow(client, round_ * 10 + 1, round_ * 10 + 10)
            self.stage.matching.hang_up()
            self.stage.consumer.wire.hang_up()
        self.flow(client, 51, 60)
        self.assert_each_went_on_once(60)
        self.wait_all_confirmed()
        self.assertGreater(self.stage.matching.subscriptions, 1)

    def test_a_handover_there_and_back_keeps_clients_and_links(self):
        self.stage.answer = self.stage.rest
        old, directory, other = self.service_runs(), self.data, self.other
        client = self.client()
        for round_ in range(3):
            self.flow(client, round_ * 20 + 1, round_ * 20 + 10)
            new = self.run_service(other, standby_of=directory)
            self.wait_level(new, directory)
            client.send(*[order(1, n) for n in range(round_ * 20 + 11, round_ * 20 + 21)])
            self.handover(directory, "--wait", "--max-gap", "30s", check=0)
            self.assertEqual(old.wait(), 0)
            acks = [client.ack().client_seq for _ in range(10)]
            self.assertEqual(acks, list(range(round_ * 20 + 11, round_ * 20 + 21)))
            old, directory, other = new, other, directory
        self.flow(client, 61, 65)
        self.assert_each_went_on_once(65)
        self.wait_all_confirmed()
        self.assertEqual(self.stage.consumer.highest[0], 4)

    def test_a_producer_whose_seq_goes_back_is_not_believed(self):
        self.stage.answer = self.stage.rest
        service = self.service_runs()
        client = self.client()
        self.flow(client, 1, 3)
        self.wait_all_confirmed()
        self.stage.matching.forget_and_go_back()
        self.stage.matching.hang_up()
        client.send(order(1, 4))
        wait_until(lambda: "link.went_back" in service.err(), "the link to stop")
        status = self.service("status", "-o", "json", where=str(self.data)).json()
        self.assertEqual(status["phase"], "running")
        self.assertEqual(self.states(self.client(), 1, 4)[0], [(4, NEW, 0, 10)])

    def test_nothing_is_confirmed_while_a_barrier_is_under_way(self):
        self.service_runs()
        client, asker = self.client(), self.client()
        client.send(order(1, 1))
        self.stage.wait_taken(1)
        asker.send(barrier(7))
        self.stage.wait_taken(2)
        self.assertEqual(self.stage.taken[1], (BARRIER, BARRIER_BODY.pack(7, 2, 0, 0)))
        self.stage.rest(*self.stage.taken[0])
        self.assertEqual(client.ack().outcome, DONE)
        client.send(order(1, 2))  # its entry comes after the report's: durable is that, when this has gone on
        self.stage.wait_taken(3)
        self.assertEqual(self.stage.matching.confirmed, [])
        self.stage.rest(*self.stage.taken[1])
        done = asker.receive_of(BARRIER_DONE)
        self.assertEqual(BARRIER_BODY.unpack(done), (7, 2, 0, 0))
        wait_until(lambda: self.stage.matching.confirmed, "the confirmation that was held")
        asker.send(barrier(7))
        self.assertEqual(asker.receive_of(BARRIER_DONE), done)


class Matching(MatchingCase):
    def test_orders_trade_and_their_states_say_so(self):
        self.service_runs()
        self.engine_runs()
        buyer, seller = self.client(), self.client()
        self.assertEqual(buyer.ack(order(1, 1, size=10)).remaining, 10)
        ack = seller.ack(order(2, 1, size=4, side=1, price=90))
        self.assertEqual((ack.outcome, ack.filled, ack.remaining), (DONE, 4, 0))
        self.assertEqual(struct.unpack_from("<QQQqQQ", buyer.receive_of(FILL)), (1, 1, 1, 100, 4, 6))
        self.assertEqual(self.states(buyer, 1), ([(1, PARTLY_FILLED, 4, 6)], 0))
        self.assertEqual(self.states(seller, 2, 1), ([(1, FILLED, 4, 0)], 0))
        self.assertEqual(buyer.ack(cancel(1, 2, 1)).outcome, DONE)
        self.assertEqual(self.states(buyer, 1, 1), ([(1, CANCELLED, 4, 0)], 0))
        self.assertEqual(seller.ack(order(2, 2, size=4, side=1, time_in_force=2)).outcome, DONE)
        self.assertEqual(self.states(seller, 2, 2), ([(2, CANCELLED, 0, 0)], 0))

    def test_whoever_is_killed_every_order_is_there_once(self):
        service, engine = self.service_runs(), self.engine_runs()
        client, done, count = self.client(), 0, 60  # 64 of a client may be unanswered
        for cut in range(6):
            client.send(*[order(1, n, size=1) for n in range(done + 1, count + 1)])
            done = self.ack_from(client, done + 3 + cut)
            if cut % 3 > 0:
                engine.kill()
                engine = self.engine_runs()
            if cut % 3 != 1:
                service.kill()
                service = self.service_runs()
            client = self.client()
        client.send(*[order(1, n, size=1) for n in range(done + 1, count + 1)])
        self.ack_from(client, count)
        taker = self.client()
        self.assertEqual(taker.ack(order(2, 1, side=1, size=count + 5)).filled, count)
        self.assertEqual(self.states(taker, 1), ([], 0))
        self.assertEqual(self.states(taker, 2, 1), ([(1, PARTLY_FILLED, count, 5)], 0))
        for child in (service, engine):
            self.assertEqual(child.terminate(), 0)
        process.run(ORDERS_PROGRAM, "baton", "verify", self.data, check=0)
        process.run(ENGINE_NEW, "baton", "verify", self.other, "--outbox", "order-service", check=0)

    def test_a_barrier_comes_back_behind_all_that_was_sent_before_it(self):
        self.service_runs()
        self.engine_runs()
        client = self.client()
        client.send(*[order(1, n) for n in range(1, 21)], barrier(1), order(1, 21))
        acked, done = 0, None
        while done is None:
            kind, body = client.receive()
            acked += kind == ACK
            done = body if kind == BARRIER_DONE else None
        self.assertEqual(BARRIER_BODY.unpack(done), (1, 21, 0, 21))
        self.assertGreaterEqual(acked, 20)


if __name__ == "__main__":
    main()
