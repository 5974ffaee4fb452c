/* drain/tcp_address.h: HOST:PORT of TCP, as numbers: a name could mean another address tomorrow. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#define BATON_TCP_ADDRESS_TEXT_BYTES 64

typedef struct {
    struct sockaddr_storage address;
    socklen_t bytes; /* 0: none */
} baton_tcp_address;

/* "127.0.0.1:9464", "[::1]:9464"; port 0 is one, too. False: it is none. */
bool baton_tcp_address_parse(const char *text, baton_tcp_address *ret_address);
/* "127.0.0.1:9464", "[::1]:9464" */
const char *baton_tcp_address_text(const struct sockaddr *address,
                                   char text[BATON_TCP_ADDRESS_TEXT_BYTES]);
/* Also ::ffff:127.0.0.1, as a socket of both families sees it. */
bool baton_tcp_is_loopback(const struct sockaddr *address);
/* 0.0.0.0, [::]: of every interface, and so nobody's to connect to. */
bool baton_tcp_is_any(const struct sockaddr *address);
void baton_tcp_port_set(baton_tcp_address *address, in_port_t port);
in_port_t baton_tcp_port(const struct sockaddr *address); /* both in network order */
