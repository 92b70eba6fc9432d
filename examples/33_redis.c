// 33_redis - Redis through its own client library: hiredis on aio_poll.
//
// Shows:  any library with a descriptor fits in. Two tasks wait for what hiredis wants to do next;
//         a command is a coroutine: awaited, a thousand at a time on one connection, given a limit.
// Run:    cc -O2 -iquote . examples/33_redis.c -o redis -lhiredis -luring
//         ./redis 127.0.0.1 6379, or ./redis /run/redis/redis-server.sock
// LIBS: -lhiredis
// Prints: what the server answers. Its keys begin with "aio:"; it deletes them.
#include "aio_io_uring.h"
#include <hiredis/async.h>

// --- a connection
struct redis {
    redisAsyncContext *context;     // null: there is none (any more), and `error` says why
    aio_event may_read, may_write;  // set: hiredis wants to
    char error[128];
};

static void want_read(void *redis) { aio_event_set(&((struct redis *)redis)->may_read); }
static void want_write(void *redis) { aio_event_set(&((struct redis *)redis)->may_write); }
static void wrote_all(void *redis) { aio_event_clear(&((struct redis *)redis)->may_write); }
static void gone(void *arg)         // hiredis is about to close the socket
{
    struct redis *redis = arg;
    snprintf(redis->error, sizeof redis->error, "%s", redis->context->errstr);
    shutdown(redis->context->c.fd, SHUT_RDWR);      // ends the polls
    redis->context = NULL;
    want_read(redis), want_write(redis);            // and the waits
}

struct pump {
    aio_frame aio;
    struct redis *redis;
    aio_event *wanted;
    unsigned events;
    void (*handle)(redisAsyncContext *);
};

aio_async(pump) {
    for (;;) {
        aio_try(aio_event_wait(self->wanted));
        if (!self->redis->context) return 0;
        aio_try(aio_poll(self->redis->context->c.fd, self->events));
        if (self->redis->context) self->handle(self->redis->context);
    }
} aio_end

// Its tasks are in the caller's group. Whatever comes, the caller frees the context.
static aio_result redis_open(struct redis *redis, aio_group *group, const char *host, int port)
{
    redisAsyncContext *c = port ? redisAsyncConnect(host, port) : redisAsyncConnectUnix(host);
    if (!(redis->context = c)) return -ENOMEM;
    c->ev.data = redis, c->ev.cleanup = gone;
    c->ev.addRead = want_read, c->ev.addWrite = want_write, c->ev.delWrite = wrote_all;
    if (c->err) return -ENOTCONN;
    (void)aio_group_spawn(group, pump, .redis = redis, .wanted = &redis->may_read,
                          .events = POLLIN, .handle = redisAsyncHandleRead);
    (void)aio_group_spawn(group, pump, .redis = redis, .wanted = &redis->may_write,
                          .events = POLLOUT, .handle = redisAsyncHandleWrite);
    return 0;
}

// --- a command: its result is a number, the length of a text, or an error
struct redis_command {
    aio_frame aio;
    struct redis *redis;
    const char *format, *a, *b;     // "SET %s %s" and its arguments
    char text[128];                 // the answer's; zeroed in the beginning
    aio_future answer;
    struct redis_command **ticket;  // with hiredis until the answer is there, perhaps after our end
};

static void on_answer(redisAsyncContext *context, void *answer, void *ticket)
{
    struct redis_command *c = *(struct redis_command **)ticket;
    const redisReply *reply = answer;
    (void)context;
    free(ticket);
    if (!c) return;                 // cancelled: nobody wants to know
    c->ticket = NULL;
    if (reply && reply->elements) reply = reply->element[reply->elements - 1];
    if (reply && reply->str) snprintf(c->text, sizeof c->text, "%s", reply->str);
    if (!reply) aio_future_set_error(&c->answer, -ENOTCONN);
    else if (reply->type == REDIS_REPLY_ERROR) aio_future_set_error(&c->answer, -EPROTO);
    else if (reply->type == REDIS_REPLY_NIL) aio_future_set_error(&c->answer, -ENOENT);
    else if (reply->str) aio_future_set_result(&c->answer, (aio_result)reply->len);
    else aio_future_set_result(&c->answer, reply->integer);
}

aio_async(redis_command) {
    aio_result r;
    if (!self->redis->context) return -ENOTCONN;
    if (!(self->ticket = malloc(sizeof *self->ticket))) return -ENOMEM;
    *self->ticket = self;
    if (redisAsyncCommand(self->redis->context, on_answer, self->ticket, self->format, self->a,
                          self->b) != REDIS_OK) return free(self->ticket), -ENOTCONN;
    aio_await(r, aio_future_wait(&self->answer));
    if (self->ticket) *self->ticket = NULL;
    return r;
} aio_end

// --- the program
struct tour { aio_frame aio; struct redis *redis; struct redis_command command; aio_group crowd; };
#define redis_ask(...) \
    aio_call(&self->command, redis_command, .redis = self->redis, .format = __VA_ARGS__)

aio_async(tour) {
    aio_result r;
    aio_try(redis_ask("SET %s %s", .a = "aio:n", .b = "0"));
    printf("SET: %s\n", self->command.text);
    aio_try(aio_group_enter(&self->crowd));
    for (int i = 0; i < 1000; i++)
        (void)aio_group_spawn(&self->crowd, redis_command, .redis = self->redis,
                              .format = "INCR aio:n");
    aio_try(aio_group_exit(&self->crowd, 0));
    aio_await(r, redis_ask("RPUSH aio:n word"));
    printf("RPUSH to a number: %s\n", r == -EPROTO ? self->command.text : aio_strerror(r));
    aio_try(redis_ask("GETDEL aio:n"));
    printf("a thousand tasks have counted to %s\n", self->command.text);
    aio_await(r, aio_wait_for(AIO_SECOND / 10, redis_ask("BLPOP aio:jobs 0")));
    printf("BLPOP of nothing, with a limit: %s\n", aio_strerror(r));
    return r == -ETIMEDOUT ? 0 : r;
} aio_end

struct client {
    aio_frame aio;
    const char *host; int port;
    struct redis redis;
    aio_group pumps;
    struct tour tour;
};

aio_async(client) {
    aio_result r;
    aio_try(aio_group_enter(&self->pumps));
    r = redis_open(&self->redis, &self->pumps, self->host, self->port);
    if (r >= 0) aio_await(r, aio_call(&self->tour, tour, .redis = &self->redis));
    if (self->redis.context) redisAsyncFree(self->redis.context);   // who waits gets -ENOTCONN
    if (r < 0)
        fprintf(stderr, "redis: %s\n", r == -ENOTCONN ? self->redis.error :
                r == -EPROTO ? self->tour.command.text : strerror((int)-r));
    aio_await(r, aio_group_exit(&self->pumps, r));
    return r;
} aio_end

int main(int argc, char **argv)
{
    if (argc < 2) return fprintf(stderr, "usage: redis ADDRESS PORT, or redis SOCKET\n"), 2;
    return aio_run(client, .host = argv[1], .port = argc > 2 ? atoi(argv[2]) : 0) < 0;
}
