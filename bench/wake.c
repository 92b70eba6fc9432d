// wake.c - waking another thread's ring, there and back: nanoseconds per hop.
// SPDX-License-Identifier: MIT
//
//   eventfd   write(2) to an eventfd that the other ring polls; read(2) and a new poll there
//   edge      the same with one multishot, edge-triggered poll: no read, no new poll
//   msg       IORING_OP_MSG_RING, submitted with the sender's next wait
//   msg now   the same, submitted at once, as a post in the middle of a turn would have to be
// aio       aio_loop_post and aio_loop_receive: a lock, a queue, a turn of the loop; wakes as edge
//
//     make build/bench/wake && build/bench/wake [hops]
#include "aio_io_uring.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum way { EVENTFD, EDGE, MSG, MSG_NOW, AIO, WAYS };
static const char *names[] = { "eventfd", "edge", "msg", "msg now", "aio" };
static struct side {
    struct io_uring ring;
    int event;
    bool polled;
    pthread_barrier_t *ready;
} sides[2];
static enum way way;
static long hops;
static int other_core;

static void make_ring(struct side *s)
{
    struct io_uring_params p;
    memset(&p, 0, sizeof p);
    p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    if (io_uring_queue_init_params(64, &s->ring, &p)) exit(77);
    io_uring_register_ring_fd(&s->ring);
    s->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->polled = false;
}
static void wake(struct side *from, struct side *to)
{
    uint64_t one = 1;
    if (way == EVENTFD || way == EDGE) {
        if (write(to->event, &one, sizeof one) < 0) abort();
        return;
    }
    struct io_uring_sqe *sqe = io_uring_get_sqe(&from->ring);
    io_uring_prep_msg_ring(sqe, to->ring.ring_fd, 0, 7, 0);
    sqe->user_data = 1;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    if (way == MSG_NOW) io_uring_submit(&from->ring);
}
static void wait_for_wake(struct side *s)
{
    for (bool woken = false; !woken;) {
        struct io_uring_cqe *cqe;
        if (way == EVENTFD && !s->polled) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);
            io_uring_prep_poll_add(sqe, s->event, POLLIN);
            sqe->user_data = 8;
            s->polled = true;
        }
        if (way == EDGE && !s->polled) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);
            io_uring_prep_poll_multishot(sqe, s->event, POLLIN | EPOLLET);
            sqe->user_data = 9;
            s->polled = true;
        }
        if (io_uring_submit_and_wait(&s->ring, 1) < 0) abort();
        while (!io_uring_peek_cqe(&s->ring, &cqe)) {
            uint64_t count;
            if (cqe->user_data == 1) abort();           // a message that did not arrive
            woken = true;
            if (cqe->user_data == 8 || !(cqe->flags & IORING_CQE_F_MORE)) s->polled = false;
            if (cqe->user_data == 8 && read(s->event, &count, sizeof count) < 0) {}
            io_uring_cqe_seen(&s->ring, cqe);
        }
    }
}
static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}
static void *other(void *arg)
{
    struct side *s = (struct side *)arg;
    pin(other_core);
    make_ring(s);
    pthread_barrier_wait(s->ready);
    for (long i = 0; i < hops; i++) {
        wait_for_wake(s);
        wake(s, &sides[0]);
    }
    io_uring_submit(&s->ring);
    pthread_barrier_wait(s->ready);
    return NULL;
}
struct hop { aio_frame aio; uint64_t m; long i; int64_t *took; };
aio_async(hop) {
    pin(aio_thread_index() ? other_core : 0);
    aio_try(aio_nop());
    if (aio_thread_index()) (void)aio_loop_post(aio_thread_loop(0), 0);         // ready
    else aio_try(aio_loop_receive(&self->m));
    if (!aio_thread_index()) *self->took -= aio__clock();
    for (self->i = 0; self->i < hops; self->i++) {
        if (!aio_thread_index()) (void)aio_loop_post(aio_thread_loop(1), 0);
        aio_try(aio_loop_receive(&self->m));
        if (aio_thread_index()) (void)aio_loop_post(aio_thread_loop(0), 0);
    }
    if (!aio_thread_index()) *self->took += aio__clock();
} aio_end
static double measure_aio(void)
{
    static int64_t took;
    took = 0;
    if (aio_run_threads(2, hop, .took = &took) < 0) exit(1);
    return (double)took / (double)hops / 2;
}
static double measure(enum way w)
{
    if (w == AIO) return measure_aio();
    pthread_t thread;
    pthread_barrier_t ready;
    pthread_barrier_init(&ready, NULL, 2);
    way = w;
    sides[1].ready = &ready;
    make_ring(&sides[0]);
    pthread_create(&thread, NULL, other, &sides[1]);
    pthread_barrier_wait(&ready);
    int64_t began = aio__clock();
    for (long i = 0; i < hops; i++) {
        wake(&sides[0], &sides[1]);
        wait_for_wake(&sides[0]);
    }
    double took = (double)(aio__clock() - began) / (double)hops / 2;
    pthread_barrier_wait(&ready);
    pthread_join(thread, NULL);
    for (int i = 0; i < 2; i++) {
        io_uring_queue_exit(&sides[i].ring);
        close(sides[i].event);
    }
    return took;
}
int main(int argc, char **argv)
{
    hops = argc > 1 ? atol(argv[1]) : 20000;
    pin(0);
    for (other_core = 0; other_core < 2; other_core++) {
        double best[WAYS] = { 0 };
        for (int round = 0; round < 9; round++)         // interleaved
            for (int w = 0; w < WAYS; w++) {
                double took = measure((enum way)w);
                if (!best[w] || took < best[w]) best[w] = took;
            }
        for (int w = 0; w < WAYS; w++)
            printf("%-10s %-8s %8.0f ns per hop\n", other_core ? "two cores" : "one core", names[w],
                   best[w]);
    }
    return 0;
}
