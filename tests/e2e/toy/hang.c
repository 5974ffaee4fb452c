/* tests/e2e/toy/hang.c: preloaded into a service: a disk that hangs. While the file that
 * BATON_TEST_HANG names is there, a write to a journal or a snapshot never comes back. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t pwritev2(int fd, const struct iovec *vectors, int count, off_t offset, int flags)
{
    const char *path = getenv("BATON_TEST_HANG");
    while (path != NULL && access(path, F_OK) == 0)
        usleep(10000);
    return syscall(SYS_pwritev2, fd, vectors, count, (long)offset, 0L, flags);
}
