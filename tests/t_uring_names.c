// Names: the resolver on threads of its own, and connecting by name (RFC 8305). No network is
//        asked: a
// planted resolver gives addresses of the loopback network, 127.0.0.1 … 127.0.0.7, on one port. On
// some of them somebody listens, on some nobody, and some are silent (their queue is full).
#include "uring.h"
#include <pthread.h>

static int port;                // all addresses have this one
static const char *planted[8];  // what a name leads to, in order
static int planted_error;
static int asked;               // atomic: look-ups that were begun
static int gate;                // atomic: look-ups wait until it is not 1

static void set_gate(int closed) { __atomic_store_n(&gate, closed, __ATOMIC_SEQ_CST); }
static int look_up(const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    struct addrinfo h, **at = result;
    __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&gate, __ATOMIC_SEQ_CST) == 1) usleep(500);
    if (planted_error == EAI_SYSTEM) errno = ENETDOWN;
    if (planted_error) return planted_error;
    *result = NULL;
    for (int i = 0; i < 8 && planted[i]; i++) {
        h = *hints;
        h.ai_flags = AI_NUMERICHOST;
        if (getaddrinfo(planted[i], service, &h, at)) continue;
        while (*at) at = &(*at)->ai_next;
    }
    return *result ? 0 : EAI_NODATA;
}
static int inside;              // atomic: look-ups that run, perhaps left alone
static int plant(const char *host, const char *service, const struct addrinfo *hints,
                 struct addrinfo **result)
{
    if (host && !strcmp(host, "numeric.only")) return EAI_FAMILY;
    if (!host || (hints->ai_flags & AI_NUMERICHOST))
        return getaddrinfo(host, service, hints, result);
    __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    int r = look_up(service, hints, result);
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    return r;
}
static int setup(void **state)
{
    (void)state;
    memset(planted, 0, sizeof planted);
    planted_error = 0;
    __atomic_store_n(&asked, 0, __ATOMIC_SEQ_CST);
    set_gate(0);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    do usleep(5000);
    while (__atomic_load_n(&inside, __ATOMIC_SEQ_CST));
    return 0;
}
#define name_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

// --- who listens where
static int listener_at(const char *host, int at_port, int backlog)
{
    struct sockaddr_in a = loopback(at_port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, host, &a.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, backlog) < 0) return -1;
    return fd;
}
// An address that answers to nobody: its queue is full. fds: to be closed.
static void silent_at(const char *host, int fds[4])
{
    struct sockaddr_in a = loopback(port);
    inet_pton(AF_INET, host, &a.sin_addr);
    fds[0] = listener_at(host, port, 0);
    for (int i = 1; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fds[i], (struct sockaddr *)&a, sizeof a) < 0) {}
    }
    usleep(20000);
}
static void close_all(const int *fds, int n)
{
    for (int i = 0; i < n; i++) close(fds[i]);
}
// N of a connection to 127.0.0.N, which it closes.
static int last_byte_of_peer(int fd)
{
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    if (getpeername(fd, (struct sockaddr *)&a, &n) < 0) return -errno;
    close(fd);
    return (int)(ntohl(a.sin_addr.s_addr) & 255);
}

