/* A board with the Verilated accelerator on it: memory, and the bus that the driver is given. */
#ifndef BOARD_H
#define BOARD_H

#include "model.h"
#include "stationary.h"

struct board {
    void *model;
    unsigned char *dram;             /* all of the memory */
    struct model_dram behaviour;
    struct stationary_bus bus;
    struct stationary_memory memory; /* what the driver may use of it */
    uint64_t pauses;                 /* calls of the bus's pause */
    uint64_t cleaned, invalidated;   /* bytes, of all calls */
};

/* A memory for `bytes` of the driver and a page before and behind; random contents. Ends the process when it fails. */
void board_open(struct board *board, uint64_t bytes, uint32_t seed);

/* Change the memory's behaviour. */
void board_configure(struct board *board);

/* Ends the process if the accelerator has broken a rule of its bus or written outside of the driver's memory. */
void board_close(struct board *board);

#endif
