// 01_hello - a coroutine that sleeps.
//
// Shows:  what a coroutine is: a struct (its frame) and a body; aio_try; aio_run.
// Run:    cc -O2 -iquote . examples/01_hello.c -o hello && ./hello
//         (-iquote names the folder of the headers. It needs no library: only time is used here.)
// Prints: hello, and half a second later: world
// Also valid C++17: c++ -std=c++17 -iquote . -x c++ examples/01_hello.c -o hello
#include "aio_loop.h"

struct hello {
    aio_frame aio;      // the first member of every frame; the rest is yours
};

aio_async(hello) {
    puts("hello");
    aio_try(aio_sleep(AIO_SECOND / 2));     // others could run meanwhile
    puts("world");
    return 0;
} aio_end

int main(void)
{
    return aio_run(hello) < 0;
}