// --- aio_getaddrinfo
struct looks {
    aio_frame aio;
    const char *host, *service;
    struct addrinfo *list, hints;
    bool plain;
};
aio_async(looks) {
    aio_result r;
    {
        char host[64], service[64];             // locals: they are copied
        struct addrinfo hints;
        hints = self->hints;
        if (self->host) snprintf(host, sizeof host, "%s", self->host);
        if (self->service) snprintf(service, sizeof service, "%s", self->service);
        aio_await(r, aio_getaddrinfo(self->host ? host : NULL, self->service ? service : NULL,
                                     self->plain ? NULL : &hints, &self->list));
    }
    if (self->list && r < 0) return -EPROTO;
    if (self->list) freeaddrinfo(self->list);
    return r;
} aio_end
static void numbers_need_no_thread(void **state)
{
    (void)state;
    assert_result(run(looks, .host = "127.0.0.1", .service = "80"), 0);
    assert_result(run(looks, .host = "::1", .plain = true), 0);
    assert_result(run(looks, .service = "80", .hints.ai_flags = AI_PASSIVE), 0);
    assert_result(run(looks, .host = "name", .hints.ai_flags = AI_NUMERICHOST), -ENOENT);
    assert_result(run(looks, .host = "numeric.only"), -EAFNOSUPPORT);
    assert_int_equal(__atomic_load_n(&asked, __ATOMIC_SEQ_CST), 0);
}
static void a_name_is_looked_up(void **state)
{
    (void)state;
    planted[0] = "127.0.0.2";
    planted[1] = "127.0.0.3";
    assert_result(run(looks, .host = "name", .service = "80"), 0);
    assert_result(run(looks, .host = "name"), 0);
    assert_result(run(looks, .host = "name", .plain = true), 0);
    assert_int_equal(__atomic_load_n(&asked, __ATOMIC_SEQ_CST), 3);
    planted[0] = NULL;
    assert_result(run(looks, .host = "name", .service = "80"), -ENODATA);
}
static void errors_and_their_words(void **state)
{
    (void)state;
    const struct { int gai, error;
    } all[] = {{EAI_NONAME, ENOENT},
               {EAI_AGAIN, EAGAIN},
               {EAI_FAIL, EREMOTEIO},
               {EAI_MEMORY, ENOMEM},
               {EAI_BADFLAGS, EINVAL},
               {EAI_FAMILY, EAFNOSUPPORT},
               {EAI_SOCKTYPE, ESOCKTNOSUPPORT},
               {EAI_SERVICE, ENOPROTOOPT},
               {EAI_OVERFLOW, EOVERFLOW},
               {EAI_NODATA, ENODATA},
               {EAI_ADDRFAMILY, EADDRNOTAVAIL}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        planted_error = all[i].gai;
        assert_result(run(looks, .host = "name"), -all[i].error);
        assert_string_equal(aio_gai_strerror(-all[i].error), gai_strerror(all[i].gai));
    }
    planted_error = EAI_SYSTEM;
    assert_result(run(looks, .host = "name"), -ENETDOWN);
    assert_string_equal(aio_gai_strerror(-ENETDOWN), strerror(ENETDOWN));
    assert_string_equal(aio_gai_strerror(0), strerror(0));
    planted_error = 77;
    assert_result(run(looks, .host = "name"), -EIO);
}
// Look-ups that hang keep neither jobs nor other look-ups' cancels from going on, and the reverse.
static int job(void *arg) { return *(int *)arg; }
static int blocks(void *arg)
{
    while (__atomic_load_n((int *)arg, __ATOMIC_SEQ_CST) == 1) usleep(500);
    return 0;
}
enum { MANY = 40 };
struct crowd { aio_frame aio; aio_task *t[MANY]; int i, three, hold; aio_result r[MANY]; };
struct blocked { aio_frame aio; int *hold; };
aio_async(blocked) { aio_try(aio_to_thread(blocks, self->hold)); return 0; } aio_end
aio_async(crowd) {
    aio_result r;
    self->three = 3;
    set_gate(1);
    for (self->i = 0; self->i < MANY; self->i++)
        self->t[self->i] = aio_spawn(looks, .host = "name");
    aio_try(aio_sleep(AIO_MSEC));
    aio_await(r, aio_to_thread(job, &self->three));         // not starved
    if (r != 3) return -EPROTO;
    while (__atomic_load_n(&asked, __ATOMIC_SEQ_CST) < 4) aio_try(aio_sleep(AIO_MSEC));
    for (self->i = 0; self->i < MANY; self->i++) aio_task_cancel(self->t[self->i]);
    aio_await(r, aio_gather_all(self->t, self->r, MANY));   // at once: the gate is closed
    if (r < 0) return r;
    for (self->i = 0; self->i < MANY; self->i++)
        if (self->r[self->i] != -ECANCELED) return -EPROTO;
    if (__atomic_load_n(&asked, __ATOMIC_SEQ_CST) != 4) return -EPROTO; // the others never began
    set_gate(0);
    self->hold = 1;                                         // now the other way round
    for (self->i = 0; self->i < MANY; self->i++)
        self->t[self->i] = aio_spawn(blocked, .hold = &self->hold);
    aio_try(aio_sleep(AIO_MSEC));
    aio_await(r, aio_join(aio_spawn(looks, .host = "name")));
    __atomic_store_n(&self->hold, 0, __ATOMIC_SEQ_CST);
    if (r < 0) return r;
    aio_try(aio_gather(self->t, NULL, MANY));
    return 5;
} aio_end
static void neither_starves_the_other(void **state)
{
    (void)state;
    planted[0] = "127.0.0.2";
    assert_result(run(crowd), 5);
}
struct limited { aio_frame aio; struct addrinfo *list; aio_op op; int how; };
aio_async(limited) {
    aio_result r;
    set_gate(self->how < 3);
    if (self->how == 1) {
        aio_await(r, aio_wait_for(AIO_MSEC, aio_getaddrinfo("name", NULL, NULL, &self->list)));
        return r;
    }
    if ((r = aio_start(&self->op, aio_getaddrinfo("name", NULL, NULL, &self->list))) < 0) return r;
    aio_try(aio_sleep(self->how == 3 ? AIO_MSEC * 50 : AIO_MSEC));
    if (self->how == 4) {
        aio_await(r, aio_op_wait(&self->op));
        freeaddrinfo(self->list);
        return r;
    }
    return 0;                   // 2: over one that runs; 3: one that has a result nobody took
} aio_end
// As many look-ups as there are threads hang and were given up: the next ones have threads.
struct stuck { aio_frame aio; int i, left; struct addrinfo *list; aio_task *t[6]; aio_result r; };
aio_async(stuck) {
    set_gate(1);
    for (self->i = 0; self->i < 9; self->i++) {
        aio_await(self->r, aio_wait_for(AIO_MSEC, aio_getaddrinfo("name", NULL, NULL, &self->list)));
        assert_result(self->r, -ETIMEDOUT);
    }
    for (self->i = 0; self->i < 6; self->i++) self->t[self->i] = aio_spawn(looks, .host = "name");
    self->left = __atomic_load_n(&asked, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&asked, __ATOMIC_SEQ_CST) < self->left + 4) aio_try(aio_sleep(AIO_MSEC));
    aio_task_cancel(self->t[0]);                // two that wait get the place of one that runs
    aio_task_cancel(self->t[1]);
    while (__atomic_load_n(&asked, __ATOMIC_SEQ_CST) < self->left + 6) aio_try(aio_sleep(AIO_MSEC));
    set_gate(0);
    for (self->i = 0; self->i < 6; self->i++) {
        aio_await(self->r, aio_join(self->t[self->i]));
        assert_result(self->r, self->i < 2 ? -ECANCELED : 0);
    }
    return 5;
} aio_end
static void names_that_hang_and_were_given_up_stop_no_others(void **state)
{
    (void)state;
    planted[0] = "127.0.0.2";
    assert_result(run(stuck), 5);
}
static void limits_frames_and_results_nobody_took(void **state)
{
    (void)state;
    planted[0] = "127.0.0.2";
    assert_result(run(limited, .how = 1), -ETIMEDOUT);
    assert_result(run(limited, .how = 2), 0);
    assert_result(run(limited, .how = 3), 0);
    assert_result(run(limited, .how = 4), 0);
    set_gate(0);
}
// An op that takes over another one's result takes what that one held.
struct chained { aio_frame aio; struct addrinfo *list; aio_op first, second; bool late; };
aio_async(chained) {
    aio_result r;
    r = aio_start(&self->first,
                  aio_getaddrinfo(self->late ? "name" : "127.0.0.1", "80", NULL, &self->list));
    if (r >= 0) r = aio_start(&self->second, aio_op_wait(&self->first));
    if (r < 0) return r;
    while (!aio_op_done(&self->second)) aio_try(aio_sleep(AIO_MSEC));
    return 0;
} aio_end
static void what_an_op_hands_to_an_op(void **state)
{
    (void)state;
    planted[0] = "127.0.0.2";
    assert_result(run(chained), 0);
    assert_result(run(chained, .late = true), 0);
}
// The loop closes over look-ups that run, that wait, and whose result is on its way.
static void closing(void **state)
{
    (void)state;
    planted[0] = "127.0.0.2";
    for (int round = 0; round < 20; round++) {
        aio_loop loop;
        struct aio_loop_options o = uring_options();
        uring_begin();
        set_gate(round & 1);
        assert_result(aio_loop_init(&loop, &o), 0);
        for (int i = 0; i < 10; i++) aio_detach(aio_spawn_on(&loop, looks, .host = "name"));
        aio_loop_stop(&loop);
        assert_result(aio_loop_run_forever(&loop), 0);
        usleep((unsigned)round * 100);
        assert_result(aio_loop_close(&loop), 0);
        set_gate(0);
        uring_check(__FILE__, __LINE__);
    }
}

