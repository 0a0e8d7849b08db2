// The two zlib functions Verilator's FST writer calls, so that waveforms need no system library.
//
// Writes stored (uncompressed) deflate blocks, RFC 1950 and 1951; the bulk of a waveform goes through LZ4.
#pragma once

#include <cstdint>
#include <cstring>

using uLong = unsigned long;
using uLongf = unsigned long;
using Bytef = unsigned char;
constexpr int Z_OK = 0;

inline uLong compressBound(uLong size) { return size + 5 * (size / 65535 + 1) + 6; }

// The output must have room for compressBound(size) bytes.
inline int compress2(Bytef* target, uLongf* target_size, const Bytef* source, uLong size, int /*level*/) {
    Bytef* out = target;
    *out++ = 0x78;  // deflate, 32 kB window
    *out++ = 0x01;
    uint32_t a = 1, b = 0;  // Adler-32
    for (uLong i = 0; i < size; i++) {
        a = (a + source[i]) % 65521;
        b = (b + a) % 65521;
    }
    do {
        const uLong block = size < 65535 ? size : 65535;
        *out++ = block == size;  // last block?
        *out++ = static_cast<Bytef>(block);
        *out++ = static_cast<Bytef>(block >> 8);
        *out++ = static_cast<Bytef>(~block);
        *out++ = static_cast<Bytef>(~block >> 8);
        if (block) std::memcpy(out, source, block);
        out += block;
        source += block;
        size -= block;
    } while (size);
    for (const uint32_t half : {b, a}) {
        *out++ = static_cast<Bytef>(half >> 8);
        *out++ = static_cast<Bytef>(half);
    }
    *target_size = static_cast<uLongf>(out - target);
    return Z_OK;
}
