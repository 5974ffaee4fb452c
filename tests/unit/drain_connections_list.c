#include "tests/unit/drain_connections_list.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

baton_connection list[MANY];
static char bytes[MANY][48];
static struct rlimit before;
const baton_peer_names names = {.try_number = 3, .epoch = 2};

/* Of a pipe each: two descriptors are the same one if their inodes are. */
int list_open(void **unused)
{
    (void)unused;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    baton_connections_make_room();
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    if (now.rlim_cur < 5 * MANY) {
        printf("skipped: only %lu open files are allowed here\n", (unsigned long)now.rlim_cur);
        exit(77);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        close(ends[1]);
        const int n = snprintf(bytes[i], sizeof(bytes[i]), "in %04u out %04u notes %04u", i, i, i);
        list[i] = (baton_connection){.fd = ends[0],
                                     .name = "orders",
                                     .received = bytes[i],
                                     .unsent = bytes[i] + 7,
                                     .notes = bytes[i] + 15,
                                     .received_bytes = 7,
                                     .unsent_bytes = 8,
                                     .notes_bytes = (uint32_t)n - 15};
    }
    return 0;
}

int list_close(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < MANY; i++)
        close(list[i].fd);
    return setrlimit(RLIMIT_NOFILE, &before);
}

static ino_t inode(int fd)
{
    struct stat stat;
    assert_int_equal(fstat(fd, &stat), 0);
    return stat.st_ino;
}

void assert_same(const baton_connection *is, const baton_connection *was)
{
    assert_string_equal(is->name, was->name);
    assert_int_equal(inode(is->fd), inode(was->fd));
    assert_int_equal(is->received_bytes, was->received_bytes);
    assert_int_equal(is->unsent_bytes, was->unsent_bytes);
    assert_int_equal(is->notes_bytes, was->notes_bytes);
    assert_memory_equal(is->received, was->received, was->received_bytes);
    assert_memory_equal(is->unsent, was->unsent, was->unsent_bytes);
    assert_memory_equal(is->notes, was->notes, was->notes_bytes);
}

void allow_descriptors_up_to(int fd)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

int next_fd(void)
{
    const int fd = dup(STDERR_FILENO);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}
