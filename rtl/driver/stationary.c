#include "stationary.h"

#define STATUS_BUSY 1u
#define STATUS_DONE 2u
#define STATUS_ERROR 4u
#define STATUS_RESETTING 8u
#define CONTROL_START 1u
#define CONTROL_RESET 2u
#define ADDRESS_LIMIT (UINT64_C(1) << 40)

/* Registers of a region's base follow each other: low, high, low of the next region. */
#define REG_BASE(region) (STATIONARY_REG_BASE_PROGRAM_LOW + 8u * (region))

uint32_t stationary_mmio_read(void *context, uint32_t address)
{
    return *(volatile uint32_t *)(void *)((volatile unsigned char *)context + address);
}

void stationary_mmio_write(void *context, uint32_t address, uint32_t value)
{
    *(volatile uint32_t *)(void *)((volatile unsigned char *)context + address) = value;
}

static uint32_t get(const struct stationary *device, uint32_t address)
{
    return device->bus->read(device->bus->context, address);
}

static void put(const struct stationary *device, uint32_t address, uint32_t value)
{
    device->bus->write(device->bus->context, address, value);
}

static void put64(const struct stationary *device, uint32_t low, uint64_t value)
{
    put(device, low, (uint32_t)value);
    put(device, low + 4u, (uint32_t)(value >> 32));
}

static void rest(const struct stationary *device)
{
    if (device->bus->pause) {
        device->bus->pause(device->bus->context);
    }
}

static void clean(const struct stationary *device, const void *data, uint64_t bytes)
{
    if (device->bus->clean && bytes) {
        device->bus->clean(device->bus->context, data, (size_t)bytes);
    }
}

static void invalidate(const struct stationary *device, void *data, uint64_t bytes)
{
    if (device->bus->invalidate && bytes) {
        device->bus->invalidate(device->bus->context, data, (size_t)bytes);
    }
}

static uint64_t pages(uint64_t bytes)
{
    return (bytes + STATIONARY_PAGE - 1u) / STATIONARY_PAGE * STATIONARY_PAGE;
}

enum stationary_result stationary_init(struct stationary *device, const struct stationary_bus *bus, uint64_t hash)
{
    uint64_t found;

    device->bus = bus;
    device->hash = hash;
    device->interrupt = 0;
    found = get(device, STATIONARY_REG_HASH_LOW) | (uint64_t)get(device, STATIONARY_REG_HASH_HIGH) << 32;
    if (found != hash) {
        return STATIONARY_WRONG_HARDWARE;
    }
    put(device, STATIONARY_REG_IRQ_ENABLE, 0);
    return stationary_reset(device);
}

enum stationary_result stationary_reset(struct stationary *device)
{
    uint32_t polls;

    put(device, STATIONARY_REG_CONTROL, CONTROL_RESET);
    for (polls = 0; polls < STATIONARY_POLLS; polls++) {
        if (!(get(device, STATIONARY_REG_STATUS) & (STATUS_BUSY | STATUS_RESETTING))) {
            return STATIONARY_OK;
        }
        rest(device);
    }
    return STATIONARY_TIMEOUT;
}

uint64_t stationary_size(const struct stationary_network *network)
{
    uint64_t bytes = pages((uint64_t)network->layers * STATIONARY_MARK_BYTES);
    uint32_t region;

    for (region = 0; region < STATIONARY_REGIONS; region++) {
        bytes += pages(network->bytes[region]);
    }
    return bytes;
}

static void copy(const struct stationary *device, const struct stationary_image *image, uint32_t region,
                 const unsigned char *from)
{
    const uint64_t bytes = image->network->bytes[region];
    unsigned char *to = image->memory.data + image->place[region];
    uint64_t i;

    if (from && from != to) {
        for (i = 0; i < bytes; i++) {
            to[i] = from[i];
        }
    }
    clean(device, to, bytes);
}

enum stationary_result stationary_load(const struct stationary *device, struct stationary_image *image,
                                       const struct stationary_network *network,
                                       const struct stationary_memory *memory)
{
    uint64_t position = 0;
    uint32_t region;

    if (network->hash != device->hash) {
        return STATIONARY_WRONG_PROGRAM;
    }
    if (memory->bytes < stationary_size(network)) {
        return STATIONARY_TOO_SMALL;
    }
    if (memory->address % STATIONARY_PAGE || memory->address > ADDRESS_LIMIT - stationary_size(network)) {
        return STATIONARY_MISALIGNED;
    }
    image->network = network;
    image->memory = *memory;
    for (region = 0; region < STATIONARY_REGIONS; region++) {
        image->place[region] = position;
        position += pages(network->bytes[region]);
    }
    image->marks = position;
    copy(device, image, STATIONARY_REGION_PROGRAM, network->program);
    copy(device, image, STATIONARY_REGION_CONSTANT, network->constants);
    return STATIONARY_OK;
}

