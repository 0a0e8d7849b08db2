/* A network on the accelerator by its driver: run INPUTS OUTPUTS [SEED]
 *
 * INPUTS holds the bytes of every input of a run, run after run; OUTPUTS gets those of every output. NETWORK is the
 * name of a variable, NETWORK_HEADER the header that declares it; ACCELERATOR_HEADER is <name>.h, ACCELERATOR_HASH the macro in it.
 */
#include <stdio.h>
#include <stdlib.h>

#include ACCELERATOR_HEADER
#include NETWORK_HEADER
#include "board.h"

#define POLLS 10000000u

static void check(const struct stationary *device, enum stationary_result result, const char *what)
{
    if (result == STATIONARY_FAILED) {
        const struct stationary_failure failure = stationary_error(device);

        fprintf(stderr, "%s: %s in unit %u, info 0x%08x\n", what, stationary_error_name(failure.code),
                (unsigned)failure.unit, (unsigned)failure.info);
    } else if (result != STATIONARY_OK) {
        fprintf(stderr, "%s: result %d\n", what, (int)result);
    }
    if (result != STATIONARY_OK) {
        exit(1);
    }
}

/* All inputs of one run; 0 at the end of the file. */
static int take(const struct stationary_image *image, FILE *file)
{
    const struct stationary_network *network = image->network;
    uint32_t i;

    for (i = 0; i < network->inputs; i++) {
        const size_t bytes = (size_t)network->input[i].bytes;

        if (fread(stationary_data(image, &network->input[i]), 1, bytes, file) != bytes) {
            return 0;
        }
    }
    return 1;
}

static void give(const struct stationary_image *image, FILE *file)
{
    const struct stationary_network *network = image->network;
    uint32_t i;

    for (i = 0; i < network->outputs; i++) {
        fwrite(stationary_data(image, &network->output[i]), 1, (size_t)network->output[i].bytes, file);
    }
}

int main(int count, char **words)
{
    struct board board;
    struct stationary device;
    struct stationary_image image;
    FILE *inputs = count > 2 ? fopen(words[1], "rb") : 0, *outputs = count > 2 ? fopen(words[2], "wb") : 0;
    unsigned long long cycles = 0, runs = 0;

    if (!inputs || !outputs) {
        fprintf(stderr, "usage: run INPUTS OUTPUTS [SEED]\n");
        return 2;
    }
    board_open(&board, stationary_size(&NETWORK), count > 3 ? (uint32_t)strtoul(words[3], 0, 10) : 1u);
    check(&device, stationary_init(&device, &board.bus, ACCELERATOR_HASH), "init");
    check(&device, stationary_load(&device, &image, &NETWORK, &board.memory), "load");
    while (take(&image, inputs)) {
        check(&device, stationary_run(&device, &image, POLLS), "run");
        give(&image, outputs);
        cycles += stationary_cycles(&device);
        runs++;
    }
    printf("runs %llu, cycles %llu, array busy %lu, read beats %lu\n", runs, cycles,
           (unsigned long)stationary_register(&device, STATIONARY_REG_INPUT_BUSY),
           (unsigned long)stationary_register(&device, STATIONARY_REG_READ_BEATS));
    board_close(&board);
    fclose(inputs);
    return fclose(outputs) ? 1 : 0;
}
