/* tests/sim/handover/clients.c: clients send orders, a few at once, to whom they believe to be the
 * service; who gets no ack connects again, anywhere, and sends again what was not acked. */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/handover/handover_run.h"

#define AT_ONCE 4u
#define SILENCE (20 * MS)

static void post(world *w, sim_mail mail)
{
    if (w->mail_count == MAIL_MAX)
        return; /* lost */
    mail.at_ns = world_now(w) + 5000 + world_draw(w, world_one_in(w, 30) ? 20 * MS : 200000);
    for (uint32_t i = 0; i < w->mail_count; i++) { /* in order, for each client and life */
        const sim_mail *other = &w->mail[i];
        if (other->client == mail.client && other->life_id == mail.life_id &&
            other->is_ack == mail.is_ack && other->at_ns > mail.at_ns)
            mail.at_ns = other->at_ns;
    }
    w->mail[w->mail_count++] = mail;
}

static void send_order(world *w, uint32_t client, uint64_t client_seq)
{
    post(w, (sim_mail){
                .life_id = w->clients[client].life_id, .client = client, .client_seq = client_seq});
}

void clients_ack(sim_life *life, uint32_t client, uint64_t client_seq)
{
    post(life->w,
         (sim_mail){
             .life_id = life->id, .client = client, .is_ack = true, .client_seq = client_seq});
}

static void deliver(world *w, const sim_mail *mail)
{
    sim_client *client = &w->clients[mail->client];
    sim_life *life = world_life(w, mail->life_id);
    if (mail->is_ack) {
        if (mail->client_seq > client->sent)
            world_fail(w, "client %u was acked order %" PRIu64 ", and has sent %" PRIu64,
                       mail->client, mail->client_seq, client->sent);
        if (mail->client_seq > client->acked) {
            client->acked = mail->client_seq;
            client->heard_ns = world_now(w);
            w->totals->acks++;
        }
        return;
    }
    if (life == NULL || life->engine == NULL || life->inbox_count == INBOX_MAX)
        return;
    life->inbox[(life->inbox_first + life->inbox_count++) % INBOX_MAX] =
        (inbox_order){mail->client, mail->client_seq};
    life->kicked = true;
}

static void connect_again(world *w, uint32_t number)
{
    sim_client *client = &w->clients[number];
    const uint32_t instance = (uint32_t)world_draw(w, w->instances_count);
    const sim_life *life = w->instances[instance].life;
    client->heard_ns = world_now(w);
    client->life_id = life != NULL ? life->id : 0;
    for (uint64_t seq = client->acked + 1; seq <= client->sent && client->life_id != 0; seq++) {
        send_order(w, number, seq);
        w->totals->resent++;
    }
}

/* A term that lacks what some were told of: they are told anew where they stand. */
void clients_settle(world *w, const sim_state *state)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < w->mail_count; i++)
        if (!w->mail[i].is_ack)
            w->mail[left++] = w->mail[i];
    w->mail_count = left;
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (w->clients[i].acked > state->last[i])
            w->clients[i].acked = state->last[i];
}

void clients_turn(world *w)
{
    const uint64_t now = world_now(w);
    for (uint32_t i = 0; i < w->mail_count;) {
        const sim_mail mail = w->mail[i];
        if (mail.at_ns > now) {
            i++;
            continue;
        }
        memmove(&w->mail[i], &w->mail[i + 1], (--w->mail_count - i) * sizeof(mail));
        deliver(w, &mail);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_client *client = &w->clients[i];
        if (now < client->next_ns)
            continue;
        client->next_ns = now + 200000 + world_draw(w, 5 * MS);
        if (client->life_id == 0 ||
            (client->acked < client->sent && now - client->heard_ns > SILENCE))
            connect_again(w, i);
        if (client->sent - client->acked < AT_ONCE && !w->orders_end) {
            if (client->acked == client->sent)
                client->heard_ns = now;
            client->sent++;
            w->totals->orders++;
            if (client->life_id != 0)
                send_order(w, i, client->sent);
        }
    }
}

uint64_t clients_next_ns(const world *w)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < w->mail_count; i++)
        next = w->mail[i].at_ns < next ? w->mail[i].at_ns : next;
    for (uint32_t i = 0; i < CLIENTS; i++)
        next = w->clients[i].next_ns < next ? w->clients[i].next_ns : next;
    return next;
}
