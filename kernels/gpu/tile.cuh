// Tiles of shots on their way between rows and planes, in shared memory.
#ifndef CUDAQ_TARGET_TILE_CUH
#define CUDAQ_TARGET_TILE_CUH

#include "bits.cuh"

// A block transposes 512 shots at a time, in pieces of up to four words. Reads and writes of device
// memory are whole 32-byte sectors; the 64x64 blocks between are turned in registers.
constexpr i64 kTileGroups = 8;  // groups of 64 shots
constexpr i64 kTileWords = 4;
constexpr i64 kTileShots = 64 * kTileGroups;
constexpr i64 kRowPitch = kTileShots + 4;  // against bank conflicts
constexpr i64 kPlanePitch = kTileGroups + 1;

struct Tile {
    i64 first_shot, first_word, n_words;
};

CQT_DEVICE Tile tile_at(i64 index, i64 n_words) {
    const i64 n_chunks = (n_words + kTileWords - 1) / kTileWords;
    const i64 row = quotient(index, n_chunks), first = (index - row * n_chunks) * kTileWords;
    return {row * kTileShots, first, smaller(kTileWords, n_words - first)};
}

// i / n_words for n_words in 1 ... kTileWords.
CQT_DEVICE u32 shot_of(u32 i, i64 n_words) {
    return n_words == 4 ? i / 4 : n_words == 3 ? i / 3 : n_words == 2 ? i / 2 : i;
}

// rows[word][shot] <- shots; what lies beyond the last shot is 0.
CQT_DEVICE void read_rows(const u64* shots, i64 n_shots, i64 n_words, const Tile& tile, u64* rows) {
#pragma unroll 4
    for (u32 i = threadIdx.x; i < kTileShots * tile.n_words; i += blockDim.x) {
        const u32 shot = shot_of(i, tile.n_words), word = i - shot * static_cast<u32>(tile.n_words);
        const i64 row = tile.first_shot + shot;
        rows[word * kRowPitch + shot] =
            row < n_shots ? __ldcs(shots + row * n_words + tile.first_word + word) : 0;
    }
}

// Turns rows[word][shot] into planes[bit][group], or back.
template <bool kToPlanes>
CQT_DEVICE void turn(u64* rows, u64* planes, i64 n_words) {
    const u32 lane = lane_id();
    for (i64 i = threadIdx.x / kWarp; i < n_words * kTileGroups; i += blockDim.x / kWarp) {
        const i64 word = i / kTileGroups, group = i % kTileGroups;
        u64* row = rows + word * kRowPitch + group * 64 + lane;
        u64* plane = planes + (word * 64 + lane) * kPlanePitch + group;
        u64 low = kToPlanes ? row[0] : plane[0];
        u64 high = kToPlanes ? row[kWarp] : plane[kWarp * kPlanePitch];
        transpose64(low, high, lane);
        if (kToPlanes) {
            plane[0] = low;
            plane[kWarp * kPlanePitch] = high;
        } else {
            row[0] = low;
            row[kWarp] = high;
        }
    }
}

#endif
