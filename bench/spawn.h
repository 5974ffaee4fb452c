/* bench/spawn.h: other programs of the same build, as processes that do not outlive this one. */
#pragma once

#include <sys/types.h>

/* Starts folder/program; arguments begin with its name and end with NULL. What it says goes to the end of log;
 * ready_fd, if it is not negative, is its descriptor 3. -errno. */
pid_t bench_spawn(const char *folder, const char *program, const char *const *arguments,
                  const char *log, int ready_fd);
/* The folder of this program. 0 or -errno. */
int bench_own_folder(char *folder, size_t folder_bytes);
