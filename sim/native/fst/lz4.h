// The two LZ4 functions Verilator's FST writer calls, so that waveforms need no system library.
//
// LZ4 block format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md (greedy, one hash probe).
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline uint8_t* lz4_length(uint8_t* out, int length) {
    for (length -= 15; length >= 255; length -= 255) *out++ = 255;
    *out++ = static_cast<uint8_t>(length);
    return out;
}

inline uint8_t* lz4_sequence(uint8_t* out, const uint8_t* literals, int count, int offset, int match) {
    const int extra = match - 4;  // a match of 0 means: literals only, the end of the block
    uint8_t* token = out++;
    *token = static_cast<uint8_t>((count < 15 ? count : 15) << 4);
    if (count >= 15) out = lz4_length(out, count);
    if (count) std::memcpy(out, literals, static_cast<size_t>(count));
    out += count;
    if (match == 0) return out;
    *token = static_cast<uint8_t>(*token | (extra < 15 ? extra : 15));
    *out++ = static_cast<uint8_t>(offset);
    *out++ = static_cast<uint8_t>(offset >> 8);
    return extra >= 15 ? lz4_length(out, extra) : out;
}

// The output must have room for LZ4_compressBound(size) bytes.
inline int LZ4_compress_default(const char* source, char* target, int size, int /*capacity*/) {
    const auto* in = reinterpret_cast<const uint8_t*>(source);
    auto* const begin = reinterpret_cast<uint8_t*>(target);
    uint8_t* out = begin;
    std::vector<int> seen(1 << 12, -1);
    int anchor = 0;
    // The format wants the last 5 bytes as literals and no match starting in the last 12.
    for (int at = 0; at + 12 < size;) {
        uint32_t word;
        std::memcpy(&word, in + at, 4);
        int& entry = seen[word * 2654435761u >> 20];
        const int found = entry;
        entry = at;
        if (found < 0 || at - found > 65535 || std::memcmp(in + found, in + at, 4) != 0) {
            at++;
            continue;
        }
        int match = 4;
        while (at + match < size - 5 && in[found + match] == in[at + match]) match++;
        out = lz4_sequence(out, in + anchor, at - anchor, at - found, match);
        at += match;
        anchor = at;
    }
    out = lz4_sequence(out, in + anchor, size - anchor, 0, 0);
    return static_cast<int>(out - begin);
}
