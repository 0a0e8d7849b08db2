"""Programs for fusion arrays take the cycles of Bit Fusion's rule where they go through kernels as it does."""

import pytest

from dataflows import config
from dataflows.network import Network, Window
from mapper.compile import compile_network
from mapper.conv_plan import Options
from tests.bench.bitfusion import NETWORKS, PUBLISHED, array_cycles, law, network
from tests.mixed_networks import Draw, Limits
from tests.rtl.compute_bench import make_config


@pytest.mark.parametrize("pair", [(8, 8), (8, 2), (4, 4), (4, 8), (2, 2)])
@pytest.mark.parametrize(("channels", "filters"), [(5, 8), (24, 9), (70, 20)])
def test_words_of_inputs_are_those_of_the_rule(channels, filters, pair):
    cfg = make_config(4, 8, "weight_stationary", acc_words=32, multiplier={"kind": "fusion"})
    draw = Draw(channels, Limits.of(cfg))
    x = draw.tensor("x", (1, 6, 7, channels), array=True, bits=pair[0])
    window = Window((3, 3), padding=(1, 1, 1, 1))
    y = draw.convolution("conv", x, filters, 1, window, array=False, weight_bits=pair[1])
    net = Network("rule", draw.tensors, tuple(draw.layers), ("x",), (y.name,))
    program = compile_network(cfg, net, Options(layout="taps"))
    assert array_cycles(program) == {"conv": law(cfg, net, net.layers[0])}
    own = compile_network(cfg, net, Options(layout={"another": "taps"}))
    assert array_cycles(own)["conv"] <= law(cfg, net, net.layers[0])


def test_rule_gives_the_published_cycles():
    cfg = config.load("configs/bitfusion.toml")
    for name, cycles in PUBLISHED.items():
        net = network(name)
        layers = [layer for layer in net.layers if layer.op == "conv"]
        assert len(layers) == len(NETWORKS[name][1])
        assert [law(cfg, net, layer) for layer in layers] == list(cycles)
