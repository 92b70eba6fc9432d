// The peer of tests/peers.sh: servers on the ring's operations alone, and a client.
//   peer serve FOLDER            servers; writes FOLDER/ports when they listen
//   peer client HOST PORT N      N connections to an echo server (PORT: a number, or a path)
//   peer push HOST PORT BYTES    sends so much, ends its direction, and prints what comes back
#include "../../aio_io_uring.h"
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static uint32_t dice = 1;
static uint32_t chance(uint32_t n)
{
    dice = dice * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)dice * n >> 32);
}
// FNV-1a
static uint64_t sum_of(uint64_t sum, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) sum = (sum ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
    return sum;
}
#define SUM_OF_NOTHING UINT64_C(0xcbf29ce484222325)

// --- servers, one connection each
// Back goes what comes, in pieces of any size.
struct echo { aio_frame aio; int fd; aio_result r; char buf[40000]; };
aio_async(echo) {
    aio_result n;
    for (;;) {
        aio_await(self->r, aio_recv(self->fd, self->buf, 1 + chance(sizeof self->buf), 0));
        if (self->r <= 0) break;
        aio_await(n, aio_send_all(self->fd, self->buf, (size_t)self->r, 0));
        if (n < 0) break;
    }
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
// The peer ends its direction first: then it gets what its bytes sum up to.
struct sum { aio_frame aio; int fd; aio_result r; uint64_t n, sum; char buf[10000]; };
aio_async(sum) {
    self->sum = SUM_OF_NOTHING;
    for (;;) {
        aio_await(self->r, aio_recv(self->fd, self->buf, 1 + chance(sizeof self->buf), 0));
        if (self->r <= 0) break;
        self->n += (uint64_t)self->r;
        self->sum = sum_of(self->sum, self->buf, (size_t)self->r);
    }
    snprintf(self->buf, sizeof self->buf, "%llu %llu\n", (unsigned long long)self->n,
             (unsigned long long)self->sum);
    aio_await(aio_send_all(self->fd, self->buf, strlen(self->buf), 0));
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
// It ends its direction first, and goes on receiving: the first line says how much to send.
struct source { aio_frame aio; int fd; size_t left, n; aio_result r; uint64_t got; char buf[8192]; };
aio_async(source) {
    aio_await(self->r, aio_recv(self->fd, self->buf, 20, MSG_WAITALL));
    if (self->r == 20) self->left = strtoul(self->buf, 0, 10);
    for (; self->left; self->left -= self->n) {
        self->n = 1 + chance(sizeof self->buf);
        if (self->n > self->left) self->n = self->left;
        for (size_t i = 0; i < self->n; i++) self->buf[i] = (char)((self->left - i) % 251);
        aio_await(self->r, aio_send_all(self->fd, self->buf, self->n, 0));
        if (self->r < 0) break;
    }
    aio_await(aio_shutdown(self->fd, SHUT_WR));
    while (self->r >= 0) {
        aio_await(self->r, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        if (self->r <= 0) break;
        self->got += (uint64_t)self->r;
    }
    printf("after its end: %llu %s\n", (unsigned long long)self->got, aio_strerror(self->r));
    fflush(stdout);
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
// HTTP/1.1 as far as curl needs it: the body comes back; connections are kept.
enum { BODY = 3 << 20 };
struct http {
    aio_frame aio;
    int fd;
    size_t have, head, body;
    aio_result r;
    char *buf;
    char line[200];
};
aio_drop(http) {
    close(self->fd);
    return 0;
} aio_end
static bool http_parse(struct http *h)
{
    h->buf[h->have] = 0;
    const char *end = strstr(h->buf, "\r\n\r\n"),
               *length = strcasestr(h->buf, "\r\ncontent-length:");
    if (!end) return false;
    h->head = (size_t)(end - h->buf) + 4;
    h->body = length && length < end ? strtoul(length + 17, 0, 10) : 0;
    return true;
}
aio_async(http) {
    self->buf = (char *)malloc(BODY + 8192);
    for (self->r = 1; self->r > 0;) {
        while (!http_parse(self) || self->have < self->head + self->body) {
            aio_await(self->r,
                      aio_recv(self->fd, self->buf + self->have, BODY + 8191 - self->have, 0));
            if (self->r <= 0) break;
            self->have += (size_t)self->r;
        }
        if (self->r <= 0) break;
        snprintf(self->line, sizeof self->line, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                 self->body);
        aio_await(self->r, aio_send_all(self->fd, self->line, strlen(self->line), MSG_MORE));
        if (self->r > 0 && self->body)
            aio_await(self->r, aio_send_all(self->fd, self->buf + self->head, self->body, 0));
        self->have -= self->head + self->body;
        memmove(self->buf, self->buf + self->head + self->body, self->have);
    }
    free(self->buf);
    aio_await(aio_close(self->fd));
    return 0;
} aio_end
enum kind { ECHO, SUM, SOURCE, HTTP, KINDS };
struct server { aio_frame aio; enum kind kind; int listener; };
aio_async(server) {
    int fd;
    for (;;) {
        aio_try(fd, aio_accept(self->listener));
        if (self->kind == ECHO) aio_detach(aio_spawn(echo, .fd = fd));
        else if (self->kind == SUM) aio_detach(aio_spawn(sum, .fd = fd));
        else if (self->kind == SOURCE) aio_detach(aio_spawn(source, .fd = fd));
        else aio_detach(aio_spawn(http, .fd = fd));
    }
} aio_end
static struct sockaddr_un at_path(const char *path)
{
    struct sockaddr_un a;
    memset(&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    size_t n = strlen(path);
    memcpy(a.sun_path, path, n < sizeof a.sun_path ? n : sizeof a.sun_path - 1);
    return a;
}
static int listen_at(const char *path)
{
    struct sockaddr_un a = at_path(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 100) < 0)
        return -errno;
    return fd;
}
struct serve {
    aio_frame aio;
    const char *folder;
    int i, fd;
    aio_task *tasks[KINDS + 1];
    char path[200];
};
aio_async(serve) {
    static const char *const names[KINDS] = { "echo", "sum", "source", "http" };
    for (; self->i < KINDS; self->i++) {
        aio_try(self->fd, aio_listen_tcp("127.0.0.1", 0));
        struct sockaddr_in a;
        socklen_t n = sizeof a;
        getsockname(self->fd, (struct sockaddr *)&a, &n);
        snprintf(self->path, sizeof self->path, "%s/%s", self->folder, names[self->i]);
        FILE *f = fopen(self->path, "w");
        if (!f) return -errno;
        fprintf(f, "%d\n", ntohs(a.sin_port));
        fclose(f);
        self->tasks[self->i] = aio_spawn(server, .kind = (enum kind)self->i, .listener = self->fd);
    }
    snprintf(self->path, sizeof self->path, "%s/unix", self->folder);
    self->fd = listen_at(self->path);
    if (self->fd < 0) return self->fd;
    self->tasks[KINDS] = aio_spawn(server, .kind = ECHO, .listener = self->fd);
    snprintf(self->path, sizeof self->path, "%s/ready", self->folder);
    fclose(fopen(self->path, "w"));
    aio_try(aio_sleep(AIO_FOREVER));
    return 0;
} aio_end

// --- clients
struct dial { aio_frame aio; const char *host, *port; int fd; struct sockaddr_un to; };
aio_async(dial) {
    if (self->port[0] != '/') {
        aio_try(self->fd, aio_connect_tcp(self->host, atoi(self->port)));
        return self->fd;
    }
    self->to = at_path(self->port);
    aio_try(self->fd, aio_socket(AF_UNIX, SOCK_STREAM, 0));
    aio_try(aio_connect(self->fd, (struct sockaddr *)&self->to, sizeof self->to));
    return self->fd;
} aio_end
// Messages of any size go there and come back; then both directions end, one after the other.
struct send_all { aio_frame aio; int fd; uint64_t sum; int left; size_t n; char buf[60000]; };
aio_async(send_all) {
    self->sum = SUM_OF_NOTHING;
    for (; self->left; self->left--) {
        self->n = 1 + chance(chance(4) ? 2000 : sizeof self->buf);
        for (size_t i = 0; i < self->n; i++) self->buf[i] = (char)chance(256);
        self->sum = sum_of(self->sum, self->buf, self->n);
        aio_try(aio_send_all(self->fd, self->buf, self->n, 0));
    }
    aio_try(aio_shutdown(self->fd, SHUT_WR));
    return 0;
} aio_end
struct client { aio_frame aio; const char *host, *port; int fd; aio_result r; uint64_t sum; aio_task *sender;
                struct dial dial; char buf[30000]; };
aio_async(client) {
    aio_try(self->fd, aio_call(&self->dial, dial, .host = self->host, .port = self->port));
    self->sum = SUM_OF_NOTHING;
    self->sender = aio_spawn(send_all, .fd = self->fd, .left = 20);
    for (;;) {
        aio_await(self->r, aio_recv(self->fd, self->buf, 1 + chance(sizeof self->buf), 0));
        if (self->r <= 0) break;
        self->sum = sum_of(self->sum, self->buf, (size_t)self->r);
    }
    if (self->r == 0) aio_await(self->r, aio_future_wait(aio_task_future(self->sender)));
    if (self->r == 0 && aio_task_frame(send_all, self->sender)->sum != self->sum)
        self->r = -EBADMSG;
    aio_detach(self->sender);
    aio_await(aio_close(self->fd));
    return self->r;
} aio_end
struct clients { aio_frame aio; const char *host, *port; int n, i; aio_task *tasks[200]; };
aio_async(clients) {
    for (int i = 0; i < self->n; i++)
        self->tasks[i] = aio_spawn(client, .host = self->host, .port = self->port);
    for (; self->i < self->n; self->i++) aio_try(aio_join(self->tasks[self->i]));
    return 0;
} aio_end
struct push { aio_frame aio; const char *host, *port; size_t left, n; int fd; aio_result r; struct dial dial;
              char buf[9000]; };
aio_async(push) {
    aio_try(self->fd, aio_call(&self->dial, dial, .host = self->host, .port = self->port));
    for (; self->left; self->left -= self->n) {
        self->n = self->left < sizeof self->buf ? self->left : sizeof self->buf;
        memset(self->buf, 'x', self->n);
        aio_try(aio_send_all(self->fd, self->buf, self->n, 0));
    }
    aio_try(aio_shutdown(self->fd, SHUT_WR));
    for (;;) {
        aio_try(self->r, aio_recv(self->fd, self->buf, sizeof self->buf, 0));
        if (!self->r) break;
        fwrite(self->buf, 1, (size_t)self->r, stdout);
    }
    aio_await(aio_close(self->fd));
    return 0;
} aio_end

int main(int argc, char **argv)
{
    aio_result r = -EINVAL;
    if (argc == 3 && !strcmp(argv[1], "serve")) r = aio_run(serve, .folder = argv[2]);
    if (argc == 5 && !strcmp(argv[1], "client"))
        r = aio_run(clients, .host = argv[2], .port = argv[3], .n = atoi(argv[4]));
    if (argc == 5 && !strcmp(argv[1], "push"))
        r = aio_run(push, .host = argv[2], .port = argv[3], .left = strtoul(argv[4], 0, 10));
    if (r < 0 && r != -EINTR) fprintf(stderr, "peer: %s\n", aio_strerror(r));
    return r < 0;
}
