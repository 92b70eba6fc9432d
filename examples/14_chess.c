// 14_chess - a chess exhibition: 24 boards, one master, in simulated time.
//
// Shows:  why waiting for many at once is faster than waiting for one after another, though nothing
//         runs in parallel: the master (a lock: at one board at a time) takes 5 s for a move, each
//         opponent 55 s, a game has 30 pairs of moves. And that 13 hours of this take milliseconds
//         to try.
// Run:    cc -O2 -iquote . examples/14_chess.c -o chess && ./chess
// Prints: how long the exhibition takes in both ways; on standard error, how long the simulation
//         took.
#include "aio_loop.h"

enum { BOARDS = 24, PAIRS = 30 };
static const int64_t my_move = 5 * AIO_SECOND, their_move = 55 * AIO_SECOND;

struct game {
    aio_frame aio;
    aio_lock *master;
    int pair;
};

aio_async(game) {
    aio_result r;
    for (self->pair = 0; self->pair < PAIRS; self->pair++) {
        aio_try(aio_lock_acquire(self->master));        // the master comes to this board
        aio_await(r, aio_sleep(my_move));
        aio_lock_release(self->master);                 // a lock is no scope: released on every path
        if (r < 0) return r;
        aio_try(aio_sleep(their_move));                 // the master is elsewhere meanwhile
    }
} aio_end

struct in_sequence {
    aio_frame aio;
    aio_lock master;
    struct game game;
    int board;
};

aio_async(in_sequence) {
    for (self->board = 0; self->board < BOARDS; self->board++)
        aio_try(aio_call(&self->game, game, .master = &self->master));
} aio_end

struct interleaved {
    aio_frame aio;
    aio_lock master;
    aio_group group;            // no game outlives this frame, so none outlives the lock
};

aio_async(interleaved) {
    aio_result r;
    aio_try(aio_group_enter(&self->group));
    for (int i = 0; i < BOARDS; i++)
        (void)aio_group_spawn(&self->group, game, .master = &self->master);
    aio_await(r, aio_group_exit(&self->group, 0));
    return r;
} aio_end

static void print_duration(const char *what, int64_t ns)
{
    int s = (int)(ns / AIO_SECOND);
    printf("%s %2d h %02d min %02d s\n", what, s / 3600, s / 60 % 60, s % 60);
}

struct exhibition {
    aio_frame aio;
    int64_t began;
    union {
        struct in_sequence in_sequence;
        struct interleaved interleaved;
    } call;
};

aio_async(exhibition) {
    self->began = aio_loop_time(aio_running_loop());
    aio_try(aio_call(&self->call.in_sequence, in_sequence));
    print_duration("one game after another:", aio_loop_time(aio_running_loop()) - self->began);
    self->began = aio_loop_time(aio_running_loop());
    aio_try(aio_call(&self->call.interleaved, interleaved));
    print_duration("all at the same time:  ", aio_loop_time(aio_running_loop()) - self->began);
} aio_end

static double milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(void)
{
    double began = milliseconds();
    aio_result r = aio_run_with(&(struct aio_loop_options){.clock = AIO_CLOCK_VIRTUAL}, exhibition);
    fprintf(stderr, "simulated in %.1f ms\n", milliseconds() - began);
    return r < 0;
}
