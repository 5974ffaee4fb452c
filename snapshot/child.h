/* snapshot/child.h: what every child of a service does first: one that writes a snapshot from its
 * frozen copy of the memory. */
#pragma once

#include <sys/types.h>

/* Right after fork, in the child. It must not keep the parent's locks and sockets alive, must not
 * outlive it, and is stopped by nobody else: a SIGTERM to the group is for the service, which then
 * waits for the snapshot or not. Where memory runs out it goes first. Ends the child when the parent
 * is gone already. */
void baton_child_become(pid_t parent, const char *name);
/* In the parent: end it, and wait until it is gone. */
void baton_child_kill(pid_t child);
