/* bench/micro.h: the single steps that micro.cc measures, as C calls. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory for all of them; 0 or -ENOMEM. Kept until the program ends. */
int micro_open(void);
/* One 256 B entry's frame, as append writes it, into a batch that begins again when it is full. */
void micro_encode(void);
/* The digest of so many bytes of a batch. */
uint64_t micro_digest(uint32_t bytes);
/* A whole batch of so many bytes checked, as recovery does; 1 when it is valid. */
int micro_check(uint32_t bytes);
void micro_histogram(uint64_t value);
uint64_t micro_clock(void);

#ifdef __cplusplus
}
#endif
