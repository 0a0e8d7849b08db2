/* Every way into and out of the driver on the Verilated accelerator; ends with status 0 if all are as documented. */
#include <stdio.h>
#include <string.h>

#include ACCELERATOR_HEADER
#include NETWORK_HEADER
#include "board.h"

#define POLLS 10000u
#define EXPECT(found, wanted)                                                                            \
    do {                                                                                                 \
        const long long is = (long long)(found), should = (long long)(wanted);                           \
        if (is != should) {                                                                              \
            fprintf(stderr, "line %d: %s is %lld, not %s (%lld)\n", __LINE__, #found, is, #wanted, should); \
            return 1;                                                                                    \
        }                                                                                                \
    } while (0)

static unsigned char expected[1 << 16];

/* A good run: the same outputs every time. */
static int good(struct stationary *device, const struct stationary_image *image)
{
    const struct stationary_tensor *out = &NETWORK.output[0];
    uint32_t tag, i;
    uint64_t last = 0;

    memset(stationary_data(image, out), 0x3c, (size_t)out->bytes);
    EXPECT(stationary_run(device, image, POLLS), STATIONARY_OK);
    EXPECT(memcmp(stationary_data(image, out), expected, (size_t)out->bytes), 0);
    EXPECT(stationary_error(device).code, STATIONARY_ERROR_NONE);
    EXPECT(stationary_register(device, STATIONARY_REG_MARKS), NETWORK.layers);
    for (i = 0; i < NETWORK.layers; i++) {
        EXPECT(stationary_mark(image, i, &tag) > last, 1);
        last = stationary_mark(image, i, &tag);
        EXPECT(tag < 100, 1);
    }
    EXPECT(stationary_cycles(device) > last && stationary_cycles(device) < last + 1000, 1);
    EXPECT(stationary_register(device, STATIONARY_REG_WRITE_BEATS) > 0, 1);
    return 0;
}

static int refusals(struct board *board, struct stationary *device, struct stationary_image *image)
{
    struct stationary_network other = NETWORK;
    struct stationary_memory memory = board->memory;

    EXPECT(stationary_init(device, &board->bus, ACCELERATOR_HASH ^ 1u), STATIONARY_WRONG_HARDWARE);
    EXPECT(stationary_init(device, &board->bus, ACCELERATOR_HASH ^ UINT64_C(1) << 55), STATIONARY_WRONG_HARDWARE);
    EXPECT(stationary_init(device, &board->bus, ACCELERATOR_HASH), STATIONARY_OK);
    other.hash ^= 4;
    EXPECT(stationary_load(device, image, &other, &memory), STATIONARY_WRONG_PROGRAM);
    memory.bytes = stationary_size(&NETWORK) - 1;
    EXPECT(stationary_load(device, image, &NETWORK, &memory), STATIONARY_TOO_SMALL);
    memory = board->memory;
    memory.address += 64;
    EXPECT(stationary_load(device, image, &NETWORK, &memory), STATIONARY_MISALIGNED);
    memory.address = UINT64_C(1) << 40;
    EXPECT(stationary_load(device, image, &NETWORK, &memory), STATIONARY_MISALIGNED);
    return 0;
}

static int waiting(struct board *board, struct stationary *device, const struct stationary_image *image)
{
    board->pauses = board->invalidated = 0;
    EXPECT(stationary_start(device, image), STATIONARY_OK);
    EXPECT(stationary_start(device, image), STATIONARY_BUSY);
    EXPECT(stationary_poll(device), STATIONARY_RUNNING);
    EXPECT(stationary_wait(device, image, 3), STATIONARY_TIMEOUT);
    EXPECT(board->pauses, 2);
    EXPECT(board->invalidated, 0);
    EXPECT(stationary_wait(device, image, 0), STATIONARY_OK);
    EXPECT(board->invalidated >= NETWORK.output[0].bytes, 1);
    EXPECT(stationary_poll(device), STATIONARY_OK);
    EXPECT(stationary_start(device, image), STATIONARY_OK); /* a reset in the middle of a run */
    EXPECT(stationary_wait(device, image, 3), STATIONARY_TIMEOUT);
    EXPECT(stationary_reset(device), STATIONARY_OK);
    EXPECT(stationary_poll(device), STATIONARY_RUNNING); /* nothing is done */
    return good(device, image);
}

static int interrupts(struct board *board, struct stationary *device, const struct stationary_image *image)
{
    EXPECT(stationary_start(device, image), STATIONARY_OK);
    EXPECT(sim_run(board->model, 1000000), 0); /* not asked for */
    EXPECT(stationary_poll(device), STATIONARY_OK);
    stationary_interrupts(device, 1);
    EXPECT(stationary_start(device, image), STATIONARY_OK);
    EXPECT(sim_run(board->model, 1000000), 1);
    EXPECT(stationary_interrupt(device), STATIONARY_OK);
    EXPECT(sim_run(board->model, 100), 0); /* masked */
    EXPECT(stationary_wait(device, image, 1), STATIONARY_OK);
    EXPECT(stationary_start(device, image), STATIONARY_OK); /* and there again */
    EXPECT(sim_run(board->model, 1000000), 1);
    stationary_interrupts(device, 0);
    return good(device, image);
}

static int errors(struct board *board, struct stationary *device, const struct stationary_image *image)
{
    unsigned char *word = image->memory.data + image->place[STATIONARY_REGION_PROGRAM] + 8;
    unsigned char kept[8];

    memcpy(kept, word, 8);
    memset(word, 0, 8); /* opcode 0 */
    stationary_interrupts(device, 1);
    EXPECT(stationary_start(device, image), STATIONARY_OK);
    EXPECT(sim_run(board->model, 1000000), 1);
    stationary_interrupts(device, 0);
    EXPECT(stationary_interrupt(device), STATIONARY_FAILED);
    EXPECT(stationary_error(device).code, STATIONARY_ERROR_ILLEGAL_COMMAND);
    EXPECT(strcmp(stationary_error_name(stationary_error(device).code), "ILLEGAL_COMMAND"), 0);
    EXPECT(strcmp(stationary_error_name(200), "unknown"), 0);
    EXPECT(stationary_start(device, image), STATIONARY_FAILED);
    EXPECT(stationary_reset(device), STATIONARY_OK);
    memcpy(word, kept, 8);
    if (good(device, image)) {
        return 1;
    }
    word[-8] ^= 1; /* the hash of the program */
    EXPECT(stationary_run(device, image, POLLS), STATIONARY_FAILED);
    EXPECT(stationary_error(device).code, STATIONARY_ERROR_HASH_MISMATCH);
    word[-8] ^= 1;
    EXPECT(stationary_reset(device), STATIONARY_OK);
    board->behaviour.fail_read_begin = image->memory.address + image->place[STATIONARY_REGION_INPUT];
    board->behaviour.fail_read_end = board->behaviour.fail_read_begin + 64;
    board_configure(board);
    EXPECT(stationary_run(device, image, POLLS), STATIONARY_FAILED);
    EXPECT(stationary_error(device).code, STATIONARY_ERROR_READ_RESPONSE);
    EXPECT(stationary_error(device).info / 64, board->behaviour.fail_read_begin / 64);
    board->behaviour.fail_read_end = 0;
    board->behaviour.latency = 4000; /* the accelerator takes that for a deadlock */
    board_configure(board);
    EXPECT(stationary_reset(device), STATIONARY_OK);
    EXPECT(stationary_run(device, image, POLLS), STATIONARY_FAILED);
    EXPECT(stationary_error(device).code, STATIONARY_ERROR_TIMEOUT);
    EXPECT(stationary_init(device, &board->bus, ACCELERATOR_HASH), STATIONARY_OK); /* leaves the error state, too */
    board->behaviour.latency = 20;
    board_configure(board);
    return good(device, image);
}

int main(int count, char **words)
{
    static struct board board;
    struct stationary device;
    struct stationary_image image;
    FILE *inputs = count == 3 ? fopen(words[1], "rb") : 0, *outputs = count == 3 ? fopen(words[2], "rb") : 0;

    if (!inputs || !outputs) {
        return 2;
    }
    board_open(&board, stationary_size(&NETWORK), 5);
    if (refusals(&board, &device, &image)) {
        return 1;
    }
    EXPECT(stationary_load(&device, &image, &NETWORK, &board.memory), STATIONARY_OK);
    EXPECT(board.cleaned, NETWORK.bytes[STATIONARY_REGION_PROGRAM] + NETWORK.bytes[STATIONARY_REGION_CONSTANT]);
    EXPECT(fread(stationary_data(&image, NETWORK.input), 1, (size_t)NETWORK.input->bytes, inputs), NETWORK.input->bytes);
    EXPECT(fread(expected, 1, sizeof expected, outputs) >= NETWORK.output[0].bytes, 1);
    fclose(inputs);
    fclose(outputs);
    if (good(&device, &image) || waiting(&board, &device, &image) || interrupts(&board, &device, &image) ||
        errors(&board, &device, &image)) {
        return 1;
    }
    board_close(&board);
    return 0;
}
