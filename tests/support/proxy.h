/* A TCP proxy on loopback that can be a bad network: slow, swallowing, losing packets, resetting,
 * closed. It runs in a thread of the test process. */
#ifndef OUTBOXD_TESTS_PROXY_H
#define OUTBOXD_TESTS_PROXY_H

enum proxy_mode {
    PROXY_PASS,
    /* Each chunk of up to 64 KiB waits for the delay, in both directions, and the next one is read
     * when it has gone: a round trip takes twice the delay, and bandwidth suffers too. */
    PROXY_DELAY,
    /* Nothing moves: connections stay open and new ones are accepted, bytes and closes of either
     * end stay where they are, and go on with the next mode. TCP itself is well, and its keepalives
     * and timeouts notice nothing: only a deadline of the program under test does. */
    PROXY_BLACKHOLE,
    /* Packets of clients are lost, as by a cable that is pulled: nothing is acknowledged by TCP,
     * connection attempts hang. What the clients' kernels retransmit arrives in the next mode. */
    PROXY_CUT,
    PROXY_RESET, /* what is open is reset (RST); new connections are accepted and reset */
    PROXY_CLOSED /* what is open is closed; new connections are refused */
};

struct proxy;

/* Listens on 127.0.0.1:listen_port (0: a free port) and passes on to 127.0.0.1:target_port, where
 * nobody needs to listen yet. Fails the test when it cannot listen. */
struct proxy *proxy_start(int listen_port, int target_port);
void proxy_stop(struct proxy *p); /* resets what is open; NULL is fine */
int proxy_port(const struct proxy *p);

/* In force when it returns. delay_ms matters to PROXY_DELAY only. */
void proxy_set(struct proxy *p, enum proxy_mode mode, unsigned delay_ms);

/* As a firewall that lost its table: for the connections that are open now, the target's end is
 * reset, while all packets of the client's are lost for ever, in any mode. New ones are served. */
void proxy_forget(struct proxy *p);

int proxy_connections(struct proxy *p); /* open ones of clients; forgotten ones until proxy_stop */

#endif
