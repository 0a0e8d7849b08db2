"""Area and clock frequency of a configuration, by Yosys and nextpnr: ``python -m rtl.synth``."""