unsigned char *stationary_data(const struct stationary_image *image, const struct stationary_tensor *tensor)
{
    return image->memory.data + image->place[tensor->region] + tensor->offset;
}

void stationary_interrupts(struct stationary *device, int on)
{
    device->interrupt = on ? 1u : 0u;
}

void stationary_position(const struct stationary *device, uint32_t tokens)
{
    put(device, STATIONARY_REG_POSITION, tokens);
}

enum stationary_result stationary_start(const struct stationary *device, const struct stationary_image *image)
{
    const struct stationary_network *network = image->network;
    const uint32_t status = get(device, STATIONARY_REG_STATUS);
    uint32_t i;

    if (status & STATUS_ERROR) {
        return STATIONARY_FAILED;
    }
    if (status & (STATUS_BUSY | STATUS_RESETTING)) {
        return STATIONARY_BUSY;
    }
    for (i = 0; i < network->inputs; i++) {
        clean(device, stationary_data(image, &network->input[i]), network->input[i].bytes);
    }
    for (i = 0; i < STATIONARY_REGIONS; i++) {
        put64(device, REG_BASE(i), image->memory.address + image->place[i]);
    }
    put64(device, STATIONARY_REG_MARK_LOW, image->memory.address + image->marks);
    put(device, STATIONARY_REG_PROGRAM_WORDS, network->program_words);
    put(device, STATIONARY_REG_IRQ_CLEAR, 1); /* done of the run before, and with it its interrupt */
    put(device, STATIONARY_REG_IRQ_ENABLE, device->interrupt);
    put(device, STATIONARY_REG_CONTROL, CONTROL_START);
    return STATIONARY_OK;
}

enum stationary_result stationary_poll(const struct stationary *device)
{
    const uint32_t status = get(device, STATIONARY_REG_STATUS);

    if (status & STATUS_ERROR) {
        return STATIONARY_FAILED;
    }
    return status & STATUS_DONE ? STATIONARY_OK : STATIONARY_RUNNING;
}

enum stationary_result stationary_interrupt(const struct stationary *device)
{
    put(device, STATIONARY_REG_IRQ_ENABLE, 0);
    return stationary_poll(device);
}

enum stationary_result stationary_wait(const struct stationary *device, const struct stationary_image *image,
                                       uint32_t polls)
{
    const struct stationary_network *network = image->network;
    enum stationary_result result = stationary_poll(device);
    uint32_t i;

    for (i = 1; result == STATIONARY_RUNNING; i++) {
        if (i == polls) {
            return STATIONARY_TIMEOUT;
        }
        rest(device);
        result = stationary_poll(device);
    }
    if (result == STATIONARY_OK) {
        for (i = 0; i < network->outputs; i++) {
            invalidate(device, stationary_data(image, &network->output[i]), network->output[i].bytes);
        }
        invalidate(device, image->memory.data + image->marks, (uint64_t)network->layers * STATIONARY_MARK_BYTES);
    }
    return result;
}

enum stationary_result stationary_run(const struct stationary *device, const struct stationary_image *image,
                                      uint32_t polls)
{
    const enum stationary_result result = stationary_start(device, image);

    return result == STATIONARY_OK ? stationary_wait(device, image, polls) : result;
}

struct stationary_failure stationary_error(const struct stationary *device)
{
    const uint32_t error = get(device, STATIONARY_REG_ERROR);
    struct stationary_failure failure;

    failure.code = error & 255u;
    failure.unit = error >> 8 & 255u;
    failure.info = get(device, STATIONARY_REG_ERROR_INFO);
    return failure;
}

const char *stationary_error_name(uint32_t code)
{
    switch (code) {
#define STATIONARY_CASE(name)     \
    case STATIONARY_ERROR_##name: \
        return #name;
        STATIONARY_ERRORS(STATIONARY_CASE)
#undef STATIONARY_CASE
    default:
        return "unknown";
    }
}

uint64_t stationary_cycles(const struct stationary *device)
{
    uint32_t high = get(device, STATIONARY_REG_CYCLES_HIGH), low, before;

    do { /* the low half may run over between the two */
        before = high;
        low = get(device, STATIONARY_REG_CYCLES_LOW);
        high = get(device, STATIONARY_REG_CYCLES_HIGH);
    } while (high != before);
    return (uint64_t)high << 32 | low;
}

uint32_t stationary_register(const struct stationary *device, uint32_t address)
{
    return get(device, address);
}

static uint64_t little_endian(const unsigned char *data)
{
    uint64_t value = 0;
    unsigned i;

    for (i = 0; i < 8u; i++) {
        value |= (uint64_t)data[i] << 8u * i;
    }
    return value;
}

uint64_t stationary_mark(const struct stationary_image *image, uint32_t index, uint32_t *tag)
{
    const unsigned char *record = image->memory.data + image->marks + (size_t)index * STATIONARY_MARK_BYTES;

    *tag = (uint32_t)little_endian(record + 8);
    return little_endian(record);
}
