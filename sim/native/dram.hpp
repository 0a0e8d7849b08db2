// DRAM behind an AXI4 master: timing, back-pressure, error responses, and the master's protocol rules.
//
// Timing. Time is counted in clock cycles; a transfer happens in the cycle in which valid and ready are high.
//   * One read and one write address are accepted per cycle, up to kQueue bursts of each kind outstanding.
//   * Reads and writes share `rate` bytes a cycle. One server works through the bursts in the order of their
//     address transfers, a read before a write of the same cycle. A beat costs the width of the bus and
//     occupies the server for width/rate cycles, whatever its strobes say; unused time is not saved up.
//   * A read beat served in cycle s is offered from cycle s + latency on, at most one per cycle. The server does not
//     wait for that: latency is a pipeline behind it. A read can be served in the cycle of its address transfer.
//   * A write beat is served in the cycle of its data transfer, at most one per cycle, from the cycle after the address
//     transfer on. A burst whose data comes late holds its place and everything behind it.
//   * A write response is offered `latency` cycles after the last data transfer. Bytes change in memory when the
//     response is taken and reads see memory when their data is offered, so a master that does not wait for its
//     responses reads old bytes.
//   * With stalls, each of arready, rvalid, awready, wready, bvalid is withheld in a cycle with that probability.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>

// Signals of one cycle as driven by the design; payloads count only while their valid is set.
struct AxiMaster {
    bool arvalid, rready, awvalid, wvalid, wlast, bready;
    uint32_t arlen, arsize, arburst, awlen, awsize, awburst;
    uint64_t araddr, awaddr, wstrb;
    const uint8_t* wdata;
};

// Signals of one cycle as driven by the memory.
struct AxiSlave {
    bool arready, rvalid, rlast, awready, wready, bvalid;
    uint8_t rresp, bresp;
    bool rdata_changed;  // rdata differs from the cycle before
    const uint8_t* rdata;
};

// Layout shared with sim/model.py.
struct DramConfig {
    uint64_t latency;    // cycles, at least 1
    uint64_t rate;       // bytes per cycle, times `scale`
    uint64_t scale;      // denominator of the rate
    uint64_t seed;       // of the stalls
    double read_stall;   // probabilities
    double write_stall;
    uint64_t fail_read_begin, fail_read_end;    // beats in this range answer SLVERR
    uint64_t fail_write_begin, fail_write_end;
    uint64_t max_read_burst, max_write_burst;   // beats
};

// Running totals, layout shared with sim/model.py.
struct DramCounters {
    uint64_t cycles, read_beats, write_beats, read_bytes, write_bytes, read_bursts, write_bursts;
};

template <unsigned Bytes>  // width of the bus
class Dram {
  public:
    AxiSlave slave{};
    DramCounters counters{};

    const std::string& violation() const { return violation_; }

    void attach(uint8_t* memory, uint64_t size) {
        memory_ = memory;
        size_ = size;
    }

    void configure(const DramConfig& config) {
        config_ = config;
        random_ = config.seed * 0x9E3779B97F4A7C15ull + 0xD1B54A32D192ED03ull;
        if (random_ == 0) random_ = 1;
    }

    // Forgets everything in flight, as after a reset of the whole system.
    void reset() {
        order_.clear();
        reads_.clear();
        writes_.clear();
        responses_.clear();
        reads_open_ = writes_open_ = debt_ = 0;
        slave = AxiSlave{};
        std::memset(rdata_, kIdle, Bytes);
        slave.rdata = rdata_;
        slave.rdata_changed = true;
        noise_ = true;
        held_ar_ = held_aw_ = held_w_ = false;
        violation_.clear();
    }

    // Decides the slave's signals of this cycle.
    void drive() {
        serve_reads();
        slave.arready = reads_open_ < kQueue && !stall(config_.read_stall);
        slave.awready = writes_open_ < kQueue && !stall(config_.write_stall);
        slave.wready = server_free() && !order_.empty() && order_.front().write && !stall(config_.write_stall);
        slave.rdata_changed = false;
        if (!slave.rvalid) offer_read();
        if (!slave.bvalid && !responses_.empty() && responses_.front().when <= counters.cycles &&
            !stall(config_.write_stall)) {
            slave.bvalid = true;
            slave.bresp = responses_.front().response;
        }
    }

