"""What a design point is: configuration, dataflow descriptions, command encoding, quantized networks."""
