/* Prints the f32 multiply-adds a core can do, in GFLOP/s: the best of many short bursts. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

enum { CHAINS = 12, STEPS = 20000, BURSTS = 200 };

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

/* Independent chains, more than a core needs to hide the latency of one. They start
 * from different values, or the compiler would keep only one of them. */
static vector burst(vector factor, vector term)
{
    vector sums[CHAINS];
    for (int chain = 0; chain < CHAINS; chain++)
        sums[chain] = term * (float)chain;
    for (int step = 0; step < STEPS; step++)
#pragma GCC unroll 12
        for (int chain = 0; chain < CHAINS; chain++)
            sums[chain] = sums[chain] * factor + term;
    for (int chain = 1; chain < CHAINS; chain++)
        sums[0] += sums[chain];
    return sums[0];
}

int main(void)
{
    volatile float half = 0.5f;
    vector factor = half - (vector){0}, term = half - (vector){0}, sum = {0};
    double best = 1e9;
    for (int i = 0; i < BURSTS; i++) {
        double start = seconds();
        sum += burst(factor, term);
        double elapsed = seconds() - start;
        if (elapsed < best)
            best = elapsed;
    }
    volatile float sink = sum[0];
    (void)sink;
    printf("%.1f\n", 2e-9 * CHAINS * STEPS * (VECTOR_BYTES / sizeof(float)) / best);
    return 0;
}
