/* tests/unit/drain_connections_list.h: connections to pass on, each told apart from every other by its descriptor
 * and by its bytes. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drain/connections.h"

#define MANY 600u

extern baton_connection list[MANY];
extern const baton_peer_names names; /* of the messages here */

int list_open(void **unused); /* skips where too few files may be open */
int list_close(void **unused);
void assert_same(const baton_connection *is, const baton_connection *was);
/* This process gets no descriptor from this number on, until baton_connections_make_room. */
void allow_descriptors_up_to(int fd);
int next_fd(void); /* the number that the next descriptor will have */
