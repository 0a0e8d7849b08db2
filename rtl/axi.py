"""The AXI4 buses as plain signal lists, and the splitter that turns rows of bytes into legal bursts."""

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

ADDRESS_BITS = 40
"""DRAM addresses."""

ROW_BYTES_BITS = 24
"""Length of a contiguous row of bytes."""

PAGE_BYTES = 4096
"""No AXI burst crosses a multiple of this."""

INCREMENTING = 0b01
"""``arburst`` and ``awburst``."""

MODIFIABLE_BUFFERABLE = 0b0011
"""``arcache`` and ``awcache``: normal memory, neither cached nor allocated."""


def _address_channel(prefix: str) -> dict:
    return {
        f"{prefix}addr": Out(ADDRESS_BITS),
        f"{prefix}len": Out(8),
        f"{prefix}size": Out(3),
        f"{prefix}burst": Out(2),
        f"{prefix}cache": Out(4),
        f"{prefix}prot": Out(3),
        f"{prefix}valid": Out(1),
        f"{prefix}ready": In(1),
    }


def read_members(data_bits: int) -> dict:
    """AXI4 read channels, seen from the master. No identifiers: everything returns in order."""
    return {
        **_address_channel("ar"),
        "rdata": In(data_bits),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }


def write_members(data_bits: int) -> dict:
    """AXI4 write channels, seen from the master. No identifiers: everything returns in order."""
    return {
        **_address_channel("aw"),
        "wdata": Out(data_bits),
        "wstrb": Out(data_bits // 8),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
    }


def lite_members(address_bits: int) -> dict:
    """AXI4-Lite with 32 data bits, seen from the slave."""
    return {
        "awaddr": In(address_bits),
        "awprot": In(3),
        "awvalid": In(1),
        "awready": Out(1),
        "wdata": In(32),
        "wstrb": In(4),
        "wvalid": In(1),
        "wready": Out(1),
        "bresp": Out(2),
        "bvalid": Out(1),
        "bready": In(1),
        "araddr": In(address_bits),
        "arprot": In(3),
        "arvalid": In(1),
        "arready": Out(1),
        "rdata": Out(32),
        "rresp": Out(2),
        "rvalid": Out(1),
        "rready": In(1),
    }


def row_layout() -> data.StructLayout:
    """A contiguous row: byte address, and bytes (at least 1). ``last`` marks the last row of a STORE job."""
    return data.StructLayout({"address": unsigned(ADDRESS_BITS), "bytes": unsigned(ROW_BYTES_BITS), "last": 1})


def burst_layout(bus_bytes: int) -> data.StructLayout:
    """One burst of a row.

    ``address`` is that of the first beat; ``first`` the offset of the first valid byte in the first beat; ``tail``
    the offset behind the last valid byte in the last beat (1 to ``bus_bytes``); ``last_of_row`` marks the last burst of
    a row, ``last_of_job`` that of a job's last row.
    """
    return data.StructLayout({
        "address": unsigned(ADDRESS_BITS),
        "beats": range(257),
        "first": range(bus_bytes),
        "tail": range(bus_bytes + 1),
        "last_of_row": 1,
        "last_of_job": 1,
    })


class BurstSplitter(wiring.Component):
    """Splits rows into bursts that keep the burst limit and never cross a page.

    Parameters
    ----------
    bus_bytes : int
        Bytes per beat, a power of two.
    max_beats : int
        Beats per burst, at most 256.

    Members
    -------
    i : In(stream of row_layout())
    o : Out(stream of burst_layout(bus_bytes))

    Timing
    ------
    The first burst one cycle after its row, then one burst per cycle; rows follow each other without a gap.
    """

    latency = 1

    def __init__(self, bus_bytes: int, max_beats: int):
        if not 1 <= max_beats <= 256:
            raise ValueError(f"BurstSplitter max_beats must be from 1 to 256, not {max_beats!r}")
        self.bus_bytes = bus_bytes
        self.max_beats = max_beats
        super().__init__({
            "i": In(stream.Signature(row_layout())),
            "o": Out(stream.Signature(burst_layout(bus_bytes))),
        })

    def elaborate(self, platform):
        m = Module()
        lane_bits = (self.bus_bytes - 1).bit_length()
        page_bits = (PAGE_BYTES // self.bus_bytes - 1).bit_length()
        page, most = 1 << page_bits, self.max_beats
        beat_address = Signal(ADDRESS_BITS - lane_bits, reset_less=True)
        left = Signal(ROW_BYTES_BITS, reset_less=True)  # beats of the row that are still to come
        to_page = Signal(page_bits + 1, reset_less=True)  # beats to the end of the page
        first = Signal(lane_bits, reset_less=True)
        tail = Signal(range(self.bus_bytes + 1), reset_less=True)
        last = Signal(reset_less=True)

        # How a burst ends is known before it is looked at: comparisons of the next burst are made with numbers that
        # are there, not with those of the next burst.
        fits_page = Signal(reset_less=True)  # left <= to_page
        fits_most = Signal(reset_less=True)  # left <= most
        near = Signal(reset_less=True)  # to_page <= most
        final = Signal()
        beats = Signal(range(257))
        burst = self.o.payload
        m.d.comb += [
            final.eq(Mux(near, fits_page, fits_most)),
            beats.eq(Mux(final, left, Mux(near, to_page, most))),
            burst.address.eq(beat_address << lane_bits),
            burst.beats.eq(beats),
            burst.first.eq(first),
            burst.tail.eq(Mux(final, tail, self.bus_bytes)),
            burst.last_of_row.eq(final),
            burst.last_of_job.eq(final & last),
            self.i.ready.eq(~self.o.valid | (self.o.ready & final)),
        ]
        behind = Signal(ROW_BYTES_BITS)  # beats behind the page
        m.d.comb += behind.eq(left - to_page)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [first.eq(0), self.o.valid.eq(~final)]
            with m.If(near):
                m.d.sync += [
                    beat_address.eq(Cat(Const(0, page_bits), beat_address[page_bits:] + 1)),
                    left.eq(behind),
                    to_page.eq(page),
                    fits_page.eq(behind <= page),
                    fits_most.eq(behind <= most),
                    near.eq(int(page <= most)),
                ]
            with m.Else():
                m.d.sync += [
                    beat_address.eq(beat_address + most),
                    left.eq(left - most),
                    to_page.eq(to_page - most),
                    fits_most.eq(left <= 2 * most),
                    near.eq(to_page <= 2 * most),
                ]
        row = self.i.payload
        end = Signal(ROW_BYTES_BITS + 1)  # offset behind the row's last byte, from the start of its first beat
        row_beats = Signal(ROW_BYTES_BITS)
        row_page = Signal(page_bits + 1)
        m.d.comb += [
            end.eq(row.address[:lane_bits] + row.bytes),
            row_beats.eq((end + self.bus_bytes - 1) >> lane_bits),
            row_page.eq(page - row.address[lane_bits : lane_bits + page_bits]),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                self.o.valid.eq(1),
                beat_address.eq(row.address[lane_bits:]),
                left.eq(row_beats),
                to_page.eq(row_page),
                fits_page.eq(row_beats <= row_page),
                fits_most.eq(row_beats <= most),
                near.eq(row_page <= most),
                first.eq(row.address[:lane_bits]),
                last.eq(row.last),
                tail.eq(Mux(end[:lane_bits] == 0, self.bus_bytes, end[:lane_bits])),
            ]
        return m
