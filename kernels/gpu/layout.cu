// Layout of packed shots: bytes, rows, planes. `kernels/reference/layout.py` defines the results.
#include "tile.cuh"

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

// shots u64[n_shots, n_words] -> planes u64[n_bits, n_groups], n_groups = ceil(n_shots / 64).
CQT_KERNEL(256, 4) transpose_bits(const u64* shots, i64 n_shots, i64 n_words, i64 n_bits, u64* planes) {
    __shared__ u64 rows[kTileWords * kRowPitch];
    __shared__ u64 turned[kTileWords * 64 * kPlanePitch];
    const i64 n_groups = (n_shots + 63) / 64;
    const i64 n_tiles =
        (n_shots + kTileShots - 1) / kTileShots * ((n_words + kTileWords - 1) / kTileWords);
    for (i64 index = blockIdx.x; index < n_tiles; index += gridDim.x) {
        const Tile tile = tile_at(index, n_words);
        read_rows(shots, n_shots, n_words, tile, rows);
        __syncthreads();
        turn<true>(rows, turned, tile.n_words);
        __syncthreads();
        const i64 first_group = tile.first_shot / 64, first_bit = tile.first_word * 64;
        for (i64 i = threadIdx.x; i < tile.n_words * 64 * kTileGroups; i += blockDim.x) {
            const i64 bit = first_bit + i / kTileGroups, group = first_group + i % kTileGroups;
            if (bit < n_bits && group < n_groups) {
                __stcs(planes + bit * n_groups + group,
                       turned[i / kTileGroups * kPlanePitch + i % kTileGroups]);
            }
        }
        // The next tile writes `rows`, which nobody reads any more; `turned` waits for its barrier.
    }
}

// planes u64[n_bits, ceil(n_shots / 64)] -> shots u64[n_shots, n_words].
CQT_KERNEL(256, 4) planes_to_shots(const u64* planes, i64 n_shots, i64 n_words, i64 n_bits, u64* shots) {
    __shared__ u64 rows[kTileWords * kRowPitch];
    __shared__ u64 turned[kTileWords * 64 * kPlanePitch];
    const i64 n_groups = (n_shots + 63) / 64;
    const i64 n_tiles =
        (n_shots + kTileShots - 1) / kTileShots * ((n_words + kTileWords - 1) / kTileWords);
    for (i64 index = blockIdx.x; index < n_tiles; index += gridDim.x) {
        const Tile tile = tile_at(index, n_words);
        const i64 first_group = tile.first_shot / 64, first_bit = tile.first_word * 64;
        for (i64 i = threadIdx.x; i < tile.n_words * 64 * kTileGroups; i += blockDim.x) {
            const i64 bit = first_bit + i / kTileGroups, group = first_group + i % kTileGroups;
            turned[i / kTileGroups * kPlanePitch + i % kTileGroups] =
                bit < n_bits && group < n_groups ? __ldcs(planes + bit * n_groups + group) : 0;
        }
        __syncthreads();
        turn<false>(rows, turned, tile.n_words);
        __syncthreads();
        for (i64 i = threadIdx.x; i < kTileShots * tile.n_words; i += blockDim.x) {
            const i64 shot = i / tile.n_words, word = i - shot * tile.n_words;
            const i64 row = tile.first_shot + shot;
            if (row < n_shots) {
                __stcs(shots + row * n_words + tile.first_word + word, rows[word * kRowPitch + shot]);
            }
        }
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
