#include "tests/unit/scarce.h"

#include <stdbool.h>
#include <stddef.h>

static int64_t left = -1, calls;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_realloc(void *at, size_t size);

void scarce_after(int64_t n)
{
    left = n;
}

int64_t scarce_calls(void)
{
    return calls;
}

static bool is_there(void)
{
    calls++;
    if (left > 0)
        left--;
    else if (left == 0)
        return false;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return is_there() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return is_there() ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *at, size_t size)
{
    return is_there() ? __real_realloc(at, size) : NULL;
}
