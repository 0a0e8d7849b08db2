"""Decoders on the RTL, token by token and several at a time: caches, positions, keys by halves."""

import numpy as np
import pytest

from dataflows.attention import Append, Attention
from mapper.caches import halved
from mapper.compile import compile_network
from mapper.conv_plan import Options
from mapper.leave_out import leave_out
from sim.runner import Dram
from tests.attention_networks import random_input
from tests.decoder_networks import decoder_network, random_decoder, with_tokens
from tests.system.attention_regression import configuration
from tests.system.regression import Outcome, dram, failures, measure, surprises, table

MEMORY = Dram(latency=60, bytes_per_cycle=8)
MOST_RUNS = 3


def _outcome(number: int, case: int, tokens: int, memory: Dram = MEMORY) -> Outcome:
    """Some runs of a random decoder, one behind the other."""
    cfg, whole = configuration(number), random_decoder(case)
    most = next(whole.tensors[layer.output].shape[2] for layer in whole.layers if isinstance(layer, Append))
    tokens = 1 if halved(whole) else min(tokens, most)
    network = with_tokens(whole, tokens)
    runs = min(most // tokens, MOST_RUNS)
    inputs = np.concatenate([random_input(network, 100 * case + run) for run in range(runs)])
    program = compile_network(cfg, network, Options(memory.latency, memory.bytes_per_cycle))
    return measure(number, case, program, inputs, memory)


@pytest.mark.parametrize("number", [0, 1])
def test_random_decoders(number: int) -> None:
    outcomes = [_outcome(number, case, tokens) for case in range(6) for tokens in (1, 4)]
    print("\n" + table(outcomes))
    assert not any(o.failure for o in outcomes), failures(outcomes)
    assert not surprises(outcomes), "cycles differ from the prediction:\n" + table(surprises(outcomes))


def _cascade(number: int, case: int, memory: Dram = MEMORY) -> Outcome:
    """Runs of a decoder whose layers attend to fewer and fewer keys, with whole keys or by halves."""
    rng = np.random.default_rng([number, case, 71])
    cfg, heads, most = configuration(number), int(rng.integers(1, 4)), int(rng.integers(4, 22))
    hidden = heads * 2 * int(rng.integers(1, 8))
    whole = with_tokens(
        decoder_network(3, hidden, heads, most, 16, seed=case, threshold=float(rng.choice([0, 0.2, 0.5]))), 1
    )
    names = [layer.name for layer in whole.layers if isinstance(layer, Attention)]
    network = leave_out(whole, dict(zip(names, sorted(rng.uniform(0.1, 1, 3).tolist())[::-1], strict=True)))
    inputs = np.concatenate([random_input(network, 100 * case + run) for run in range(min(most, 5))])
    program = compile_network(cfg, network, Options(memory.latency, memory.bytes_per_cycle))
    return measure(number, case, program, inputs, memory)


@pytest.mark.parametrize("number", [1, 3])
def test_keys_by_lists(number: int) -> None:
    outcomes = [_cascade(number, case) for case in range(6)]
    print("\n" + table(outcomes))
    assert not any(o.failure for o in outcomes), failures(outcomes)


@pytest.mark.regress
@pytest.mark.parametrize("number", [0, 1, 3, 6])
def test_memories_that_stall(number: int) -> None:
    outcomes = []
    for case in range(6, 26):
        rng = np.random.default_rng([number, case, 61])
        outcomes.append(_outcome(number, case, int(rng.choice([1, 1, 3])), dram(configuration(number), rng)))
    print("\n" + table(outcomes))
    assert not any(o.failure for o in outcomes), failures(outcomes)
    assert not surprises(outcomes), "cycles differ from the prediction:\n" + table(surprises(outcomes))


@pytest.mark.regress
@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_gpt2_layer(threshold: float) -> None:
    """A decoder layer of published size with a thousand keys."""
    network = with_tokens(decoder_network(1, 768, 12, 1024, 3072, threshold=threshold), 1)
    program = compile_network(configuration(0), network, Options(100, 16))
    inputs = np.concatenate([random_input(network, run) for run in range(2)])
    outcome = measure(0, 0, program, inputs, Dram(latency=100, bytes_per_cycle=16))
    print("\n" + table([outcome]))
    assert not outcome.failure, outcome.failure
    assert not surprises([outcome]), table([outcome])
