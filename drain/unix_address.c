/* drain/unix_address.c: see unix_address.h. */
#include "drain/unix_address.h"

#include <sys/socket.h>
#include <unistd.h>

bool baton_unix_may_talk(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}
