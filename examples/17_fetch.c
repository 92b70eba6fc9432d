// 17_fetch - three resources at once, over real sockets.
//
// Shows:  a group of connections, their results collected by name; the first error cancels the
//         others and is reported; an operation of the kernel is cancelled and its descriptor
//         closed. The server is a task of the same program.
// Run:    cc -O2 -iquote . examples/17_fetch.c -o fetch -luring && ./fetch
// Prints: the results, then the error of a second attempt and who was cancelled by it.
#include "aio_io_uring.h"

// --- the server: a line with a name is answered by its value; some take long
static const char *value_of(const char *line)
{
    static const char *const values[][2] = {{"users\n", "17"}, {"orders\n", "4"}, {"news\n", "99"}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (strcmp(line, values[i][0]) == 0) return values[i][1];
    return "";
}

struct answer {
    aio_frame aio;
    int fd;
    char line[64];              // zeroed, so it is always a string
    size_t len;
    const char *value;
    aio_result n;
};

aio_drop(answer) { if (dropped < 0) close(self->fd); } aio_end     // cancelled before it began

aio_async(answer) {
    do {                                                    // a stream: a line may come in pieces
        aio_await(self->n,
                  aio_recv(self->fd, self->line + self->len, sizeof self->line - 1 - self->len, 0));
        if (self->n > 0) self->len += (size_t)self->n;
    } while (self->n > 0 && !strchr(self->line, '\n'));
    self->value = value_of(self->line);
    if (self->n > 0 && self->line[0] == 'f') aio_await(self->n, aio_sleep(AIO_FOREVER));
    if (self->n > 0 && (self->line[0] == 'n' || !*self->value))
        aio_await(self->n, aio_sleep(10 * AIO_MSEC));
    if (self->n >= 0 && *self->value)
        aio_await(self->n, aio_send_all(self->fd, self->value, strlen(self->value), 0));
    aio_await(aio_close(self->fd));                         // no such name: nothing but a hang-up
    return self->n < 0 ? self->n : 0;
} aio_end

struct answers { aio_frame aio; int listener; aio_result fd; };

aio_drop(answers) { if (dropped < 0) close(self->listener); } aio_end

aio_async(answers) {
    for (;;) {
        aio_await(self->fd, aio_accept(self->listener));
        if (self->fd < 0) break;
        aio_detach(aio_spawn(answer, .fd = (int)self->fd));
    }
    aio_await(aio_close(self->listener));
    return self->fd;
} aio_end

// --- the client
struct resource {               // one of the results, by name
    const char *name;
    char value[32];
    aio_result r;
};

struct get {
    aio_frame aio;
    struct resource *to;
    int port, fd;
    char line[32];
};

aio_async(get) {
    aio_await(self->to->r, aio_connect_tcp("127.0.0.1", self->port));
    if (self->to->r < 0) return self->to->r;
    self->fd = (int)self->to->r;
    snprintf(self->line, sizeof self->line, "%s\n", self->to->name);
    aio_await(self->to->r, aio_send_all(self->fd, self->line, strlen(self->line), 0));
    if (self->to->r >= 0)
        aio_await(self->to->r,
                  aio_recv(self->fd, self->to->value, sizeof self->to->value - 1, MSG_WAITALL));
    aio_await(aio_close(self->fd));
    if (self->to->r == 0) self->to->r = -ENODATA;
    return self->to->r;
} aio_end

struct get_all {
    aio_frame aio;
    struct resource *resources;
    int n, port;
    aio_group group;
};

aio_async(get_all) {
    aio_result r;
    aio_try(aio_group_enter(&self->group));
    for (int i = 0; i < self->n; i++)
        (void)aio_group_spawn(&self->group, get, .to = &self->resources[i], .port = self->port);
    aio_await(r, aio_group_exit(&self->group, 0));
    for (int i = 0; i < self->n; i++) {
        const struct resource *one = &self->resources[i];
        if (one->r >= 0) printf("  %-9s %s\n", one->name, one->value);
        else printf("  %-9s %s\n", one->name, aio_strerror(one->r));
    }
    return r;
} aio_end

static int port_of(int listener)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    return getsockname(listener, (struct sockaddr *)&address, &length) ? -1
                                                                       : ntohs(address.sin_port);
}

struct fetch_twice {
    aio_frame aio;
    int port;
    struct resource good[3], bad[3];
    struct get_all all;
};

aio_async(fetch_twice) {
    static const char *const names[] = { "users", "orders", "news", "users", "typo", "forecast" };
    aio_result r;
    aio_try(r, aio_listen_tcp("127.0.0.1", 0));             // any port
    self->port = port_of((int)r);
    aio_detach(aio_spawn(answers, .listener = (int)r));
    for (int i = 0; i < 3; i++) {
        self->good[i].name = names[i];
        self->bad[i].name = names[3 + i];
    }
    puts("three resources:");
    aio_try(aio_call(&self->all, get_all, .resources = self->good, .n = 3, .port = self->port));
    puts("one of them fails:");
    aio_await(r, aio_call(&self->all, get_all, .resources = self->bad, .n = 3, .port = self->port));
    printf("the error: %s (%s)\n", aio_strerror(r), strerror((int)-r));
    return r == -ENODATA ? 0 : r;
} aio_end

int main(void)
{
    return aio_run(fetch_twice) < 0;
}
