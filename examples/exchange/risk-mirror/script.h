/* examples/exchange/risk-mirror/script.h: the one script that changes what the mirror has in Redis. */
#pragma once

/* KEYS: the position, then the key of each change.
 * ARGV: the number at which the position must stand ("": there must be none); epoch, seq, index, number, whole and next of the
 * new position; "add" or "set"; then of each change its field ("": the key is a string), what it was, how much it adds, what
 * it is then.
 *
 * Answers "DONE"; "HELD n": the position stands at n, nothing is changed; "DIVERGED ...": what is there is not what it was,
 * nothing is changed. */
extern const char script_update[];