    // Takes the design's signals of the same cycle and ends it.
    void clock(const AxiMaster& now) {
        check_held(now);
        if (slave.rvalid && now.rready) {
            counters.read_beats++;
            counters.read_bytes += Bytes;
            if (slave.rlast) reads_open_--;
            reads_.pop_front();
            slave.rvalid = false;
        }
        if (slave.bvalid && now.bready) {
            commit(responses_.front().beats);
            responses_.pop_front();
            writes_open_--;
            slave.bvalid = false;
        }
        if (slave.wready && now.wvalid) take_write(now);
        if (slave.arready && now.arvalid) {
            check_burst("read", now.araddr, now.arlen, now.arsize, now.arburst, config_.max_read_burst);
            order_.push_back({false, OKAY, now.araddr / Bytes * Bytes, now.arlen + 1, now.arlen + 1});
            reads_open_++;
            counters.read_bursts++;
        }
        if (slave.awready && now.awvalid) {
            check_burst("write", now.awaddr, now.awlen, now.awsize, now.awburst, config_.max_write_burst);
            order_.push_back({true, OKAY, now.awaddr / Bytes * Bytes, now.awlen + 1, now.awlen + 1});
            writes_open_++;
            counters.write_bursts++;
        }
        serve_reads();
        debt_ = debt_ > config_.rate ? debt_ - config_.rate : 0;
        counters.cycles++;
    }

    void fail(const char* format, ...) __attribute__((format(printf, 2, 3))) {
        if (!violation_.empty()) return;  // the first one is the cause
        char text[256];
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        violation_ = "cycle " + std::to_string(counters.cycles) + ": " + text;
    }

  private:
    enum Response : uint8_t { OKAY = 0, SLVERR = 2, DECERR = 3 };
    static constexpr uint64_t kQueue = 256;
    static constexpr uint8_t kIdle = 0xA5;  // rdata while rvalid is low: noise, so that nobody relies on it

    struct Burst {
        bool write;
        uint8_t response;
        uint64_t address;
        uint32_t beats, left;
    };
    struct ReadBeat {
        uint64_t when, address;
        bool last;
    };
    struct WriteBeat {
        uint64_t address, strobe;
        uint8_t data[Bytes];
    };
    struct WriteResponse {
        uint64_t when;
        uint32_t beats;
        uint8_t response;
    };

    DramConfig config_{};
    uint8_t* memory_ = nullptr;
    uint64_t size_ = 0, random_ = 1;
    uint64_t debt_ = 0;  // scaled bytes the server still works on; it is free for another beat while below the rate
    uint64_t reads_open_ = 0, writes_open_ = 0;
    std::deque<Burst> order_;
    std::deque<ReadBeat> reads_;
    std::deque<WriteBeat> writes_;
    std::deque<WriteResponse> responses_;
    uint8_t rdata_[Bytes];
    bool noise_ = true;  // rdata_ holds no beat
    std::string violation_;
    AxiMaster was_{};            // signals of the cycle before ...
    bool held_ar_ = false, held_aw_ = false, held_w_ = false;  // ... which must still be there
    uint8_t was_wdata_[Bytes];

    bool server_free() const { return debt_ < config_.rate; }

    bool stall(double probability) {
        if (probability <= 0) return false;
        random_ ^= random_ << 13;
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        return static_cast<double>(random_ >> 11) * 0x1p-53 < probability;
    }

    static bool within(uint64_t address, uint64_t begin, uint64_t end) {
        return address < end && address + Bytes > begin;
    }

    void serve_reads() {
        while (server_free() && !order_.empty() && !order_.front().write) {
            Burst& burst = order_.front();
            burst.left--;
            reads_.push_back({counters.cycles + config_.latency, burst.address, burst.left == 0});
            burst.address += Bytes;
            debt_ += Bytes * config_.scale;
            if (burst.left == 0) order_.pop_front();
        }
    }

    void offer_read() {
        const bool idle = reads_.empty() || reads_.front().when > counters.cycles || stall(config_.read_stall);
        if (idle) {
            if (noise_) return;
            noise_ = true;
            std::memset(rdata_, kIdle, Bytes);
        } else {
            noise_ = false;
            const ReadBeat& beat = reads_.front();
            const bool inside = beat.address + Bytes <= size_;
            slave.rvalid = true;
            slave.rlast = beat.last;
            slave.rresp = !inside ? DECERR
                          : within(beat.address, config_.fail_read_begin, config_.fail_read_end) ? SLVERR : OKAY;
            if (slave.rresp == OKAY) {
                std::memcpy(rdata_, memory_ + beat.address, Bytes);
            } else {
                std::memset(rdata_, kIdle, Bytes);
            }
        }
        slave.rdata_changed = true;
    }

