"""Hardware: Amaranth components, and their Verilog."""
