/* drain/tcp_address.c: see tcp_address.h. */
#include "drain/tcp_address.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_port(const char *text, in_port_t *ret_port)
{
    char *rest;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 5)
        return false;
    const unsigned long number = strtoul(text, &rest, 10);
    *ret_port = htons((uint16_t)number);
    return *rest == '\0' && number <= UINT16_MAX;
}

bool baton_tcp_address_parse(const char *text, baton_tcp_address *ret_address)
{
    char host[64];
    struct sockaddr_in *v4 = (struct sockaddr_in *)&ret_address->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret_address->address;
    in_port_t port = 0;
    const char *colon = strrchr(text, ':');
    const size_t bytes = colon != NULL ? (size_t)(colon - text) : 0;
    *ret_address = (baton_tcp_address){.bytes = 0};
    if (colon == NULL || bytes >= sizeof(host) || !parse_port(colon + 1, &port))
        return false;
    memcpy(host, text, bytes);
    host[bytes] = '\0';
    if (bytes > 2 && host[0] == '[' && host[bytes - 1] == ']') {
        host[bytes - 1] = '\0';
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        ret_address->bytes = sizeof(*v6);
        return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = port;
    ret_address->bytes = sizeof(*v4);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

const char *baton_tcp_address_text(const struct sockaddr *address,
                                   char text[BATON_TCP_ADDRESS_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    const bool is_v6 = address->sa_family == AF_INET6;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    inet_ntop(address->sa_family,
              is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, host,
              sizeof(host));
    snprintf(text, BATON_TCP_ADDRESS_TEXT_BYTES, is_v6 ? "[%s]:%u" : "%s:%u", host,
             (unsigned)ntohs(baton_tcp_port(address)));
    return text;
}

bool baton_tcp_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    }
    if (address->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
}

bool baton_tcp_is_any(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ((const struct sockaddr_in *)address)->sin_addr.s_addr == htonl(INADDR_ANY);
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

in_port_t baton_tcp_port(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                          : ((const struct sockaddr_in *)address)->sin_port;
}

void baton_tcp_port_set(baton_tcp_address *address, in_port_t port)
{
    if (address->address.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address->address)->sin6_port = port;
    else
        ((struct sockaddr_in *)&address->address)->sin_port = port;
}