// --- connecting by name
struct dials {
    aio_frame aio;
    struct aio_connect_options o;
    int64_t limit;
    aio_result r;
    bool in_op;
    aio_op op;
};
aio_async(dials) {
    if (self->in_op) {
        self->r = aio_start(&self->op, aio_connect_tcp("name", port));
        return self->r < 0 ? self->r : aio_op_result(&self->op);
    }
    {
        char host[8];
        struct aio_connect_options o;
        strcpy(host, "name");
        o = self->o;
        if (!self->limit) self->limit = AIO_FOREVER;
        aio_await(self->r, aio_wait_for(self->limit, aio_connect_tcp_with(host, port, &o)));
    }
    if (self->r < 0) return self->r;
    return last_byte_of_peer((int)self->r);
} aio_end
static void the_first_that_answers(void **state)
{
    (void)state;
    int good = listener_at("127.0.0.5", 0, 16);
    port = port_of(good);
    planted[0] = "127.0.0.5";
    assert_result(run(dials), 5);
    planted[0] = "127.0.0.2";                   // refused: the next at once
    planted[1] = "127.0.0.3";
    planted[2] = "127.0.0.5";
    assert_result(run(dials, .o.attempt_delay_ns = AIO_SECOND * 600), 5);
    assert_result(run(dials, .in_op = true), -EINVAL);
    close(good);
}
static void a_silent_one_is_overtaken(void **state)
{
    (void)state;
    int silent[4], good = listener_at("127.0.0.5", 0, 16);
    port = port_of(good);
    silent_at("127.0.0.4", silent);
    planted[0] = "127.0.0.4";
    planted[1] = "127.0.0.5";
    assert_result(run(dials), 5);
    planted[1] = "127.0.0.2";                   // refused, while the first goes on
    planted[2] = "127.0.0.5";
    assert_result(run(dials, .o.attempt_delay_ns = AIO_MSEC), 5);
    planted[2] = NULL;
    planted[1] = NULL;
    assert_result(run(dials, .limit = AIO_MSEC * 50), -ETIMEDOUT);
    close_all(silent, 4);
    close(good);
}
static void all_fail(void **state)
{
    (void)state;
    port = 1;
    planted[0] = "127.0.0.2";
    planted[1] = "::1";
    planted[2] = "127.0.0.3";
    assert_result(run(dials), -ECONNREFUSED);
    assert_result(run(dials, .o.family = AF_INET), -ECONNREFUSED);
    planted[1] = "255.255.255.255";             // no way there, and the last: tells less
    planted[2] = NULL;
    assert_result(run(dials), -ECONNREFUSED);
    planted[0] = NULL;
    assert_result(run(dials), -ENODATA);
    planted_error = EAI_AGAIN;
    assert_result(run(dials), -EAGAIN);
}
static int sockets_left;
static int few_sockets(int domain, int type, int protocol)
{
    if (!sockets_left) {
        errno = EMFILE;
        return -1;
    }
    sockets_left--;
    return socket(domain, type, protocol);
}
struct listens { aio_frame aio; struct aio_listen_options o; aio_result r; int port; aio_op op; };
aio_async(listens) {
    if (self->port < 0) {
        self->r = aio_start(&self->op, aio_listen_tcp("name", 0));
        return self->r < 0 ? self->r : aio_op_result(&self->op);
    }
    {
        struct aio_listen_options o;
        o = self->o;
        aio_try(self->r, aio_listen_tcp_with("name", self->port, &o));
    }
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    int reuse = 0;
    socklen_t m = sizeof reuse;
    getsockname((int)self->r, (struct sockaddr *)&a, &n);
    getsockopt((int)self->r, SOL_SOCKET, SO_REUSEPORT, &reuse, &m);
    close((int)self->r);
    if (reuse != self->o.reuse_port) return -EPROTO;
    return (int)(ntohl(a.sin_addr.s_addr) & 255);
} aio_end
static void listening_by_name(void **state)
{
    (void)state;
    planted[0] = "127.0.0.6";
    assert_result(run(listens), 6);
    assert_result(run(listens, .o.reuse_port = true), 6);
    planted[0] = "192.0.2.1";                   // not ours
    planted[1] = "127.0.0.7";
    assert_result(run(listens), 7);
    planted[1] = NULL;
    assert_result(run(listens), -EADDRNOTAVAIL);
    int fd = listener_at("127.0.0.6", 0, 1);
    planted[0] = "127.0.0.6";
    planted[1] = "192.0.2.1";
    assert_result(run(listens, .port = port_of(fd)), -EADDRINUSE);
    assert_result(run(listens, .port = -1), -EINVAL);       // in an op
    close(fd);
    planted_error = EAI_NONAME;
    assert_result(run(listens), -ENOENT);
}
static void no_descriptor_left(void **state)
{
    (void)state;
    planted[0] = "127.0.0.2";
    planted[1] = "127.0.0.3";
    port = 1;
    uring_hook.socket = few_sockets;
    sockets_left = 0;
    aio_result none = run(dials);
    sockets_left = 1;
    aio_result one = run(dials);
    uring_hook.socket = NULL;
    assert_result(none, -EMFILE);
    assert_result(one, -EMFILE);
}
static void the_families_take_turns(void **state)
{
    (void)state;
    struct addrinfo a[6], *list = a;
    const struct addrinfo *order[AIO__ATTEMPTS];
    const int family[] = { AF_INET6, AF_INET6, AF_INET6, AF_INET, AF_INET6, AF_INET };
    const int expected[] = { 0, 3, 1, 5, 2, 4 };
    memset(a, 0, sizeof a);
    for (int i = 0; i < 6; i++) {
        a[i].ai_family = family[i];
        a[i].ai_next = i < 5 ? &a[i + 1] : NULL;
    }
    assert_int_equal(aio__interleave(list, order), 6);
    for (int i = 0; i < 6; i++) assert_ptr_equal(order[i], &a[expected[i]]);
}
static void which_error_is_told(void **state)
{
    (void)state;
    assert_result(aio__telling(0, -ENETUNREACH), -ENETUNREACH);
    assert_result(aio__telling(-ECONNREFUSED, -ENETUNREACH), -ECONNREFUSED);
    assert_result(aio__telling(-ENETUNREACH, -ETIMEDOUT), -ETIMEDOUT);
    assert_result(aio__telling(-ETIMEDOUT, -ECONNREFUSED), -ECONNREFUSED);
    assert_result(aio__telling(-ECONNREFUSED, -ETIMEDOUT), -ECONNREFUSED);
    assert_result(aio__telling(-ECONNREFUSED, -ECONNRESET), -ECONNRESET);
}
// Cancelled after each number of turns: run() counts descriptors and blocks.
struct cuts { aio_frame aio; int turns; aio_task *t; aio_result r; };
aio_async(cuts) {
    self->t = aio_spawn(dials, .o.attempt_delay_ns = AIO_MSEC);
    for (; self->turns; self->turns--) aio_try(aio_next_turn());
    aio_task_cancel(self->t);
    aio_await(self->r, aio_join(self->t));
    return self->r;
} aio_end
static void a_cancel_at_each_moment(void **state)
{
    (void)state;
    int silent[4], good = listener_at("127.0.0.5", 0, 128);
    port = port_of(good);
    silent_at("127.0.0.4", silent);
    planted[0] = "127.0.0.4";
    planted[1] = "127.0.0.2";
    planted[2] = "127.0.0.5";
    int cut = 0;
    for (int turns = 0; turns < 4000; turns += 1 + turns / 8) {
        aio_result r = run(cuts, .turns = turns);
        if (r == -ECANCELED) cut++;
        else assert_result(r, 5);
    }
    assert_true(cut > 3);
    close_all(silent, 4);
    close(good);
}
static void closing_over_a_connect(void **state)
{
    (void)state;
    int silent[4], good = listener_at("127.0.0.5", 0, 16);
    port = port_of(good);
    silent_at("127.0.0.4", silent);
    planted[0] = "127.0.0.4";
    planted[1] = "127.0.0.4";
    for (int turns = 1; turns < 300; turns += turns) {
        aio_loop loop;
        struct aio_loop_options o = uring_options();
        uring_begin();
        assert_result(aio_loop_init(&loop, &o), 0);
        aio_detach(aio_spawn_on(&loop, dials, .o.attempt_delay_ns = AIO_MSEC));
        aio_handle again;
        for (int i = 0; i < turns; i++) {
            aio_loop_stop(&loop);
            aio_call_soon(&loop, &again, aio__nothing, NULL);
            assert_result(aio_loop_run_forever(&loop), 0);
            if (i % 8 == 0) usleep(100);
        }
        assert_result(aio_loop_close(&loop), 0);
        uring_check(__FILE__, __LINE__);
    }
    close_all(silent, 4);
    close(good);
}
// It has won, and closes the others: all is released, and nothing twice.
static void closing_while_the_losers_are_closed(void **state)
{
    (void)state;
    int silent[4], good = listener_at("127.0.0.5", 0, 16);
    port = port_of(good);
    silent_at("127.0.0.4", silent);
    planted[0] = "127.0.0.4";
    planted[1] = "127.0.0.5";
    for (int later = 0; later < 2; later++) {
        aio_loop loop;
        struct aio_loop_options o = uring_options();
        uring_begin();
        assert_result(aio_loop_init(&loop, &o), 0);
        aio_task *t = aio_spawn_on(&loop, dials, .o.attempt_delay_ns = AIO_MSEC);
        uring_turns_until(&loop, t, "close");
        for (int i = 0; later && i < 50 && t->waiter.node.cls->kind != AIO__WAIT_READY; i++) {
            aio__uring_wait(&loop, 0);
            usleep(1000);
        }
        aio_detach(t);
        assert_result(aio_loop_close(&loop), 0);
        uring_check(__FILE__, __LINE__);
    }
    close_all(silent, 4);
    close(good);
}
static void no_memory(void **state)
{
    (void)state;
    int good = listener_at("127.0.0.5", 0, 64);
    port = port_of(good);
    planted[0] = "127.0.0.2";
    planted[1] = "127.0.0.5";
    for (long n = 1; n < 60; n++) {
        struct aio_loop_options o = uring_options();
        uring_begin();
        uring_memory.fail_from = n;
        aio_result r = aio_run_with(&o, dials);
        uring_memory.fail_from = 0;
        expect_reports();
        uring_check(__FILE__, __LINE__);
        if (r == 5) break;
        if (r != -ENOMEM && r != -ECONNREFUSED) assert_result(r, -ENOMEM);
    }
    close(good);
}

int main(void)
{
    uring_hook.getaddrinfo = plant;
    const struct CMUnitTest tests[] = {
        name_test(numbers_need_no_thread),
        name_test(a_name_is_looked_up),
        name_test(errors_and_their_words),
        name_test(neither_starves_the_other),
        name_test(limits_frames_and_results_nobody_took),
        name_test(what_an_op_hands_to_an_op),
        name_test(closing),
        name_test(the_first_that_answers),
        name_test(a_silent_one_is_overtaken),
        name_test(all_fail),
        name_test(listening_by_name),
        name_test(no_descriptor_left),
        name_test(the_families_take_turns),
        name_test(which_error_is_told),
        name_test(a_cancel_at_each_moment),
        name_test(closing_over_a_connect),
        name_test(closing_while_the_losers_are_closed),
        name_test(no_memory),
        cmocka_unit_test(names_that_hang_and_were_given_up_stop_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
