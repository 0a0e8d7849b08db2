/* The Verilated accelerator and its DRAM for programs in C; sim/native/harness.cpp is the other side. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

/* Behaviour of the memory; sim/native/dram.hpp says what each value means and has the same layout. */
struct model_dram {
    uint64_t latency, rate, scale, seed;
    double read_stall, write_stall;
    uint64_t fail_read_begin, fail_read_end, fail_write_begin, fail_write_end;
    uint64_t max_read_burst, max_write_burst;
};

void *sim_create(uint32_t seed);
void sim_destroy(void *model);
unsigned sim_bus_bytes(void);
void sim_configure(void *model, const struct model_dram *dram);
void sim_memory(void *model, uint8_t *bytes, uint64_t size);
const char *sim_violation(void *model);
void sim_reset(void *model, uint64_t cycles);
int sim_run(void *model, uint64_t max_cycles);
int sim_write(void *model, uint32_t address, uint32_t value);
int sim_read(void *model, uint32_t address, uint32_t *value);

#endif
