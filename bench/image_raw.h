/* bench/image_raw.h: the device alone, sequentially: direct writes and reads of 1 MiB, several in
 * flight. No Baton code. */
#pragma once

#include <stdint.h>

/* Seconds to write the bytes (whole MiB) into a new file at path, flushed. Ends the program when it
 * fails. */
double image_raw_write(const char *path, const uint8_t *bytes, uint64_t bytes_count);
/* Seconds to read so many bytes of it. */
double image_raw_read(const char *path, uint64_t bytes_count);
