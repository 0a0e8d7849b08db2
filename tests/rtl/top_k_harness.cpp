// Plain C interface around a verilated engine that takes jobs, words of values, and gives words of results;
// tests/rtl/top_k_bench.py is the other side.
#include <cstring>
#include <memory>

#include "Vtop.h"
#include "verilated.h"
#if VM_TRACE_SAIF
#include "verilated_saif_c.h"
#endif

namespace {

// Random numbers for stalls (xorshift).
struct Stalls {
    uint32_t state;
    uint32_t percent;
    bool operator()() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        return state % 100 < percent;
    }
};

}  // namespace

// Runs jobs one after the other. Of each: `payloads` holds its job word, `counts` its words of input. `input` and
// `output` are words as they lie in the ports, one after the other; `last_bit` is where a word of output says that it
// is the last of its job; `trace` is a file for switching activity, where that is built in. `times` receives per job the cycles of its transfer, of its last word in and out. Returns
// the words of output, or -1 if a job takes more than `limit` cycles or there is no room left.
extern "C" __attribute__((visibility("default"))) int64_t run(const uint32_t* payloads, const uint32_t* counts,
                                                             uint64_t jobs, const uint8_t* input, uint8_t* output,
                                                             uint64_t room, unsigned last_bit, uint64_t* times,
                                                             uint64_t limit, uint32_t percent, const char* trace) {
    VerilatedContext context;
    context.randReset(2);
    context.randSeed(1);
    context.traceEverOn(VM_TRACE != 0);
    auto top = std::make_unique<Vtop>(&context, "top");
#if VM_TRACE_SAIF
    VerilatedSaifC file;
    top->trace(&file, 99);
    file.open(trace);
    auto sample = [&](uint64_t time) { file.dump(time); };
#else
    auto sample = [&](uint64_t) { static_cast<void>(trace); };
#endif
    Stalls stalls{12345, percent};
    uint64_t cycle = 0, given = 0;
    auto tick = [&] {
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
        ++cycle;
    };
    top->rst = 1;
    top->job___05Fvalid = top->i___05Fvalid = top->o___05Fready = 0;
    tick();
    tick();
    top->rst = 0;
    for (uint64_t job = 0; job < jobs; ++job, times += 3) {
        const uint64_t begun = cycle;
        bool taken = false, done = false;
        uint32_t left = counts[job];
        std::memcpy(&top->job___05Fpayload, payloads + job, sizeof(top->job___05Fpayload));
        bool offered = false;
        while (!done) {
            if (cycle - begun > limit) return -1;
            top->job___05Fvalid = !taken;
            offered = taken && left && (offered || !stalls());  // a word that was offered stays
            top->i___05Fvalid = offered;
            if (offered) std::memcpy(&top->i___05Fpayload, input, sizeof(top->i___05Fpayload));
            top->o___05Fready = !stalls();
            top->clk = 0;
            top->eval();
            if (top->job___05Fvalid && top->job___05Fready) {
                taken = true;
                times[0] = cycle;
            }
            if (top->i___05Fvalid && top->i___05Fready) {
                input += sizeof(top->i___05Fpayload);
                offered = false;
                if (!--left) times[1] = cycle;
            }
            if (top->o___05Fvalid && top->o___05Fready) {
                if (given == room) return -1;
                uint8_t* word = output + given++ * sizeof(top->o___05Fpayload);
                std::memcpy(word, &top->o___05Fpayload, sizeof(top->o___05Fpayload));
                done = word[last_bit / 8] >> last_bit % 8 & 1;
                if (done) times[2] = cycle;
            }
            sample(cycle);  // settled: glitches do not count
            top->clk = 1;
            top->eval();
            ++cycle;
        }
    }
#if VM_TRACE_SAIF
    file.close();
#endif
    top->final();
    return static_cast<int64_t>(given);
}