    void take_write(const AxiMaster& now) {
        Burst& burst = order_.front();
        burst.left--;
        debt_ += Bytes * config_.scale;
        counters.write_beats++;
        counters.write_bytes += static_cast<uint64_t>(__builtin_popcountll(now.wstrb));
        if (now.wlast != (burst.left == 0)) {
            fail("write burst of %u beats has wlast %s at beat %u", burst.beats, now.wlast ? "set" : "clear",
                 burst.beats - burst.left);
        }
        WriteBeat beat;
        beat.address = burst.address;
        beat.strobe = now.wstrb;
        if (burst.address + Bytes > size_) {
            burst.response = DECERR;
            beat.strobe = 0;
        } else if (within(burst.address, config_.fail_write_begin, config_.fail_write_end)) {
            if (burst.response == OKAY) burst.response = SLVERR;
            beat.strobe = 0;
        }
        std::memcpy(beat.data, now.wdata, Bytes);
        writes_.push_back(beat);
        burst.address += Bytes;
        if (burst.left == 0) {
            responses_.push_back({counters.cycles + config_.latency, burst.beats, burst.response});
            order_.pop_front();
        }
    }

    void commit(uint32_t beats) {
        constexpr uint64_t all = Bytes == 64 ? ~0ull : (1ull << (Bytes % 64)) - 1;
        for (; beats; beats--) {
            const WriteBeat& beat = writes_.front();
            if (beat.strobe == all) {
                std::memcpy(memory_ + beat.address, beat.data, Bytes);
            } else {
                for (unsigned i = 0; i < Bytes; i++) {
                    if (beat.strobe >> i & 1) memory_[beat.address + i] = beat.data[i];
                }
            }
            writes_.pop_front();
        }
    }

    void check_burst(const char* kind, uint64_t address, uint32_t len, uint32_t size, uint32_t type, uint64_t limit) {
        const unsigned long long first = address, begin = address / Bytes * Bytes;
        const unsigned long long end = begin + (len + 1ull) * Bytes;
        if (type != 1) fail("%s burst at 0x%llx has type %u, not INCR (1)", kind, first, type);
        if (1u << size != Bytes) fail("%s burst at 0x%llx has %u bytes per beat, not %u", kind, first, 1u << size, Bytes);
        if (len + 1ull > limit) {
            fail("%s burst at 0x%llx has %u beats, more than the limit %llu", kind, first, len + 1,
                 static_cast<unsigned long long>(limit));
        }
        if (begin / 4096 != (end - 1) / 4096) fail("%s burst 0x%llx..0x%llx crosses a 4 kB boundary", kind, first, end);
        if (end > size_) {
            fail("%s burst 0x%llx..0x%llx leaves the memory of 0x%llx bytes", kind, first, end,
                 static_cast<unsigned long long>(size_));
        }
    }

    // Valid must stay and its payload must not change until the transfer.
    void check_held(const AxiMaster& now) {
        if (held_ar_) {
            if (!now.arvalid) fail("arvalid was dropped before arready");
            else if (now.araddr != was_.araddr || now.arlen != was_.arlen || now.arsize != was_.arsize ||
                     now.arburst != was_.arburst) fail("the read address changed while waiting for arready");
        }
        if (held_aw_) {
            if (!now.awvalid) fail("awvalid was dropped before awready");
            else if (now.awaddr != was_.awaddr || now.awlen != was_.awlen || now.awsize != was_.awsize ||
                     now.awburst != was_.awburst) fail("the write address changed while waiting for awready");
        }
        if (held_w_) {
            if (!now.wvalid) fail("wvalid was dropped before wready");
            else if (now.wstrb != was_.wstrb || now.wlast != was_.wlast ||
                     std::memcmp(now.wdata, was_wdata_, Bytes) != 0) fail("write data changed while waiting for wready");
        }
        held_ar_ = now.arvalid && !slave.arready;
        held_aw_ = now.awvalid && !slave.awready;
        held_w_ = now.wvalid && !slave.wready;
        if (held_ar_ || held_aw_ || held_w_) was_ = now;
        if (held_w_) std::memcpy(was_wdata_, now.wdata, Bytes);
    }
};
