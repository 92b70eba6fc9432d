// 10_scan - which TCP ports of a host answer?
//
// Shows:  many connections at once with a fixed number of workers; a limit in time for one operation,
//         made of a timer and a cancel; outcomes in words.
// Run:    cc -O2 -iquote . examples/10_scan.c -o scan -luring && ./scan 127.0.0.1 1-1024
// Prints: each open port; for up to 16 ports all outcomes; a summary. Scan only what is yours.
#include "aio_io_uring.h"

enum { WORKERS = 200 };

struct scan_state {             // shared by all workers: one thread, so no locks
    const char *host;
    int next, first, last;
    aio_result *outcome;        // by port - first: 0 is open
};

struct probe {                  // one connection
    aio_frame aio;
    const char *host;
    int port, fd;
};

aio_async(probe) {
    aio_try(self->fd, aio_connect_tcp(self->host, self->port));
    aio_await(aio_close(self->fd));
    return 0;
} aio_end

struct worker {
    aio_frame aio;
    struct scan_state *scan;
    int port;
    aio_task *probe;
    aio_handle limit;
    bool late;
    aio_result r;
};

static int too_late(void *arg)
{
    struct worker *self = (struct worker *)arg;
    self->late = true;
    aio_task_cancel(self->probe);
    return 0;
}

aio_async(worker) {
    while (self->scan->next <= self->scan->last) {
        self->port = self->scan->next++;
        self->late = false;
        self->probe = aio_spawn(probe, .host = self->scan->host, .port = self->port);
        self->r = aio_call_later(aio_running_loop(), &self->limit, 2 * AIO_SECOND, too_late, self);
        if (self->r < 0) {
            aio_detach(self->probe);
            return self->r;
        }
        // Not aio_join: the handle must stay valid until the timer is gone.
        aio_await(self->r, aio_future_wait(aio_task_future(self->probe)));
        aio_handle_cancel(&self->limit);
        aio_detach(self->probe);
        if (self->r == -ECANCELED && !self->late) return self->r;      // we were cancelled
        self->scan->outcome[self->port - self->scan->first] = self->late ? -ETIMEDOUT : self->r;
    }
} aio_end

struct scan {
    aio_frame aio;
    struct scan_state *scan;
    aio_task *workers[WORKERS];
    int n, i;
    aio_result error;
};

aio_async(scan) {
    aio_result r;
    while (self->n < WORKERS && self->n <= self->scan->last - self->scan->first)
        self->workers[self->n++] = aio_spawn(worker, .scan = self->scan);
    for (self->i = 0; self->i < self->n; self->i++) {
        aio_await(r, aio_join(self->workers[self->i]));
        if (r >= 0 || self->error < 0) continue;
        self->error = r;
        for (int k = self->i + 1; k < self->n; k++) aio_task_cancel(self->workers[k]);
    }
    return self->error;
} aio_end

static void scan_report(const struct scan_state *s)
{
    int n = s->last - s->first + 1, open = 0, silent = 0;
    for (int i = 0; i < n; i++) {
        aio_result r = s->outcome[i];
        open += r == 0;
        silent += r == -ETIMEDOUT;
        if (r == 0) printf("port %d: open\n", s->first + i);
        else if (n <= 16)
            printf("port %d: %s\n", s->first + i,
                   r == -ETIMEDOUT ? "no answer in 2 s" : strerror((int)-r));
    }
    printf("%s: %d of %d ports open, %d without an answer\n", s->host, open, n, silent);
}

int main(int argc, char **argv)
{
    struct scan_state s = { .host = argc > 1 ? argv[1] : "" };
    int got = argc == 3 ? sscanf(argv[2], "%d-%d", &s.first, &s.last) : 0;
    if (got == 1) s.last = s.first;
    struct in6_addr address;
    if (got < 1 || s.first < 1 || s.last < s.first || s.last > 65535)
        return fprintf(stderr, "usage: scan ADDRESS PORT or scan ADDRESS FIRST-LAST\n"), 2;
    if (inet_pton(AF_INET, s.host, &address) != 1 && inet_pton(AF_INET6, s.host, &address) != 1)
        return fprintf(stderr, "scan: \"%s\" is not a numeric IPv4 or IPv6 address\n", s.host), 2;
    s.next = s.first;
    s.outcome = (aio_result *)calloc((size_t)(s.last - s.first + 1), sizeof *s.outcome);
    if (!s.outcome) return fprintf(stderr, "scan: no memory\n"), 1;
    aio_result r = aio_run(scan, .scan = &s);
    if (r >= 0) scan_report(&s);
    else fprintf(stderr, "scan: %s\n", strerror((int)-r));
    free(s.outcome);
    return r < 0;
}
