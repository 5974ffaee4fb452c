/* examples/exchange/gateway/http.h: GET /health and /metrics, by libmicrohttpd on the gateway's own loop: no thread. At most
 * 16 connections, each with one request, 10 s to send it and 8 KiB. */
#pragma once

#include <stddef.h>

#include "examples/exchange/wire/loop.h"

typedef struct http http;

typedef struct {
    unsigned code;
    const char *type;
    char *body; /* malloc'ed, taken over; NULL: memory is short */
    size_t body_bytes;
} http_reply;

typedef struct {
    const char *address; /* as in wire/address.h */
    /* code 404: no such path. */
    http_reply (*reply)(void *owner, const char *path);
    void *owner;
} http_options;

BATON_MUST_USE int http_open(const http_options *options, wire_loop loop, http **ret_http,
                             baton_error *error);
const char *http_address(const http *own);
void http_turn(http *own);  /* once a turn of the loop */
void http_close(http *own); /* NULL is fine */
