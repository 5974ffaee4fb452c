/* bench/raw.h: the device alone: aligned direct writes into one file, each durable when it
 * completes. No Baton code: liburing or pwritev2 straight. Walks through the file as a journal does
 * and begins again at its end. One thread uses a raw_device (its own pool aside). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RAW_DEPTH_MAX 16u

typedef struct raw_device raw_device;

typedef enum {
    RAW_WRITTEN_BEFORE, /* zeros at final size, flushed: as the journal's segments (J3) */
    RAW_ALLOCATED,      /* fallocate only */
    RAW_GROWS,          /* empty; every write makes it longer, and it is never walked twice */
} raw_file;

typedef struct {
    const char *path;
    uint64_t file_bytes;
    uint32_t write_bytes_max;
    uint32_t depth_max; /* 1 .. RAW_DEPTH_MAX writes in flight */
    raw_file file;
    bool threads;      /* pwritev2: in the caller's thread at depth 1, else in a thread each */
    bool flush_after;  /* write, then a linked fdatasync, instead of RWF_DSYNC (io_uring only) */
    bool unregistered; /* plain buffers and file (io_uring only) */
    bool spins;        /* peeks for completions instead of sleeping (io_uring only) */
} raw_options;

/* Makes the file (replacing nothing: -EEXIST), and its directory flushed. 0 or -errno. */
int raw_open(const raw_options *options, raw_device **ret_raw);
/* Removes the file. NULL is fine. Nothing may be in flight. */
void raw_close(raw_device *raw);

/* One durable write of write_bytes, nothing else in flight; how long it took in nanoseconds, or
 * -errno. */
int64_t raw_write(raw_device *raw, uint32_t write_bytes);

/* Before raw_submit: entries are copied into the buffer that it will take, as whoever has something
 * to write must do. */
void raw_fill(raw_device *raw, uint32_t write_bytes);
/* Queue one durable write; -EBUSY when depth_max are in flight. `tag` comes back from raw_reap. */
int raw_submit(raw_device *raw, uint32_t write_bytes, uint64_t tag);
/* Hand what is queued to the kernel and, timeout_ns > 0, sleep until a write is done or the time is
 * over (UINT64_MAX: no limit). 0 or -errno; a timeout is 0. */
int raw_turn(raw_device *raw, uint64_t timeout_ns);
/* A finished write: 1 and its tag; 0: none; or -errno when it failed. */
int raw_reap(raw_device *raw, uint64_t *ret_tag);
/* With io_uring: raw_turn also sleeps for fd, until it can be read, once; raw_reap gives RAW_READABLE for it. */
#define RAW_READABLE UINT64_MAX
void raw_watch(raw_device *raw, int fd);
/* The next write goes to the beginning of the file. */
void raw_rewind(raw_device *raw);
uint32_t raw_in_flight(const raw_device *raw);
