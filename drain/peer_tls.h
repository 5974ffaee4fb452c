/* drain/peer_tls.h: TLS 1.3 under a channel, with certificates of both ends, by GnuTLS. Never blocks. The files
 * are read anew for each connection: whoever replaces them has replaced them for the next one.
 *
 * Each end wants of the other: a certificate signed by the CA, valid now, that names `name`, and may be used for
 * that end of a connection. What is wrong is told in an alert, and stands in *error as one line. */
#pragma once

#include "drain/peer_channel.h"

/* The files are there, load, and belong together. */
BATON_MUST_USE int baton_peer_tls_check(const baton_peer_security *security, baton_error *error);

/* is_client: this end has connected. security lives as long. */
BATON_MUST_USE int baton_peer_tls_begin(const baton_peer_security *security, int fd, bool is_client,
                                        baton_peer_tls **ret_tls, baton_error *error);
/* 1: both are who they have to be; 0: not yet; or an error, told to the other end. heard: the other end has said
 * something, and it may be read. */
BATON_MUST_USE int baton_peer_tls_shake(baton_peer_tls *tls, bool heard, baton_error *error);
bool baton_peer_tls_wants_to_send(const baton_peer_tls *tls); /* while it shakes hands */
/* As those of a channel. */
BATON_MUST_USE ssize_t baton_peer_tls_read(baton_peer_tls *tls, void *to, size_t bytes,
                                           baton_error *error);
BATON_MUST_USE ssize_t baton_peer_tls_write(baton_peer_tls *tls, const struct iovec *parts,
                                            uint32_t parts_count, baton_error *error);
/* Some bytes have been taken that write has not counted yet: the same ones have to come again. */
bool baton_peer_tls_is_midway(const baton_peer_tls *tls);
void baton_peer_tls_bye(baton_peer_tls *tls); /* as far as it goes at once */
void baton_peer_tls_free(baton_peer_tls *tls);
