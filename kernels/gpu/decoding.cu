// Parities of measured bits. `kernels/reference/decoding.py` defines the results.
#include "tile.cuh"

// Parities of shots under checks, rows in and rows out: shots u64[n_shots, n_words] to out
// u64[n_shots, n_out]. Check c is the qubits[starts[c] ... starts[c + 1] - 1]. A tile is turned to
// planes, 64 shots are added per operation, and turned back, without a trip to device memory.
CQT_KERNEL(256, 2) parity_rows(const u64* shots, i64 n_shots, i64 n_words, const i64* starts, const i64* qubits, i64 n_checks, i64 n_out, u64* out) {
    CQT_DYNAMIC_SHARED(u64, memory);
    const i64 n_widest = n_words > n_out ? n_words : n_out;
    u64* rows = memory;
    u64* planes = rows + n_widest * kRowPitch;
    u64* sums = planes + n_words * 64 * kPlanePitch;
    const i64 n_tiles = (n_shots + kTileShots - 1) / kTileShots;
    for (i64 index = blockIdx.x; index < n_tiles; index += gridDim.x) {
        for (i64 first = 0; first < n_words; first += kTileWords) {
            const Tile piece{index * kTileShots, first, smaller(kTileWords, n_words - first)};
            read_rows(shots, n_shots, n_words, piece, rows + first * kRowPitch);
        }
        __syncthreads();
        turn<true>(rows, planes, n_words);
        __syncthreads();
        for (i64 i = threadIdx.x; i < n_out * 64 * kTileGroups; i += blockDim.x) {
            const i64 check = i / kTileGroups, group = i % kTileGroups;
            u64 sum = 0;
            for (i64 k = check < n_checks ? __ldg(starts + check) : 0, end = check < n_checks ? __ldg(starts + check + 1) : 0; k < end; ++k) {
                sum ^= planes[__ldg(qubits + k) * kPlanePitch + group];
            }
            sums[check * kPlanePitch + group] = sum;
        }
        __syncthreads();
        turn<false>(rows, sums, n_out);
        __syncthreads();
        for (u32 i = threadIdx.x; i < kTileShots * n_out; i += blockDim.x) {
            const u32 shot = i / static_cast<u32>(n_out), word = i - shot * static_cast<u32>(n_out);
            const i64 row = index * kTileShots + shot;
            if (row < n_shots) __stcs(out + row * n_out + word, rows[word * kRowPitch + shot]);
        }
        __syncthreads();
    }
}

// The same on planes u64[n_bits, n_groups] to sums u64[n_checks, n_groups]. A block keeps to 32
// words of every plane, which stay in the L1 cache for all checks; a warp takes a check.
CQT_KERNEL(256, 4) parity_planes(const u64* planes, i64 n_groups, const i64* starts, const i64* qubits, i64 n_checks, u64* sums) {
    for (i64 first = static_cast<i64>(blockIdx.x) * kWarp; first < n_groups; first += static_cast<i64>(gridDim.x) * kWarp) {
        const i64 group = first + lane_id();
        for (i64 check = threadIdx.x / kWarp; group < n_groups && check < n_checks; check += blockDim.x / kWarp) {
            const i64 end = __ldg(starts + check + 1);
            u64 sum = 0;
            for (i64 k = __ldg(starts + check); k < end; ++k) {
                sum ^= __ldg(planes + __ldg(qubits + k) * n_groups + group);
            }
            __stcs(sums + check * n_groups + group, sum);
        }
    }
}
