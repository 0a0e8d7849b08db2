// Plain C interface around one verilated accelerator and its DRAM; sim/model.py is the other side.
//
// A cycle is two evaluations: inputs and the falling clock edge, after which every output of the cycle is
// settled and sampled; then the rising edge. Nothing in a design may use the falling edge.
#include <memory>

#include "Vtop.h"
#include "dram.hpp"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
#endif

namespace {

constexpr unsigned kBytes = sizeof(std::declval<Vtop&>().m_axi_wdata);
constexpr unsigned kLiteTimeout = 10000;  // cycles until a register access counts as lost

struct Simulation {
    VerilatedContext context;
    std::unique_ptr<Vtop> top;
    Dram<kBytes> dram;
    AxiMaster master{};
    bool irq = false;
#if VM_TRACE_FST
    std::unique_ptr<VerilatedFstC> trace;
    uint64_t trace_begin = 0, trace_end = 0;
#endif

    explicit Simulation(uint32_t seed) {
        context.randReset(2);  // every register and memory starts with random bits
        context.randSeed(static_cast<int>(seed & 0x7fffffff));
        context.traceEverOn(VM_TRACE != 0);
        top = std::make_unique<Vtop>(&context, "top");
        Vtop& t = *top;
        t.clk = 0;
        t.rst = 1;
        t.s_axil_awvalid = t.s_axil_wvalid = t.s_axil_bready = t.s_axil_arvalid = t.s_axil_rready = 0;
        t.s_axil_awaddr = t.s_axil_araddr = t.s_axil_wdata = 0;
        t.s_axil_awprot = t.s_axil_arprot = t.s_axil_wstrb = 0;
        dram.reset();
    }

    ~Simulation() {
#if VM_TRACE_FST
        if (trace) trace->close();
#endif
        top->final();
    }

    // Adds the present values to the waveform: half 0 of a cycle is settled, half 1 is after its rising edge.
    void dump(uint64_t cycle, unsigned half) {
#if VM_TRACE_FST
        if (trace && cycle >= trace_begin && cycle < trace_end) trace->dump(2 * cycle + half);
#else
        (void)cycle, (void)half;
#endif
    }

    void drive() {
        Vtop& t = *top;
        const AxiSlave& s = dram.slave;
        t.m_axi_arready = s.arready;
        t.m_axi_awready = s.awready;
        t.m_axi_wready = s.wready;
        t.m_axi_rvalid = s.rvalid;
        t.m_axi_bvalid = s.bvalid;
        t.m_axi_rlast = s.rlast;
        t.m_axi_rresp = s.rresp;
        t.m_axi_bresp = s.bresp;
        if (s.rdata_changed) std::memcpy(&t.m_axi_rdata, s.rdata, kBytes);
    }

    void sample() {
        Vtop& t = *top;
        AxiMaster& m = master;
        m.arvalid = t.m_axi_arvalid;
        m.awvalid = t.m_axi_awvalid;
        m.wvalid = t.m_axi_wvalid;
        m.rready = t.m_axi_rready;
        m.bready = t.m_axi_bready;
        if (m.arvalid) {
            m.araddr = t.m_axi_araddr;
            m.arlen = t.m_axi_arlen;
            m.arsize = t.m_axi_arsize;
            m.arburst = t.m_axi_arburst;
        }
        if (m.awvalid) {
            m.awaddr = t.m_axi_awaddr;
            m.awlen = t.m_axi_awlen;
            m.awsize = t.m_axi_awsize;
            m.awburst = t.m_axi_awburst;
        }
        if (m.wvalid) {
            m.wlast = t.m_axi_wlast;
            m.wstrb = t.m_axi_wstrb;
            m.wdata = reinterpret_cast<const uint8_t*>(&t.m_axi_wdata);
        }
        irq = t.irq;
    }

    // First half of a cycle: afterwards all outputs of the cycle can be read.
    void settle() {
        dram.drive();
        drive();
        top->clk = 0;
        top->eval();
        dump(dram.counters.cycles, 0);
        sample();
    }

