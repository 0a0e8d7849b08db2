// Plain C interface around a verilated bench of multipliers; tests/rtl/multiplier_bench.py is the other side.
#include <cstring>
#include <memory>

#include "Vtop.h"
#include "verilated.h"

// Gives `cycles` words to one kind, whose registers start at random. `sums` are first those of the multiplier, then
// those of the PE, of each cycle, before its word is taken.
extern "C" __attribute__((visibility("default"))) void run(unsigned kind, const uint8_t* words, uint64_t* sums,
                                                          uint64_t cycles) {
    VerilatedContext context;
    context.randReset(2);
    context.randSeed(1);
    auto top = std::make_unique<Vtop>(&context, "top");
    top->clocks = 0;
    for (uint64_t cycle = 0; cycle < cycles; ++cycle) {
        std::memcpy(&top->word, words + cycle * sizeof(top->word), sizeof(top->word));
        top->clocks = 0;
        top->eval();
        std::memcpy(sums + cycle, &top->sums[4 * kind], 8);
        std::memcpy(sums + cycles + cycle, &top->sums[4 * kind + 2], 8);
        top->clocks = 1u << kind;
        top->eval();
    }
    top->final();
}
