// Parities of measured bits. `kernels/reference/decoding.py` defines the results.
#include "tile.cuh"

// Parities of shots under checks, rows in and rows out: shots u64[n_shots, n_words] to out
// u64[n_shots, n_out]. Check c is the qubits[starts[c] ... starts[c + 1] - 1]. A tile of 1024 shots
// is turned to planes, 32 shots of a lane are added per operation, and turned back, without a trip to
// device memory.
CQT_KERNEL(256, 4) parity_rows(const u64* shots, i64 n_shots, i64 n_words, const i64* starts, const i64* qubits, i64 n_checks, i64 n_out, u64* out) {
    CQT_DYNAMIC_SHARED(u32, planes);
    constexpr u32 kGroups = kRowGroups, kTileGap = 4;
    const u32 width = static_cast<u32>(2 * n_out), pitch = width * kWarp + 1, lane = lane_id();
    // The rows that go out take the place of the planes that came in.
    const u32 n_in = static_cast<u32>(2 * n_words) * (kWarp * kGroups + kTileGap), n_back = kGroups * pitch;
    u32* sums = planes + (n_in > n_back ? n_in : n_back);
    const i64 n_tiles = (n_shots + kGroups * kWarp - 1) / (kGroups * kWarp);
    for (i64 index = blockIdx.x; index < n_tiles; index += gridDim.x) {
        const i64 first_shot = index * kGroups * kWarp;
        for (i64 first = 0; first < n_words; first += kPieceWords) {
            const Piece piece{first_shot, first, static_cast<u32>(2 * smaller(kPieceWords, n_words - first))};
            read_planes_of(shots, n_shots, n_words, piece, kGroups, kTileGap,
                           planes + place_of(static_cast<u32>(first * 64), kGroups, kTileGap));
        }
        __syncthreads();
        for (u32 check = threadIdx.x / kWarp; check < width * kWarp; check += blockDim.x / kWarp) {
            const i64 end = check < n_checks ? __ldg(starts + check + 1) : 0;
            u32 sum = 0;
#pragma unroll 4
            for (i64 k = check < n_checks ? __ldg(starts + check) : 0; k < end; ++k) {
                sum ^= planes[place_of(static_cast<u32>(__ldg(qubits + k)), kGroups, kTileGap) + lane];
            }
            sums[check * kGroups + lane] = sum;
        }
        __syncthreads();
        for (u32 column = threadIdx.x / kWarp; column < width; column += blockDim.x / kWarp) {
            u32 square[kWarp];
#pragma unroll
            for (u32 bit = 0; bit < kWarp; ++bit) square[bit] = sums[(column * kWarp + bit) * kGroups + lane];
            transpose_square(square);
            // An odd pitch: the lanes of a warp meet different banks.
            u32* to = planes + lane * pitch + column;
#pragma unroll
            for (u32 row = 0; row < kWarp; ++row) to[row * width] = square[row];
        }
        __syncthreads();
        for (u32 group = threadIdx.x / kWarp; group < kGroups; group += blockDim.x / kWarp) {
            const i64 first = first_shot + group * kWarp;
            const u32 n_halves = static_cast<u32>(smaller(kWarp, n_shots > first ? n_shots - first : 0)) * width;
            u32* to = reinterpret_cast<u32*>(out) + first * width;
            for (u32 i = lane; i < n_halves; i += kWarp) __stcs(to + i, planes[group * pitch + i]);
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
