// Tiles of shots on their way between rows and planes: 32x32 bits per thread, turned in registers.
#ifndef CUDAQ_TARGET_TILE_CUH
#define CUDAQ_TARGET_TILE_CUH

#include "bits.cuh"

// A block turns pieces of up to eight half-words; a piece is as many groups of 32 shots as give every
// thread a square of 32x32 bits. Between the squares of a row lie whole 32-byte sectors of it, and
// planes leave in runs of at least 128 bytes.
constexpr i64 kPieceWords = 4;
constexpr u32 kRowGroups = 32;  // groups of a tile whose rows are whole

// Groups of 32 shots of a tile over rows of `n_words`: 32, 64 or 128.
CQT_DEVICE u32 groups_of(i64 n_words) { return n_words == 1 ? 128 : n_words == 2 ? 64 : kRowGroups; }

// Base-2 logarithm of the words per plane of a tile, half as many as its groups.
CQT_DEVICE u32 pair_bits(u32 n_groups) { return n_groups == 32 ? 4 : n_groups == 64 ? 5 : 6; }

// Where the word of a plane lies in shared memory. The squares of a row lie 32 planes apart: the gap
// after them brings the threads of a warp, which write all of them at once, to different banks.
CQT_DEVICE u32 gap_of(u32 n_groups) { return n_groups == 32 ? 4 : n_groups == 64 ? 8 : 16; }
CQT_DEVICE u32 place_of(u32 plane, u32 n_groups, u32 gap) {
    return plane * n_groups + plane / kWarp * gap;
}

struct Piece {
    i64 first_shot, first_word;
    u32 n_halves;
};

CQT_DEVICE Piece piece_at(i64 index, i64 n_words, u32 n_groups) {
    const i64 n_pieces = (n_words + kPieceWords - 1) / kPieceWords;
    const i64 tile = quotient(index, n_pieces), first = (index - tile * n_pieces) * kPieceWords;
    return {tile * n_groups * kWarp, first, static_cast<u32>(2 * smaller(kPieceWords, n_words - first))};
}

// i / n for n in 1 ... 8; lanes next to each other take half-words next to each other.
CQT_DEVICE u32 group_of(u32 i, u32 n_halves) {
    return n_halves == 8 ? i / 8 : n_halves == 4 ? i / 4 : n_halves == 2 ? i / 2 : i / 6;
}

// A step of `transpose_square` with partners `kStep` apart.
template <int kStep, u32 kLow>
CQT_DEVICE void swap_blocks(u32 (&square)[kWarp]) {
#pragma unroll
    for (int i = 0; i < 32; ++i) {
        if ((i & kStep) != 0) continue;
        const u32 a = square[i], b = square[i + kStep];
        square[i] = (a & kLow) | (b << kStep & ~kLow);
        square[i + kStep] = (a >> kStep & kLow) | (b & ~kLow);
    }
}

// Transposes 32x32 bits of one thread: no shuffle, and all indices are known to the compiler.
CQT_DEVICE void transpose_square(u32 (&square)[kWarp]) {
    swap_blocks<16, 0x0000FFFFu>(square);
    swap_blocks<8, 0x00FF00FFu>(square);
    swap_blocks<4, 0x0F0F0F0Fu>(square);
    swap_blocks<2, 0x33333333u>(square);
    swap_blocks<1, 0x55555555u>(square);
}

// Reads 32 shots of one half-word; what lies beyond the last shot is 0. All loads are under way
// before the first is used.
CQT_DEVICE void read_square(const u64* shots, i64 n_shots, i64 n_words, i64 first_shot, i64 half, u32 (&square)[kWarp]) {
    const u32* from = reinterpret_cast<const u32*>(shots) + first_shot * 2 * n_words + half;
    const i64 n_rows = n_shots - first_shot;
    if (n_rows >= 32) {
#pragma unroll
        for (int row = 0; row < 32; ++row) square[row] = __ldg(from + row * 2 * n_words);
    } else {
#pragma unroll
        for (int row = 0; row < 32; ++row) square[row] = row < n_rows ? __ldg(from + row * 2 * n_words) : 0;
    }
}

// planes[bit of the piece][group] <- shots. By all threads of the block; ends without a barrier.
CQT_DEVICE void read_planes_of(const u64* shots, i64 n_shots, i64 n_words, const Piece& piece, u32 n_groups, u32 gap, u32* planes) {
    for (u32 i = threadIdx.x; i < piece.n_halves * n_groups; i += blockDim.x) {
        const u32 group = group_of(i, piece.n_halves), half = i - group * piece.n_halves;
        u32 square[kWarp];
        read_square(shots, n_shots, n_words, piece.first_shot + group * kWarp, 2 * piece.first_word + half, square);
        transpose_square(square);
        u32* to = planes + place_of(half * kWarp, n_groups, gap) + group;
#pragma unroll
        for (u32 bit = 0; bit < kWarp; ++bit) to[bit * n_groups] = square[bit];
    }
}

#endif
