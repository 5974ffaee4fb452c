#include "bench/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PATH_BYTES = 1024 };

pid_t bench_spawn(const char *folder, const char *program, const char *const *arguments,
                  const char *log, int ready_fd)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", folder, program);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid != 0)
        return pid < 0 ? -errno : pid;
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    const int nothing = open("/dev/null", O_RDWR);
    if (fd < 0 || nothing < 0 || dup2(nothing, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 ||
        (ready_fd >= 0 && dup2(ready_fd, 3) < 0))
        _exit(127);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        execv(path, (char *const *)(void *)(uintptr_t)arguments);
    _exit(127);
}

int bench_own_folder(char *folder, size_t folder_bytes)
{
    char path[PATH_BYTES];
    const ssize_t bytes = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (bytes <= 0)
        return -errno;
    path[bytes] = '\0';
    snprintf(folder, folder_bytes, "%s", dirname(path));
    return 0;
}
