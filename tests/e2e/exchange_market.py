"""What the matching engine's own journal says of trades and books, and a listener to market data that ends with its test.

The client of the stream is scripts/rig/market.py."""
import json

import market
import process
from exchange_judge import Books, Report
from exchange_wire import MARKET_DATA, REPORT


class Listener(market.Listener):
    def __init__(self, case, *arguments, **options):
        super().__init__(*arguments, **options)
        case.addCleanup(self.close)


class Replayed(Books):
    """The reports of a matching engine's journal, replayed from its first entry."""

    def __init__(self, program, directory, *options):
        super().__init__()
        lines = process.run(program, "baton", "replay", directory, "--from-start", "--effects", "-", *options, check=0)
        for line in lines.stdout.splitlines():
            effect = json.loads(line) if line.startswith("{") else {}
            if effect.get("type") == REPORT and effect["consumer"] == MARKET_DATA:
                self.take(Report(bytes.fromhex(effect["payload_hex"])))
