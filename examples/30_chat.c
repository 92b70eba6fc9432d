// 30_chat - a chat server.
//
// Shows:  lines from a stream; writes that do not wait, and a client that does not read is dropped
//         before it costs more than 64 KB; limits of number, length, and of the time to say one's
//         name; Ctrl-C says goodbye to everybody.
// Run:    cc -O2 -iquote . examples/30_chat.c -o chat -luring && ./chat 7777
//         In other terminals: nc 127.0.0.1 7777
// Prints: who comes and goes.
#include "aio_io_uring.h"
#include <ctype.h>

enum { CLIENTS = 1000, MAX_NAME = 20, MAX_LINE = 500, MAX_UNSENT = 65536 };

struct client {
    aio_frame aio;
    int fd;
    struct client **room, *next;    // the list of those who have a name
    aio_stream stream;
    aio_bytes line;
    aio_result r;
    char name[MAX_NAME + 1];        // empty: not in the room yet
};

// A line to one client. Nothing waits: what it does not read piles up, though not far.
static void tell(struct client *c, const char *a, const char *b, const char *end)
{
    char text[MAX_NAME + MAX_LINE + 32];
    int n = snprintf(text, sizeof text, "%s%s%s\n", a, b, end);
    if (aio_stream_unsent(&c->stream) > MAX_UNSENT) aio_stream_abort(&c->stream);   // ends its read
    else (void)aio_stream_write_nowait(&c->stream, text, (size_t)n);
}
static void tell_all(struct client *room, const char *a, const char *b, const char *end)
{
    for (; room; room = room->next) tell(room, a, b, end);
}

// A line without its end, and without what would move the cursor of somebody's terminal.
static void clean(char *to, size_t size, aio_bytes line)
{
    size_t n = 0;
    while (line.size && isspace((unsigned char)line.data[line.size - 1])) line.size--;
    for (; n < line.size && n < size - 1; n++)
        to[n] = iscntrl((unsigned char)line.data[n]) ? ' ' : line.data[n];
    to[n] = 0;
}

static bool enter(struct client *c)
{
    clean(c->name, sizeof c->name, c->line);
    for (struct client *other = *c->room; other; other = other->next)
        if (strcmp(other->name, c->name) == 0) return *c->name = 0, false;
    if (!*c->name) return false;
    c->next = *c->room;
    *c->room = c;
    printf("%s comes\n", c->name);
    tell_all(*c->room, "* ", c->name, " is here");
    return true;
}
static void leave(struct client *c, const char *why)
{
    struct client **at = c->room;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    printf("%s goes: %s\n", c->name, why);
    tell_all(*c->room, "* ", c->name, " is gone");
}
static void says(struct client *c)
{
    char text[MAX_LINE + 1];
    clean(text, sizeof text, c->line);
    if (strcmp(text, "/who") != 0) {
        tell_all(*c->room, c->name, ": ", text);
    } else {
        for (struct client *other = *c->room; other; other = other->next)
            tell(c, "* ", other->name, "");
    }
}

aio_async(client) {
    static const struct aio_stream_options options = { .read_limit = MAX_LINE };
    aio_result n;
    if ((n = aio_stream_open(&self->stream, self->fd, self->fd, &options)) < 0)
        return close(self->fd), n;
    do {
        (void)aio_stream_write_nowait(&self->stream, "Your name? ", 11);
        aio_await(n, aio_wait_for(30 * AIO_SECOND,
                                  aio_stream_read_line(&self->stream, &self->line)));
    } while (n > 0 && !enter(self));
    if (n > 0) {
        do {
            aio_await(n, aio_stream_read_line(&self->stream, &self->line));
            if (n > 0) says(self);
        } while (n > 0);
        leave(self, n == -ECONNABORTED ? "does not read" : n < 0 ? strerror((int)-n) : "bye");
    }
    if (n < 0)
        tell(self, "* good night: ", n == -ECANCELED ? "the server ends" : strerror((int)-n), "");
    self->r = n;
    aio_await(aio_wait_for(AIO_SECOND, aio_stream_close(&self->stream)));   // sends what is left
    return self->r == -ECANCELED ? -ECANCELED : 0;
} aio_end

struct chat {
    aio_frame aio;
    int port, listener;
    struct client *room;
    aio_server server;
    aio_result r;
};

aio_async(chat) {
    aio_try(self->listener, aio_listen_tcp("", self->port));
    self->server.limit = CLIENTS;
    aio_await(self->r, aio_serve(&self->server, self->listener, client, .room = &self->room));
    aio_await(aio_close(self->listener));
    return self->r;
} aio_end

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 7777;
    setvbuf(stdout, NULL, _IOLBF, 0);
    aio_result r = aio_run(chat, .port = port);
    if (r == -EINTR) return 0;
    return fprintf(stderr, "chat: port %d: %s\n", port, strerror((int)-r)), 1;
}
