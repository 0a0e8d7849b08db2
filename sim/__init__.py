"""Golden model, Verilator build, fast runner, DRAM model, cocotb runner."""
