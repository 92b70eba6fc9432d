// All headers, from the bottom up and once more, and all their uses in one translation unit.
#include "aio.h"
#include "aio_loop.h"
#include "aio_io_uring.h"
#include "aio_loop.h"
#include "aio.h"
#include "aio.c"
#include "loop.c"
#include "uring.c"
