"""Order flow for a rig: exchange-load's options for what was recorded."""
import pathlib

from processes import Failed


def recorded(data, seconds, messages_max=0):
    """A folder with LOBSTER's messages.csv (or one that holds lobster-aapl-hour/), compressed to about so many seconds.
    messages_max 0: all of it."""
    folder = pathlib.Path(data)
    if (folder / "lobster-aapl-hour").is_dir():
        folder = folder / "lobster-aapl-hour"
    messages = folder / "messages.csv"
    if not messages.is_file():
        raise Failed(f"--data {data}: no messages.csv in it: give a folder with LOBSTER's messages.csv")
    first = last = None
    with open(messages) as file:
        for number, line in enumerate(file, 1):
            if messages_max and number > messages_max:
                break
            try:
                last = float(line.split(",", 1)[0])
            except ValueError:
                continue  # a header line
            first = last if first is None else first
    if first is None:
        raise Failed(f"--data {data}: messages.csv has no messages: give recorded flow")
    compression = max((last - first) / seconds, 0.001)
    options = ["--lobster", messages, "--match", "--time-compression", f"{compression:.3f}"]
    if (folder / "seed-book.csv").is_file():
        options += ["--seed-book", folder / "seed-book.csv"]
    if messages_max:
        options += ["--messages-max", messages_max]
    return options
