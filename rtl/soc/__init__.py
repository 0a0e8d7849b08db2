"""The accelerator in a LiteX system; needs the extra ``litex``."""
