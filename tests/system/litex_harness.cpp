// A LiteX system whose only host is a port of its own; tests/system/test_litex.py is the other side.
#include <memory>

#include "Vtop.h"
#include "verilated.h"

#define API extern "C" __attribute__((visibility("default")))

namespace {

constexpr unsigned kTimeout = 10000;  // cycles until an access counts as lost

struct System {
    VerilatedContext context;
    std::unique_ptr<Vtop> top;

    System() {
        context.randReset(2);
        context.randSeed(1);
        top = std::make_unique<Vtop>(&context, "top");
        top->clk = 0;
        top->host_awvalid = top->host_wvalid = top->host_bready = top->host_arvalid = top->host_rready = 0;
        top->rst = 1;
        for (unsigned i = 0; i < 8; i++) edge();
        top->rst = 0;
    }
    ~System() { top->final(); }

    void settle() {
        top->clk = 0;
        top->eval();
    }
    void edge() {
        settle();
        top->clk = 1;
        top->eval();
    }
};

System& self(void* handle) { return *static_cast<System*>(handle); }

}  // namespace

API void* system_create() { return new System(); }
API void system_destroy(void* handle) { delete static_cast<System*>(handle); }

// Runs until the interrupt (1) or the limit (0).
API int system_run(void* handle, uint64_t cycles) {
    for (; cycles; cycles--) {
        self(handle).edge();
        if (self(handle).top->irq) return 1;
    }
    return 0;
}

// Writes a word; returns the response, or -1 when none came.
API int system_write(void* handle, uint32_t address, uint32_t value) {
    Vtop& t = *self(handle).top;
    t.host_awaddr = address;
    t.host_wdata = value;
    t.host_wstrb = 15;
    t.host_awvalid = t.host_wvalid = t.host_bready = 1;
    int response = -1;
    for (unsigned n = 0; n < kTimeout && response < 0; n++) {
        self(handle).settle();
        const bool aw = t.host_awvalid && t.host_awready, w = t.host_wvalid && t.host_wready;
        if (t.host_bvalid) response = t.host_bresp;
        self(handle).edge();
        if (aw) t.host_awvalid = 0;
        if (w) t.host_wvalid = 0;
    }
    t.host_awvalid = t.host_wvalid = t.host_bready = 0;
    return response;
}

// Reads a word; returns the response, or -1 when none came.
API int system_read(void* handle, uint32_t address, uint32_t* value) {
    Vtop& t = *self(handle).top;
    t.host_araddr = address;
    t.host_arvalid = t.host_rready = 1;
    int response = -1;
    for (unsigned n = 0; n < kTimeout && response < 0; n++) {
        self(handle).settle();
        const bool ar = t.host_arvalid && t.host_arready;
        if (t.host_rvalid) {
            response = t.host_rresp;
            *value = t.host_rdata;
        }
        self(handle).edge();
        if (ar) t.host_arvalid = 0;
    }
    t.host_arvalid = t.host_rready = 0;
    return response;
}
