/* Bare-metal driver of a stationary accelerator: C99, no library, no allocation, no global state.
 *
 * One driver serves every configuration, and several accelerators at once: what differs between them is the hash in
 * <name>.h. `python -m mapper` writes networks for it: <model>_network.h, .c and .S. docs/driver.md is the guide.
 */
#ifndef STATIONARY_H
#define STATIONARY_H

#include <stddef.h>
#include <stdint.h>

#include "stationary_registers.h" /* generated: host registers, regions, units, errors */

#ifdef __cplusplus
extern "C" {
#endif

#define STATIONARY_PAGE 4096u /* regions begin at multiples of this */
#define STATIONARY_POLLS 1000000u /* of STATUS until a soft reset counts as stuck */

/* What functions return; everything but OK and RUNNING is a failure. */
enum stationary_result {
    STATIONARY_OK = 0,
    STATIONARY_RUNNING,        /* not done yet */
    STATIONARY_WRONG_HARDWARE, /* the hash registers are those of another configuration, or nothing answers */
    STATIONARY_WRONG_PROGRAM,  /* the network was mapped for another configuration */
    STATIONARY_TOO_SMALL,      /* the memory is smaller than stationary_size() says */
    STATIONARY_MISALIGNED,     /* the memory does not begin at a multiple of STATIONARY_PAGE, or lies beyond 40 bits */
    STATIONARY_BUSY,           /* a program runs */
    STATIONARY_FAILED,         /* error state: stationary_error() has the reason, stationary_reset() leaves it */
    STATIONARY_TIMEOUT         /* the limit of polls was reached; the accelerator goes on */
};

/* How the processor reaches registers and memory. Members from `pause` on may be null. */
struct stationary_bus {
    void *context; /* handed to every function */
    uint32_t (*read)(void *context, uint32_t address);
    void (*write)(void *context, uint32_t address, uint32_t value);
    void (*pause)(void *context);                                          /* between two polls: sleep, yield */
    void (*clean)(void *context, const void *data, size_t bytes);          /* caches: before the accelerator reads */
    void (*invalidate)(void *context, void *data, size_t bytes);           /* caches: after it has written */
};

/* For registers in the address space of the processor: `context` is the address of the first one. */
uint32_t stationary_mmio_read(void *context, uint32_t address);
void stationary_mmio_write(void *context, uint32_t address, uint32_t value);

/* An accelerator. */
struct stationary {
    const struct stationary_bus *bus;
    uint64_t hash;
    uint32_t interrupt; /* 1: programs raise the interrupt */
};

/* A tensor in memory: (images, rows, columns, channels), channels innermost. Real value = scale * (element - zero). */
struct stationary_tensor {
    const char *name;
    uint32_t region;       /* STATIONARY_REGION_... */
    uint64_t offset;       /* in the region, bytes */
    uint64_t bytes;
    uint32_t shape[4];
    uint32_t bits;         /* of an element; below 8 they are packed, lowest bits first */
    uint32_t pitch;        /* bytes from pixel to pixel */
    float scale;
    int32_t zero;
    const uint32_t *order; /* null, or for each channel of the model the one that holds it */
};

/* What `python -m mapper` knows of a network. */
struct stationary_network {
    const char *name;
    uint64_t hash;            /* of the configuration */
    uint32_t program_words;
    uint32_t layers;          /* records in the mark table after a run */
    uint64_t bytes[STATIONARY_REGIONS];
    uint32_t inputs, outputs; /* lengths of what follows */
    const struct stationary_tensor *input, *output;
    const unsigned char *program, *constants; /* null where they are not linked: then they lie in memory already */
};

/* Memory that processor and accelerator share: `bytes` from `data` on, which the accelerator sees at `address`. */
struct stationary_memory {
    unsigned char *data;
    uint64_t address;
    uint64_t bytes;
};

/* A network in memory. Several can lie there at once, each in memory of its own. */
struct stationary_image {
    const struct stationary_network *network;
    struct stationary_memory memory;
    uint64_t place[STATIONARY_REGIONS]; /* offsets of the regions in memory */
    uint64_t marks;                     /* offset of the mark table */
};

/* Why the accelerator stopped. */
struct stationary_failure {
    uint32_t code; /* STATIONARY_ERROR_... */
    uint32_t unit; /* STATIONARY_UNIT_..., where the code has one */
    uint32_t info; /* command word or address that caused it; of a timeout: semaphores [15:0], units [31:16] waited for */
};

/* Identify the accelerator (`hash` is <NAME>_HASH of <name>.h) and bring it to rest by a soft reset. */
enum stationary_result stationary_init(struct stationary *device, const struct stationary_bus *bus, uint64_t hash);

/* Leave any state, the error state too: the bus is drained first. TIMEOUT after STATIONARY_POLLS polls. */
enum stationary_result stationary_reset(struct stationary *device);

/* Bytes of memory that a network takes. */
uint64_t stationary_size(const struct stationary_network *network);

/* Place a network: copies program and constants where they are linked. Inputs are written by the caller, with
 * stationary_data(), before each run. */
enum stationary_result stationary_load(const struct stationary *device, struct stationary_image *image,
                                       const struct stationary_network *network,
                                       const struct stationary_memory *memory);

/* Where a tensor lies, for the processor. */
unsigned char *stationary_data(const struct stationary_image *image, const struct stationary_tensor *tensor);

/* Raise the interrupt at the end of programs that are started from now on, or not. */
void stationary_interrupts(struct stationary *device, int on);

/* Tokens before those of the next run, for networks that generate (0 after power-up). */
void stationary_position(const struct stationary *device, uint32_t tokens);

/* Start a program; BUSY or FAILED where none can be started. */
enum stationary_result stationary_start(const struct stationary *device, const struct stationary_image *image);

/* RUNNING, OK (once done, until the next start) or FAILED. */
enum stationary_result stationary_poll(const struct stationary *device);

/* For the interrupt's handler: the same, and the interrupt is masked until the next start. */
enum stationary_result stationary_interrupt(const struct stationary *device);

/* Poll until the end, at most `polls` times (0: without limit); at OK the outputs can be read. After an interrupt
 * one call makes the outputs visible. */
enum stationary_result stationary_wait(const struct stationary *device, const struct stationary_image *image,
                                       uint32_t polls);

/* Start and wait. */
enum stationary_result stationary_run(const struct stationary *device, const struct stationary_image *image,
                                      uint32_t polls);

/* Reason of the error state; its code is STATIONARY_ERROR_NONE in any other state. */
struct stationary_failure stationary_error(const struct stationary *device);

/* "HASH_MISMATCH" and so on. */
const char *stationary_error_name(uint32_t code);

/* Cycles since start; stands still at the end. */
uint64_t stationary_cycles(const struct stationary *device);

/* A counter or any other register, by its address STATIONARY_REG_... */
uint32_t stationary_register(const struct stationary *device, uint32_t address);

/* When the layer `index` of the schedule ended: its cycle, and its number in `*tag`. */
uint64_t stationary_mark(const struct stationary_image *image, uint32_t index, uint32_t *tag);

#ifdef __cplusplus
}
#endif

#endif
