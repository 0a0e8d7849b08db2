#include "board.h"

#include <stdio.h>
#include <stdlib.h>

#define PAUSE_CYCLES 200u /* simulated between two polls */
#define CANARY 0x5au

static void fail(const char *reason)
{
    fprintf(stderr, "board: %s\n", reason);
    exit(3);
}

static uint32_t board_read(void *context, uint32_t address)
{
    struct board *board = context;
    uint32_t value = 0;

    if (sim_read(board->model, address, &value) != 0) {
        fail("a register read had no OKAY response");
    }
    return value;
}

static void board_write(void *context, uint32_t address, uint32_t value)
{
    struct board *board = context;

    if (sim_write(board->model, address, value) != 0) {
        fail("a register write had no OKAY response");
    }
}

static void board_pause(void *context)
{
    struct board *board = context;

    board->pauses++;
    if (sim_run(board->model, PAUSE_CYCLES) == 2) {
        fail(sim_violation(board->model));
    }
}

static void board_clean(void *context, const void *data, size_t bytes)
{
    struct board *board = context;

    (void)data;
    board->cleaned += bytes;
}

static void board_invalidate(void *context, void *data, size_t bytes)
{
    struct board *board = context;

    (void)data;
    board->invalidated += bytes;
}

void board_open(struct board *board, uint64_t bytes, uint32_t seed)
{
    const uint64_t first = STATIONARY_PAGE, all = first + bytes + STATIONARY_PAGE;
    const struct model_dram quick = {100, 0, 1, 1, 0, 0, 0, 0, 0, 0, 256, 256};
    const struct stationary_bus bus = {0, board_read, board_write, board_pause, board_clean, board_invalidate};
    uint64_t i;

    board->model = sim_create(seed);
    board->dram = malloc((size_t)all);
    if (!board->model || !board->dram) {
        fail("no memory");
    }
    srand(seed);
    for (i = 0; i < all; i++) {
        board->dram[i] = i < first || i >= first + bytes ? CANARY : (unsigned char)(rand() >> 7);
    }
    board->behaviour = quick;
    board->behaviour.rate = sim_bus_bytes();
    board->bus = bus;
    board->bus.context = board;
    board->memory.data = board->dram + first;
    board->memory.address = first;
    board->memory.bytes = bytes;
    board->pauses = board->cleaned = board->invalidated = 0;
    board_configure(board);
    sim_memory(board->model, board->dram, all);
    sim_reset(board->model, 4);
}

void board_configure(struct board *board)
{
    sim_configure(board->model, &board->behaviour);
}

void board_close(struct board *board)
{
    const uint64_t end = board->memory.address + board->memory.bytes;
    uint64_t i;

    if (*sim_violation(board->model)) {
        fail(sim_violation(board->model));
    }
    for (i = 0; i < STATIONARY_PAGE; i++) {
        if (board->dram[i] != CANARY || board->dram[end + i] != CANARY) {
            fail("the accelerator wrote outside of its memory");
        }
    }
    sim_destroy(board->model);
    free(board->dram);
}
