// One value per shot. `kernels/reference/observables.py` defines the results.
#include "bits.cuh"

// Rows of a block's shots in shared memory, half-words of one shot 256 apart: the lanes of a warp
// read neighbours. Where a row is too long for that, they are read in place.
struct Rows {
    const u32* halves;
    i64 stride;
};

CQT_DEVICE u32 bit_of(const Rows& rows, i64 qubit) {
    return rows.halves[qubit / 32 * rows.stride] >> qubit % 32 & 1u;
}

// Rows of the shots from `first` on. By all threads of the block; ends with a barrier.
CQT_DEVICE Rows rows_of(const u64* shots, i64 n_shots, i64 n_words, i64 first, u32* shared) {
    const u32* halves = reinterpret_cast<const u32*>(shots);
    const i64 shot = smaller(first + threadIdx.x, n_shots - 1);
    if (shared == nullptr) {
        return {halves + shot * 2 * n_words, 1};
    }
    const u32 n_halves = static_cast<u32>(2 * n_words), n_total = blockDim.x * n_halves;
    const i64 end = (n_shots - first) * n_halves;
    __syncthreads();  // whoever still reads the rows before
    for (u32 i = threadIdx.x; i < n_total && i < end; i += blockDim.x) {
        const u32 row = i / n_halves;
        shared[(i - row * n_halves) * blockDim.x + row] = __ldcs(halves + first * n_halves + i);
    }
    __syncthreads();
    return {shared + (shot - first), blockDim.x};
}

#define FOR_EACH_SHOT(rows, shot)                                                                \
    CQT_DYNAMIC_SHARED(u32, cqt_rows);                                                           \
    for (i64 cqt_first = static_cast<i64>(blockIdx.x) * blockDim.x; cqt_first < n_shots;         \
         cqt_first += thread_count())                                                            \
        if (const Rows rows = rows_of(shots, n_shots, n_words, cqt_first,                        \
                                      is_shared ? cqt_rows : nullptr);                           \
            true)                                                                                \
            if (const i64 shot = cqt_first + threadIdx.x; true)

// values = constant + sum fields[k] x_k + sum weights[e] (x_i op x_j), where x is 1 - 2 bit and op
// the product (kind 0), or x is the bit and op "different" (kind 1) or "both" (kind 2).
CQT_KERNEL(256, 4) pair_values(const u64* shots, i64 n_shots, i64 n_words, i64 is_shared, const i64* pairs, const double* weights, i64 n_pairs, const double* fields, i64 n_fields, i64 kind, double* values, double constant) {
    FOR_EACH_SHOT(rows, shot) {
        double sum = constant;
        for (i64 k = 0; k < n_fields; ++k) {
            const u32 bit = bit_of(rows, k);
            const double field = __ldg(fields + k);
            sum += kind == 0 ? (bit ? -field : field) : (bit ? field : 0.0);
        }
        for (i64 e = 0; e < n_pairs; ++e) {
            const u32 a = bit_of(rows, __ldg(pairs + 2 * e)), b = bit_of(rows, __ldg(pairs + 2 * e + 1));
            const double weight = __ldg(weights + e);
            const bool is_on = (kind == 2 ? a & b : a ^ b) != 0;
            sum += kind == 0 ? (is_on ? -weight : weight) : (is_on ? weight : 0.0);
        }
        if (shot < n_shots) values[shot] = sum;
    }
}

// Ones of each shot (where `sizes` is not null), and pairs of which both are 1.
CQT_KERNEL(256, 4) pair_counts(const u64* shots, i64 n_shots, i64 n_words, i64 is_shared, const i64* pairs, i64 n_pairs, i64* sizes, i64* counts) {
    FOR_EACH_SHOT(rows, shot) {
        u32 n_both = 0, n_ones = 0;
        for (i64 e = 0; e < n_pairs; ++e) {
            n_both += bit_of(rows, __ldg(pairs + 2 * e)) & bit_of(rows, __ldg(pairs + 2 * e + 1));
        }
        for (i64 k = 0; sizes != nullptr && k < 2 * n_words; ++k) {
            n_ones += __popc(rows.halves[k * rows.stride]);
        }
        if (shot < n_shots) {
            counts[shot] = n_both;
            if (sizes != nullptr) sizes[shot] = n_ones;
        }
    }
}

// Whether a row has an odd number of ones under a mask.
CQT_DEVICE bool is_odd(const Rows& rows, const u64* mask, i64 n_words) {
    const u32* halves = reinterpret_cast<const u32*>(mask);
    u32 word = 0;
    for (i64 k = 0; k < 2 * n_words; ++k) word ^= rows.halves[k * rows.stride] & __ldg(halves + k);
    return (__popc(word) & 1) != 0;
}

// values = constant + sum of weights, each with the sign of its parity.
CQT_KERNEL(256, 4) mask_values(const u64* shots, i64 n_shots, i64 n_words, i64 is_shared, const u64* masks, const double* weights, i64 n_terms, double* values, double constant) {
    FOR_EACH_SHOT(rows, shot) {
        double sum = constant;
        for (i64 t = 0; t < n_terms; ++t) {
            const double weight = __ldg(weights + t);
            sum += is_odd(rows, masks + t * n_words, n_words) ? -weight : weight;
        }
        if (shot < n_shots) values[shot] = sum;
    }
}

// Shots of odd parity per mask, added to counts i64[n_terms]; at most kTermsPerPass masks a pass.
constexpr i64 kTermsPerPass = 1024;

CQT_KERNEL(256, 4) odd_counts(const u64* shots, i64 n_shots, i64 n_words, i64 is_shared, const u64* masks, i64 n_terms, i64* counts) {
    __shared__ u32 odd[kTermsPerPass];
    for (i64 t = threadIdx.x; t < kTermsPerPass; t += blockDim.x) odd[t] = 0;
    __syncthreads();
    FOR_EACH_SHOT(rows, shot) {
        for (i64 t = 0; t < n_terms; ++t) {
            const bool vote = shot < n_shots && is_odd(rows, masks + t * n_words, n_words);
            const u32 votes = __ballot_sync(kAllLanes, vote);
            if (lane_id() == 0 && votes != 0) atomicAdd(odd + t, static_cast<u32>(__popc(votes)));
        }
    }
    __syncthreads();
    for (i64 t = threadIdx.x; t < n_terms; t += blockDim.x) {
        if (odd[t] != 0) add_to(counts + t, odd[t]);
    }
}
