"""A functional model of the accelerator: executes a program's words one job after the other, in NumPy.

It knows the command encoding and the words each dataflow exchanges (``docs/architecture.md``), not the RTL.
So it separates a wrong program from wrong hardware, and checks that a program is legal in order.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from dataflows import isa
from dataflows.config import Config
from dataflows.vocabulary import Dim, Kind
from sim.golden.run_length import decode, encode
from tests.narrow_model import elements, field, narrow_sums, stored
from tests.plane_model import plane_sums
from tests.row_model import row_sums, row_zeros
from tests.rows_model import RowsModel, halves_loaded, halves_stored
from tests.sparse_model import walk


def nest(base: int, levels: list[dict[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Addresses of a nest in order, and the index of every level (levels, addresses)."""
    counts = [lv["count"] for lv in levels]
    total = int(np.prod(counts))
    index = np.array(np.unravel_index(np.arange(total), counts[::-1]))[::-1] if total else np.zeros((len(counts), 0))
    strides, gone = [], 0
    for lv in levels:
        stride = lv["step"] + gone if lv["count"] > 1 else 0
        strides.append(stride)
        gone += (lv["count"] - 1) * stride
    return base + (np.array(strides)[:, None] * index).sum(axis=0), index


def rhe(value: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """Round value / 2**shift half to even; on Python integers where 64 bits are too few."""
    value, shift = np.broadcast_arrays(value, shift)
    if value.size and max(value.max(), -value.min()) >= 1 << 62:
        out = [round_half_even(int(v), int(s)) for v, s in zip(value.ravel(), shift.ravel(), strict=True)]
        return np.array(out, dtype=object).reshape(value.shape)
    value, shift = value.astype(np.int64), shift.astype(np.int64)
    floor, half = value >> shift, np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    rest = value - (floor << shift)
    return floor + ((rest > half) | ((rest == half) & (shift > 0) & (floor & 1 == 1)))


def number(raw: np.ndarray) -> np.ndarray:
    """Unsigned numbers of the bytes along the last axis, the lowest one first."""
    return (raw.astype(np.int64) << 8 * np.arange(raw.shape[-1])).sum(axis=-1)


def round_half_even(value: int, shift: int) -> int:
    """Round value / 2**shift half to even."""
    floor, rest = value >> shift, value & ((1 << shift) - 1)
    half = (1 << shift) >> 1
    return floor + (rest > half or (rest == half and shift > 0 and floor & 1 == 1))


class Machine:
    """State of the accelerator and its DRAM; ``bases`` maps regions to DRAM addresses, ``position`` is the register."""

    def __init__(self, cfg: Config, dram: np.ndarray, bases: dict[isa.Region, int], position: int = 0):
        self.position = position
        self.cfg, self.dram, self.bases = cfg, dram, bases
        m = cfg.memory
        rng = self.rng = np.random.default_rng(7)
        self.memory = {
            isa.Target.INPUT: rng.integers(0, 256, m.input_bytes, np.uint8),
            isa.Target.WEIGHT: rng.integers(0, 256, m.weight_bytes, np.uint8),
            isa.Target.OPERAND: rng.integers(0, 256, m.operand_bytes, np.uint8),
            isa.Target.PARAM: rng.integers(0, 256, m.param_bytes, np.uint8),
        }
        if cfg.vector:
            self.memory[isa.Target.PARAM] = rng.integers(0, 256, 3 * cfg.window_weights_address, np.uint8)
        if cfg.sparse:
            sizes = {
                isa.Target.ENTRIES: cfg.sparse.pes * cfg.sparse_weight_pitch,
                isa.Target.POINTERS: cfg.sparse.pes * cfg.sparse_pointer_pitch,
                isa.Target.CODEBOOK: cfg.sparse.codebooks * cfg.codebook_pitch,
            }
            self.memory |= {target: rng.integers(0, 256, size, np.uint8) for target, size in sizes.items()}
            self.sums = np.zeros((cfg.sparse.accumulators, cfg.sparse.pes), np.int64)
        if cfg.attention:
            self.engine = RowsModel(cfg, rng, position)
            self.memory |= self.engine.memory
        self.rows = rng.integers(-128, 128, (2, 1, 1, cfg.lanes))  # the window's last two rows
        self.acc = rng.integers(-(2**31), 2**31, (2 * cfg.acc_bank_words, cfg.lanes))
        self.sizes: dict[int, int] = {}  # words of compressed blocks by entry of the size table
        self.element = np.dtype(f"int{cfg.numbers.act_bits}")
        self.semaphores = [0] * cfg.control.semaphores
        self.out: deque[int] = deque()
        self.pending: dict[isa.Unit, dict] = {}
        self.marks: list[int] = []
        self.gated = 0  # multiplications left out because their input is zero
        self.engines = {
            isa.Unit.LOAD: self.load,
            isa.Unit.INPUT: self.input,
            isa.Unit.WEIGHT: self.weight,
            isa.Unit.ACC: self.acc_job,
            isa.Unit.VECTOR: self.vector,
            isa.Unit.STORE: self.store,
            isa.Unit.SPARSE: self.sparse,
            isa.Unit.ROWS: lambda job: self.engine.job(job),
        }

    def run(self, words: np.ndarray) -> None:
        """Execute a program; raises if it would wait for ever in program order."""
        tables = isa.units(self.cfg)
        shadow = {u: {r.name: {f.name: 0 for f in r.fields} for r in tables[u]} for u in tables}
        for word in (int(w) for w in words):
            op, unit, selector = word >> 60, word >> 56 & 15, word >> 48 & 255
            if op == isa.Op.SET:
                register = tables[isa.Unit(unit)][selector]
                position, values = 0, {}
                for f in register.fields:
                    value = word >> position & (1 << f.bits) - 1
                    values[f.name] = value - (1 << f.bits) if f.signed and value >> f.bits - 1 else value
                    position += f.bits
                shadow[isa.Unit(unit)][register.name] = values
            elif op == isa.Op.WAIT:
                self.take(selector, word & 0xFFFF)
            elif op == isa.Op.START:
                for s in range(16):
                    if word >> s & 1:
                        self.take(s, 1)
                job = {name: dict(fields) for name, fields in shadow[isa.Unit(unit)].items()}
                if self.executed(isa.Unit(unit), word):
                    self.engines[isa.Unit(unit)](job)
                if word >> 48 & 1:
                    self.marks.append(word >> 32 & 0xFFFF)
                for s in (s for s in range(16) if word >> 16 + s & 1):
                    self.semaphores[s] += 1
                    assert self.semaphores[s] < 1 << isa.SEMAPHORE_BITS, f"semaphore {s} overflows"

    def executed(self, unit: isa.Unit, start: int) -> bool:
        """Whether a START leads to a job: always, or as the unit's oldest decision says."""
        predicated, last = start >> 49 & 1, start >> 50 & 1
        return not predicated or self.engine.decision(unit, used_up=bool(last))

    def finished(self) -> None:
        """No word may be left on its way to STORE."""
        assert not self.out, "bytes left in the stream to STORE"
        if self.cfg.attention:
            self.engine.finished()

    def take(self, semaphore: int, count: int) -> None:
        """Take tokens that must be there."""
        assert self.semaphores[semaphore] >= count, f"semaphore {semaphore} would wait for ever"
        self.semaphores[semaphore] -= count

    def _wrap(self, value: np.ndarray) -> np.ndarray:
        """What an accumulator holds."""
        half = 1 << self.cfg.numbers.acc_bits - 1
        return (value + half) % (2 * half) - half

    def load(self, job: dict) -> None:
        """LOAD: rows of DRAM or fill bytes to segments."""
        rows = [job[n] for n in ("row_a", "row_b", "row_c")]
        segments = [job[n] for n in ("segment_a", "segment_b", "segment_c")]
        if "gather" in job and (length := self.engine.length(job)) is not None:
            segments[2] = {**segments[2], "count": min(segments[2]["count"], length)}
        starts, _ = nest(job["destination"]["address"], segments)
        size = job["segment"]["bytes"]
        where = (starts[:, None] + np.arange(size)).ravel()
        if job["destination"]["fill"]:
            value = {**job["destination"], **job["segment"]}["fill_value"]
            data = np.resize(np.frombuffer(value.to_bytes(self.cfg.act_bytes, "little"), np.uint8), where.size)
        else:
            base = self.bases[isa.Region(job["source"]["region"])] + job["source"]["address"]
            listed = "gather" in job and job["gather"]["indexed"]
            sources = self.engine.starts(base, job) if listed else nest(base, rows)[0]
            if "codec" in job and job["codec"]["coded"]:
                data = self.unpacked(job, sources)
            else:
                data = self.dram[(sources[:, None] + np.arange(job["row"]["bytes"])).ravel()]
            if "gather" in job:
                data = halves_loaded(data, job["gather"]["nibbles"])
        assert data.size == where.size, "row bytes and segment bytes differ"
        target = self.memory[isa.Target(job["destination"]["target"])]
        assert where.min() >= 0 and where.max() < target.size, "load outside the memory"
        if job["destination"]["target"] == isa.Target.WEIGHT and not self.cfg.attention:
            granule = min(self.cfg.weight_granule, self.cfg.bus_bytes)
            assert not any(v % granule for v in (size, *starts, job["source"]["address"])), "weights out of line"
        if job["destination"]["target"] == isa.Target.INDEX:
            assert not any(v % 2 for v in (size, *starts)), "no whole indices"
        elif job["destination"]["target"] >= isa.Target.ENTRIES:
            assert not any(v % self.cfg.bus_bytes for v in (size, *starts)), "no whole beats"
        target[where] = data

    def weight(self, job: dict) -> None:
        """WEIGHT: kept until the INPUT job that pairs with it."""
        self.pending[isa.Unit.WEIGHT] = job

    def acc_job(self, job: dict) -> None:
        """ACC: kept until the INPUT or SPARSE job that pairs with it."""
        assert isa.Unit.ACC not in self.pending, "an ACC job without words"
        self.pending[isa.Unit.ACC] = job

    def _addresses(self, unit: isa.Unit, job: dict) -> np.ndarray:
        """Byte addresses of the words of an INPUT or WEIGHT job."""
        names = (self.cfg.dataflow.input_nest if unit is isa.Unit.INPUT else self.cfg.dataflow.weight_nest).levels
        addresses, _ = nest(job["base"]["address"], [job[n] for n in names])
        granule = self.cfg.input_granule if unit is isa.Unit.INPUT else self.cfg.weight_granule
        assert not (addresses % granule).any(), f"{unit.name} words out of line"
        return addresses & (1 << isa.STEP_BITS) - 1

    def _words(self, unit: isa.Unit, job: dict, width: int) -> np.ndarray:
        return self._elements(self.memory[isa.Target[unit.name]], self._addresses(unit, job), width)

    def _bytes(self, target: isa.Target, addresses: np.ndarray, count: int) -> np.ndarray:
        """``count`` bytes from each byte address on; the memory wraps around."""
        memory = self.memory[target]
        return memory[(addresses[:, None] + np.arange(count)) % memory.size]

    def _elements(self, memory: np.ndarray, addresses: np.ndarray, count: int) -> np.ndarray:
        """``count`` signed elements from each byte address on; the memory wraps around."""
        size = self.cfg.act_bytes
        places = (addresses[:, None] + np.arange(count * size)) % memory.size
        return memory[places].view(f"<i{size}").astype(np.int64)

    def input(self, job: dict) -> None:
        """INPUT: the last of the three jobs of an array run."""
        cfg, rows, cols = self.cfg, self.cfg.array.rows, self.cfg.array.cols
        if cfg.multiplier:
            self.narrow_input(job)
            return
        x = self._words(isa.Unit.INPUT, job, cfg.input_elements)
        if "mode" in job and job["mode"]["sparse"]:
            assert isa.Unit.INPUT not in self.pending, "an INPUT job whose words nobody takes"
            self.pending[isa.Unit.INPUT] = x
            return
        weight_job, acc_job = self.pending.pop(isa.Unit.WEIGHT), self.pending.pop(isa.Unit.ACC)
        w = self._words(isa.Unit.WEIGHT, weight_job, cfg.weight_elements)
        inner = [job[n]["count"] for n in cfg.dataflow.input_nest.levels[:3]]
        pixels = int(np.prod(inner))
        if cfg.dataflow.input.kind is Kind.BUS:
            sums = row_sums(cfg, job, x[:, 0], w)
            self.gated += row_zeros(job, x[:, 0]) if cfg.array.zero_gating else 0
        elif cfg.dataflow.weight.kind is Kind.PRIVATE:
            sums = np.einsum("mk,mkn->mn", x, w.reshape(len(x), rows, cols))
        elif cfg.dataflow.input.kind is Kind.NEIGHBOUR:
            sums = plane_sums(cfg, job, x, w[:, 0])
        elif cfg.dataflow.temporal is Dim.PIXEL:
            tiles = w.reshape(-1, rows, cols)
            sums = np.einsum("tmk,tkn->tmn", x.reshape(len(tiles), pixels, rows), tiles).reshape(-1, cols)
        elif cfg.dataflow.temporal is Dim.REDUCTION:
            assert pixels == rows
            k = weight_job["word"]["count"]
            groups = weight_job["tile"]["count"] * weight_job["repeat"]["count"]
            chunks = x.reshape(groups, k // rows, rows, rows)  # group, chunk, pixel, reduction
            left = chunks.transpose(0, 2, 1, 3).reshape(groups, rows, k)
            sums = np.einsum("gmk,gkn->gmn", left, w.reshape(groups, k, cols))[:, ::-1].reshape(-1, cols)
        else:
            assert pixels == cols
            channels = weight_job["word"]["count"]
            tiles = w.reshape(-1, channels, rows)
            products = np.einsum("tpk,tnk->tpn", x.reshape(len(tiles), cols, rows), tiles)
            sums = products.reshape(len(tiles), cols, channels // cols, cols).transpose(0, 2, 1, 3).reshape(-1, cols)
        assert not acc_job["mode"].get("sparse"), "ACC expects words of the sparse engine"
        self._accumulate(acc_job, sums)

    def narrow_input(self, job: dict) -> None:
        """INPUT where operands have widths of their own."""
        weight_job, acc_job = self.pending.pop(isa.Unit.WEIGHT), self.pending.pop(isa.Unit.ACC)
        reduction = self.cfg.reduction(job["precision"]["a_bits"], job["precision"]["w_bits"])
        x = self._bytes(isa.Target.INPUT, self._addresses(isa.Unit.INPUT, job), reduction.input_bytes)
        w = self._bytes(isa.Target.WEIGHT, self._addresses(isa.Unit.WEIGHT, weight_job), reduction.step_bytes)
        self._accumulate(acc_job, narrow_sums(self.cfg, job, weight_job, x, w))

    def _accumulate(self, acc_job: dict, sums: np.ndarray) -> None:
        """Words of sums into the accumulators."""
        addresses, index = nest(acc_job["base"]["address"], [acc_job[n] for n in ("word", "block", "pass", "group")])
        assert len(addresses) == len(sums), f"there are {len(sums)} words, ACC expects {len(addresses)}"
        for address, first, word in zip(addresses, index[2] == 0, sums, strict=True):
            old = 0 if first and not acc_job["mode"]["keep"] else self.acc[address]
            self.acc[address] = self._wrap(old + word)

    def sparse(self, job: dict) -> None:
        """SPARSE: takes the words of the INPUT job before it; what it drains goes to the ACC job before it."""
        cfg = self.cfg
        x = self.pending.pop(isa.Unit.INPUT)
        assert len(x) == -(-job["columns"]["count"] // cfg.input_elements), "words and columns differ"
        walk(cfg, job, self.memory, x.ravel(), self.sums)
        words = job["mode"]["drain"]
        if words:
            acc_job = self.pending.pop(isa.Unit.ACC)
            assert acc_job["mode"]["sparse"], "ACC expects words of the array"
            self._accumulate(acc_job, self._wrap(self.sums.reshape(-1, cfg.lanes)[:words]))
            self.sums[...] = 0

    def vector(self, job: dict) -> None:
        """VECTOR: words into the stream to STORE."""
        cfg, mode, param = self.cfg, job["mode"], job["param"]
        lanes = cfg.lanes
        operand_names = ("tap_a", "tap_b", "block", "x", "y", "image")
        operand = None
        if mode["from_operand"] or mode["add"]:
            addresses, _ = nest(job["operand_base"]["address"], [job["operand_" + n] for n in operand_names])
            operand = self._operands(job, addresses, "source" if mode["from_operand"] else "addend")
        if mode["from_operand"]:
            taps = job["operand_tap_a"]["count"] * job["operand_tap_b"]["count"]
            words = operand.reshape(-1, taps, lanes)
            second = self._operands(job, addresses[1::2], "addend") if mode["add"] else None
            if mode["reduce"] == isa.Reduce.WINDOW:
                x = self.window(job, words[:, 0])
            elif mode["reduce"] == isa.Reduce.PRODUCT:
                s = {name: value for register in isa.SUM_REGISTERS for name, value in job.get(register, {}).items()}
                x = (words[:, 0] - s["zero_a"]) * (words[:, -1] - s["zero_b"])
            else:
                x = {0: words[:, 0], 1: words.sum(axis=1), 2: words.max(axis=1)}[mode["reduce"]]
        else:
            addresses, _ = nest(job["acc_base"]["address"], [job["acc_" + n] for n in ("block", "x", "y", "image")])
            x, second = self.acc[addresses % len(self.acc)], operand
            if cfg.dataflow.output_turned_late:
                x = self.turned(job, x)
        block = np.arange(len(x)) % param["blocks"]
        bias, multiplier, shift = self._factors(job, block)
        x = self._wrap(x + bias)
        if not len(x):
            return
        r = job["requantize"]
        whole = rhe(x.astype(object) * multiplier, shift)
        q = np.clip(whole + r["zero"], r["low"], r["high"])
        if mode["add"]:
            s = {name: value for register in isa.SUM_REGISTERS for name, value in job.get(register, {}).items()}
            total = (q - s["zero_a"]) * s["multiplier_a"] + (second - s["zero_b"]) * s["multiplier_b"]
            q = np.clip(rhe(total, s["shift"]) + s["zero"], s["low"], s["high"])
        if mode.get("table"):
            q = self.engine.looked_up(q, mode["slot"])
        if mode.get("rows"):
            assert not mode["keep"], "words go to one place"
            words = np.clip(whole, -(1 << 15), (1 << 15) - 1) if mode["wide"] else q
            self.engine.words.extend(words.tolist())
            return
        assert not mode.get("wide"), "words of 16 bits go to the row engine only"
        if mode["keep"]:
            self.keep(job, q, block == param["blocks"] - 1)
            return
        last = block == param["blocks"] - 1
        if job.get("importance", {}).get("observe"):
            counted = np.where(last, param["tail"], lanes)[:, None] > np.arange(lanes)
            self.engine.pruning.observe_head(job, q[counted].tolist())
        for word in self._results(job, q, last):
            self.out.extend(word)

    def _factors(self, job: dict, block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bias, multiplier and shift of words (words, lanes), by their blocks or by their rows."""
        cfg, mode, param = self.cfg, job["mode"], job["param"]
        if mode.get("by_row"):
            multiplier, shift = self.engine.by_row(block, param)
            return np.zeros((1, 1), np.int64), multiplier, shift
        entry = param["entry"] + (0 if mode["broadcast"] else block)
        lane_bytes = cfg.param_lane_bytes
        params = self.memory[isa.Target.PARAM].reshape(-1, cfg.param_entry_bytes // lane_bytes, lane_bytes)
        raw = np.broadcast_to(params[entry, : cfg.lanes], (len(block), cfg.lanes, lane_bytes))
        bias_bytes = cfg.numbers.acc_bits // 8
        bias, multiplier = (number(raw[..., a:b]) for a, b in ((0, bias_bytes), (bias_bytes, bias_bytes + 3)))
        return bias, multiplier, raw[..., bias_bytes + 3] & 63

    def _operands(self, job: dict, addresses: np.ndarray, name: str) -> np.ndarray:
        """Operand words (words, lanes) from byte addresses, in the format ``name`` of the job."""
        if not self.cfg.multiplier:
            return self._elements(self.memory[isa.Target.OPERAND], addresses, self.cfg.lanes)
        width = self._width(job, name)
        return elements(self._bytes(isa.Target.OPERAND, addresses, self.cfg.lanes * width // 8), width)

    def _width(self, job: dict, name: str) -> int:
        """Bits of an operand or result in memory."""
        if not self.cfg.multiplier:
            return 8 * self.cfg.act_bytes
        width = 1 << job["formats"][name]
        assert width in self.cfg.containers, f"no operands of {width} bits: {self.cfg.containers}"
        return width

    def _results(self, job: dict, words: np.ndarray, tail: np.ndarray) -> list[np.ndarray]:
        """Bytes of each result word; those where ``tail`` is set have the job's tail of valid lanes."""
        width, valid = self._width(job, "result"), job["param"]["tail"]
        assert 1 <= valid <= self.cfg.lanes
        lanes = np.where(tail, valid, self.cfg.lanes)
        if job["mode"].get("nibbles"):
            return [halves_stored(word[:n], job["mode"]["nibbles"]) for word, n in zip(words, lanes, strict=True)]
        return [stored(word, int(n), width, self.rng) for word, n in zip(field(words, width), lanes, strict=True)]

    def turned(self, job: dict, words: np.ndarray) -> np.ndarray:
        """Blocks of accumulator words, a pixel per lane, as words of the wanted pixels, a channel per lane."""
        lanes, first = self.cfg.lanes, job["turn"]["first"]
        assert job["acc_block"]["count"] == lanes
        blocks = words.reshape(-1, lanes, lanes).transpose(0, 2, 1)
        return blocks[:, first : first + job["turn"]["count"]].reshape(-1, lanes)

    def keep(self, job: dict, words: np.ndarray, tail: np.ndarray) -> None:
        """Words to the operand buffer; those where ``tail`` is set have the job's tail of valid lanes."""
        addresses, _ = nest(job["result_base"]["address"], [job["result_" + n] for n in ("block", "x", "y")])
        memory = self.memory[isa.Target.OPERAND]
        for address, word in zip(addresses, self._results(job, words, tail), strict=True):
            memory[address : address + word.size] = word

    def window(self, job: dict, words: np.ndarray) -> np.ndarray:
        """Sums or maxima of 3x3 windows over the words of a job and the two rows before it."""
        cfg, window, param = self.cfg, job["window"], job["param"]
        rows, columns, blocks = (job["operand_" + n]["count"] for n in ("y", "x", "block"))
        assert columns * blocks <= cfg.vector.window_words and blocks <= cfg.param_entries
        if self.rows.shape[1:3] != (columns, blocks):
            assert window["skip"] == 2, "a job continues rows of another shape"
            self.rows = np.zeros((2, columns, blocks, cfg.lanes), np.int64)
        if window["skip"] == 2:
            self.rows = np.random.default_rng(3).integers(-128, 128, self.rows.shape)
        image = np.concatenate([self.rows, words.reshape(rows, columns, blocks, cfg.lanes)])
        self.rows = image[-2:]
        entry = param["entry"] + (np.zeros(blocks, int) if job["mode"]["broadcast"] else np.arange(blocks))
        address = cfg.window_weights_address + entry[:, None] * cfg.param_entry_bytes + 8 * np.arange(cfg.lanes)
        places = [address + i for i in range(8)] + [address + cfg.window_weights_address]
        weights = [self.memory[isa.Target.PARAM][place].view(np.int8).astype(np.int64) for place in places]
        products = [image[r : r + rows, c : c + columns - 2] * weights[3 * r + c] for r in range(3) for c in range(3)]
        joined = np.max(products, axis=0) if window["max"] else np.sum(products, axis=0)
        return joined[window["skip"] :: window["stride_y"], :: window["stride_x"]].reshape(-1, cfg.lanes)

    def store(self, job: dict) -> None:
        """STORE: rows to DRAM."""
        base = self.bases[isa.Region(job["target"]["region"])] + job["target"]["address"]
        base += self.position * job["mode"]["pitch"] if "mode" in job else 0
        starts, _ = nest(base, [job[n] for n in ("row_a", "row_b", "row_c")])
        size = job["row"]["bytes"]
        source = self.engine.out if "mode" in job and job["mode"]["rows"] else self.out
        for number, start in enumerate(starts):
            row = np.array([source.popleft() for _ in range(size)], np.uint8)
            if "codec" in job and job["codec"]["coded"]:
                words = encode(row.view(self.element), self.cfg.codec_format, zero=self.zero(job))
                self.sizes[job["codec"]["block"] + number] = words.size
                row = words.astype("<u8").view(np.uint8)
            self.dram[start : start + row.size] = row

    def unpacked(self, job: dict, starts: np.ndarray) -> np.ndarray:
        """Bytes of the compressed blocks of a LOAD job."""
        rows, elements = [], job["row"]["bytes"] // np.dtype(self.element).itemsize
        for number, start in enumerate(starts):
            words = self.dram[start : start + 8 * self.sizes[job["codec"]["block"] + number]].view("<u8")
            row = decode(words, elements, self.cfg.codec_format, zero=self.zero(job))
            rows.append(row.astype(self.element).view(np.uint8))
        return np.concatenate(rows)

    def zero(self, job: dict) -> int:
        """The element that a job's runs are made of."""
        return int(np.array(job["codec"]["zero"]).astype(self.element))
