// Layout of packed shots: bytes, rows, planes. `kernels/reference/layout.py` defines the results.
#include "tile.cuh"

// A square per thread of a block, and the gaps between the squares of two columns at most 8 columns.
constexpr u32 kPlaneHalves = 256 * kWarp + 8 * 16;

// shots u64[n_shots, n_words] -> u8[n_shots, n_bits]; a thread expands eight bits.
CQT_KERNEL(256, 4) unpack_bits(const u64* shots, i64 n_shots, i64 n_words, i64 n_bits, u8* bits) {
    const i64 n_octets = (n_bits + 7) / 8;
    const bool is_aligned = n_bits % 8 == 0;
    for (i64 i = thread_index(); i < n_shots * n_octets; i += thread_count()) {
        const i64 shot = quotient(i, n_octets), octet = i - shot * n_octets;
        const u64 word = shots[shot * n_words + octet / 8];
        const u64 bytes = bits_to_bytes(static_cast<u32>(word >> octet % 8 * 8));
        u8* to = bits + shot * n_bits + octet * 8;
        if (is_aligned) {
            *reinterpret_cast<u64*>(to) = bytes;
            continue;
        }
        for (i64 k = 0; k < smaller(8, n_bits - octet * 8); ++k) {
            to[k] = static_cast<u8>(bytes >> 8 * k);
        }
    }
}

// u8[n_shots, n_bits] -> shots; a warp reads 64 bytes of a row and votes.
CQT_KERNEL(256, 4) pack_bits(const u8* bits, i64 n_shots, i64 n_words, i64 n_bits, u64* shots) {
    const u32 lane = lane_id();
    for (i64 i = thread_index() / kWarp; i < n_shots * n_words; i += thread_count() / kWarp) {
        const i64 shot = quotient(i, n_words), first = (i - shot * n_words) * 64;
        const u8* row = bits + shot * n_bits + first;
        const i64 left = n_bits - first;
        const u32 low = __ballot_sync(kAllLanes, lane < left && row[lane] != 0);
        const u32 high = __ballot_sync(kAllLanes, lane + kWarp < left && row[lane + kWarp] != 0);
        if (lane == 0) shots[i] = low | static_cast<u64>(high) << 32;
    }
}

// shots u64[n_shots, n_words] -> planes u64[n_bits, n_words_out], n_words_out = ceil(n_shots / 64).
CQT_KERNEL(256, 4) transpose_bits(const u64* shots, i64 n_shots, i64 n_words, i64 n_bits, u64* planes) {
    __shared__ u64 words[kPlaneHalves / 2];  // for loads of pairs
    u32* memory = reinterpret_cast<u32*>(words);
    const u32 n_groups = groups_of(n_words), gap = gap_of(n_groups), log = pair_bits(n_groups);
    const i64 n_words_out = (n_shots + 63) / 64;
    const i64 n_pieces = (n_shots + n_groups * kWarp - 1) / (n_groups * kWarp) *
                         ((n_words + kPieceWords - 1) / kPieceWords);
    for (i64 index = blockIdx.x; index < n_pieces; index += gridDim.x) {
        const Piece piece = piece_at(index, n_words, n_groups);
        read_planes_of(shots, n_shots, n_words, piece, n_groups, gap, memory);
        __syncthreads();
        const i64 first_bit = piece.first_word * 64, first_word = piece.first_shot / 64;
        for (u32 i = threadIdx.x; i < (piece.n_halves * kWarp) << log; i += blockDim.x) {
            const u32 plane = i >> log, pair = i - (plane << log);
            const i64 bit = first_bit + plane, word = first_word + pair;
            if (bit < n_bits && word < n_words_out) {
                __stcs(planes + bit * n_words_out + word,
                       *reinterpret_cast<const u64*>(memory + place_of(plane, n_groups, gap) + 2 * pair));
            }
        }
        __syncthreads();
    }
}

// planes u64[n_bits, ceil(n_shots / 64)] -> shots u64[n_shots, n_words].
CQT_KERNEL(256, 4) planes_to_shots(const u64* planes, i64 n_shots, i64 n_words, i64 n_bits, u64* shots) {
    __shared__ u64 words[kPlaneHalves / 2];  // for loads of pairs
    u32* memory = reinterpret_cast<u32*>(words);
    const u32 n_groups = groups_of(n_words), gap = gap_of(n_groups), log = pair_bits(n_groups);
    const i64 n_words_in = (n_shots + 63) / 64;
    const i64 n_pieces = (n_shots + n_groups * kWarp - 1) / (n_groups * kWarp) *
                         ((n_words + kPieceWords - 1) / kPieceWords);
    for (i64 index = blockIdx.x; index < n_pieces; index += gridDim.x) {
        const Piece piece = piece_at(index, n_words, n_groups);
        const i64 first_bit = piece.first_word * 64, first_word = piece.first_shot / 64;
        for (u32 i = threadIdx.x; i < (piece.n_halves * kWarp) << log; i += blockDim.x) {
            const u32 plane = i >> log, pair = i - (plane << log);
            const i64 bit = first_bit + plane, word = first_word + pair;
            *reinterpret_cast<u64*>(memory + place_of(plane, n_groups, gap) + 2 * pair) =
                bit < n_bits && word < n_words_in ? __ldcs(planes + bit * n_words_in + word) : 0;
        }
        __syncthreads();
        for (u32 i = threadIdx.x; i < piece.n_halves * n_groups; i += blockDim.x) {
            const u32 group = group_of(i, piece.n_halves), half = i - group * piece.n_halves;
            const u32* from = memory + place_of(half * kWarp, n_groups, gap) + group;
            u32 square[kWarp];
#pragma unroll
            for (u32 bit = 0; bit < kWarp; ++bit) square[bit] = from[bit * n_groups];
            transpose_square(square);
            const i64 first = piece.first_shot + group * kWarp;
            u32* to = reinterpret_cast<u32*>(shots) + first * 2 * n_words + 2 * piece.first_word + half;
#pragma unroll
            for (int row = 0; row < 32; ++row) {
                if (first + row < n_shots) to[row * 2 * n_words] = square[row];
            }
        }
        __syncthreads();
    }
}

// keep u8[n_shots]: whether (shot & mask) == value in every word.
CQT_KERNEL(256, 4) matches(const u64* shots, i64 n_shots, i64 n_words, const u64* mask, const u64* value, u8* keep) {
    for (i64 shot = thread_index(); shot < n_shots; shot += thread_count()) {
        u64 difference = 0;
        for (i64 word = 0; word < n_words; ++word) {
            difference |= (shots[shot * n_words + word] & __ldg(mask + word)) ^ __ldg(value + word);
        }
        keep[shot] = difference == 0;
    }
}

// Bit k of an output row is bit qubits[k] of the input row; a thread makes one output word.
CQT_KERNEL(256, 4) gather_bits(const u64* shots, i64 n_shots, i64 n_words, const i64* qubits, i64 n_qubits, u64* out) {
    const i64 n_out = (n_qubits + 63) / 64;
    for (i64 i = thread_index(); i < n_shots * n_out; i += thread_count()) {
        const i64 shot = quotient(i, n_out), first = (i - shot * n_out) * 64;
        const u64* row = shots + shot * n_words;
        u64 word = 0;
        for (i64 k = 0; k < smaller(64, n_qubits - first); ++k) {
            const i64 qubit = __ldg(qubits + first + k);
            word |= (row[qubit / 64] >> qubit % 64 & 1) << k;
        }
        out[i] = word;
    }
}
