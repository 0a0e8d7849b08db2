"""From a trained model to a program: import, quantization, scheduling, timing, reports, command line."""
