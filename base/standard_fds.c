/* base/standard_fds.c: see standard_fds.h. */
#include <baton/standard_fds.h>

#include <fcntl.h>
#include <unistd.h>

void baton_standard_fds_keep(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}