    // Second half: the rising edge.
    void edge() {
        const uint64_t cycle = dram.counters.cycles;
        dram.clock(master);  // before the edge: it still reads the design's outputs
        top->clk = 1;
        top->eval();
        dump(cycle, 1);
    }
};

Simulation& self(void* handle) { return *static_cast<Simulation*>(handle); }

}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API void* sim_create(uint32_t seed) { return new Simulation(seed); }
API void sim_destroy(void* handle) { delete static_cast<Simulation*>(handle); }
API unsigned sim_bus_bytes() { return kBytes; }
API void sim_configure(void* handle, const DramConfig* config) { self(handle).dram.configure(*config); }
API void sim_memory(void* handle, uint8_t* bytes, uint64_t size) { self(handle).dram.attach(bytes, size); }
API const DramCounters* sim_counters(void* handle) { return &self(handle).dram.counters; }
API const char* sim_violation(void* handle) { return self(handle).dram.violation().c_str(); }

// Holds rst for some cycles; the memory forgets what was in flight.
API void sim_reset(void* handle, uint64_t cycles) {
    Simulation& s = self(handle);
    s.top->rst = 1;
    for (; cycles; cycles--) {
        s.dram.reset();
        s.drive();
        s.top->clk = 0;
        s.top->eval();
        s.dump(s.dram.counters.cycles, 0);
        s.top->clk = 1;
        s.top->eval();
        s.dump(s.dram.counters.cycles, 1);
        s.dram.counters.cycles++;
    }
    s.top->rst = 0;
}

// Runs until the interrupt (1), a protocol violation (2) or the limit (0).
API int sim_run(void* handle, uint64_t max_cycles) {
    Simulation& s = self(handle);
    for (; max_cycles; max_cycles--) {
        s.settle();
        s.edge();
        if (!s.dram.violation().empty()) return 2;
        if (s.irq) return 1;
    }
    return 0;
}

// Writes a register over AXI4-Lite; returns the response, or -1 when none came.
API int sim_write(void* handle, uint32_t address, uint32_t value) {
    Simulation& s = self(handle);
    Vtop& t = *s.top;
    t.s_axil_awaddr = address;
    t.s_axil_wdata = value;
    t.s_axil_wstrb = 15;
    t.s_axil_awvalid = t.s_axil_wvalid = t.s_axil_bready = 1;
    int response = -1;
    for (unsigned n = 0; n < kLiteTimeout && response < 0; n++) {
        s.settle();
        const bool aw = t.s_axil_awvalid && t.s_axil_awready, w = t.s_axil_wvalid && t.s_axil_wready;
        if (t.s_axil_bvalid) response = t.s_axil_bresp;
        s.edge();
        if (aw) t.s_axil_awvalid = 0;
        if (w) t.s_axil_wvalid = 0;
    }
    t.s_axil_awvalid = t.s_axil_wvalid = t.s_axil_bready = 0;
    return response;
}

// Reads a register over AXI4-Lite; returns the response, or -1 when none came.
API int sim_read(void* handle, uint32_t address, uint32_t* value) {
    Simulation& s = self(handle);
    Vtop& t = *s.top;
    t.s_axil_araddr = address;
    t.s_axil_arvalid = t.s_axil_rready = 1;
    int response = -1;
    for (unsigned n = 0; n < kLiteTimeout && response < 0; n++) {
        s.settle();
        const bool ar = t.s_axil_arvalid && t.s_axil_arready;
        if (t.s_axil_rvalid) {
            response = t.s_axil_rresp;
            *value = t.s_axil_rdata;
        }
        s.edge();
        if (ar) t.s_axil_arvalid = 0;
    }
    t.s_axil_arvalid = t.s_axil_rready = 0;
    return response;
}

// Writes a waveform of the cycles begin..end (counted as in the counters); 0 when built without tracing.
API int sim_trace(void* handle, const char* path, uint64_t begin, uint64_t end) {
#if VM_TRACE_FST
    Simulation& s = self(handle);
    s.trace = std::make_unique<VerilatedFstC>();
    s.top->trace(s.trace.get(), 99);
    s.trace->open(path);
    s.trace_begin = begin;
    s.trace_end = end;
    return s.trace->isOpen();
#else
    (void)handle, (void)path, (void)begin, (void)end;
    return 0;
#endif
}

API void sim_trace_close(void* handle) {
#if VM_TRACE_FST
    Simulation& s = self(handle);
    if (s.trace) s.trace->close();
    s.trace.reset();
#else
    (void)handle;
#endif
}
