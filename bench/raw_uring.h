// raw_uring.h - the limit for everything that goes through a ring: liburing by hand, best flags.
// SPDX-License-Identifier: MIT
#ifndef BENCH_RAW_URING_H
#define BENCH_RAW_URING_H
#include "bench.h"

#include <liburing.h>

static inline void raw_ring(struct io_uring *ring, unsigned sq, unsigned cq)
{
    struct io_uring_params p;
    memset(&p, 0, sizeof p);
    p.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
              IORING_SETUP_DEFER_TASKRUN;
    p.cq_entries = cq;
    int r = io_uring_queue_init_params(sq, ring, &p);
    if (r == -EINVAL) {                     // before Linux 6.1
        memset(&p, 0, sizeof p);
        p.flags = IORING_SETUP_CQSIZE;
        p.cq_entries = cq;
        r = io_uring_queue_init_params(sq, ring, &p);
    }
    if (r < 0) {
        errno = -r;
        bench_fail("io_uring_queue_init_params");
    }
    io_uring_register_ring_fd(ring);
}
// A full ring goes to the kernel first.
static inline struct io_uring_sqe *raw_sqe(struct io_uring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    while (!sqe) {
        io_uring_submit(ring);
        sqe = io_uring_get_sqe(ring);
    }
    return sqe;
}
#endif
