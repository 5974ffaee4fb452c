/* bench/raw.h: the device alone: one aligned direct write into a file that was zero-written
 * before, durable (RWF_DSYNC) when it completes, one in flight. No Baton code: liburing or
 * pwritev2 straight. Walks through the file as a journal does, and begins again at its end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct raw_device raw_device;

/* Makes `path` (replacing nothing: -EEXIST), file_bytes long, zero-written, flushed and its
 * directory too. uring: io_uring with a registered buffer and file; otherwise pwritev2. 0 or
 * -errno. */
int raw_open(const char *path, uint64_t file_bytes, uint32_t write_bytes, bool uring,
             raw_device **ret_raw);
/* One durable write; returns how long it took in nanoseconds, or -errno. */
int64_t raw_write(raw_device *raw);
/* Removes the file. NULL is fine. */
void raw_close(raw_device *raw);
