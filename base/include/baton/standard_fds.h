/* baton/standard_fds.h: for the main() of a program that opens files by this library. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* Gives a closed stdin, stdout or stderr to /dev/null: its number would else go to the next file
 * opened, a segment, under the program's messages. Call it first. baton_main() does so. Not passed
 * on to programs that this one executes. Where /dev/null can't be opened it does nothing. */
void baton_standard_fds_keep(void);

#ifdef __cplusplus
}
#endif
