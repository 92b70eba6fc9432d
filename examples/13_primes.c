// 13_primes - computing, and staying cooperative.
//
// Shows:  a coroutine that computes without an await keeps all others from running; aio_sleep(0)
//         now and then lets them take their turn, at the cost of a switch.
// Run:    cc -O2 -iquote . examples/13_primes.c -o primes && ./primes
// Prints: the highest prime below 1000, 10000, 100000: the smallest search ends first, although it
//         was created last. (Without the yield they would end in the order of their creation.)
#include "aio_loop.h"

static bool is_prime(int n)
{
    for (int i = 2; i * i <= n; i++)
        if (n % i == 0) return false;
    return n >= 2;
}

struct highest_prime {
    aio_frame aio;
    int below, n, best;
};

aio_async(highest_prime) {
    printf("highest prime below %d: searching\n", self->below);
    for (self->n = 2; self->n < self->below; self->n++) {
        if (is_prime(self->n)) self->best = self->n;
        if (self->n % 100 == 0) aio_try(aio_sleep(0));      // the others' turn
    }
    printf("highest prime below %d: %d\n", self->below, self->best);
    return self->best;
} aio_end

struct primes {
    aio_frame aio;
    aio_task *tasks[3];
    aio_result results[3];
};

aio_async(primes) {
    static const int below[] = { 100000, 10000, 1000 };
    for (int i = 0; i < 3; i++) self->tasks[i] = aio_spawn(highest_prime, .below = below[i]);
    aio_try(aio_gather_all(self->tasks, self->results, 3));
    printf("in the order of creation: %d %d %d\n", (int)self->results[0], (int)self->results[1],
           (int)self->results[2]);
} aio_end

int main(void)
{
    return aio_run(primes) < 0;
}
