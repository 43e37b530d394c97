// State vectors of levels. `kernels/statevector.py` defines the results.
//
// Each kernel exists for complex64 and complex128: the suffix says which.
#include "complex.cuh"

// Index of the `row`-th setting of the sites that a block leaves alone. Segments are rows of
// (settings, stride before, stride after), the last one least significant.
CQT_DEVICE void place(i64 row, const i64* segments, i64 n_segments, i64& from, i64& to) {
    from = to = 0;
    for (i64 s = n_segments - 1; s >= 0; --s) {
        const i64 size = __ldg(segments + 3 * s), above = quotient(row, size);
        from += (row - above * size) * __ldg(segments + 3 * s + 1);
        to += (row - above * size) * __ldg(segments + 3 * s + 2);
        row = above;
    }
}

// A square block of fixed size, in place: amplitudes and sums stay in registers.
template <typename Real, int kSize>
CQT_DEVICE void block_of(Complex<Real>* state, const Complex<Real>* matrix, const i64* offsets, const i64* segments, i64 n_segments, i64 n_rows) {
    __shared__ Complex<Real> m[kSize * kSize];
    for (u32 i = threadIdx.x; i < kSize * kSize; i += blockDim.x) m[i] = matrix[i];
    __syncthreads();
    for (i64 row = thread_index(); row < n_rows; row += thread_count()) {
        i64 from, to;
        place(row, segments, n_segments, from, to);
        Complex<Real> old[kSize];
#pragma unroll
        for (int j = 0; j < kSize; ++j) old[j] = state[from + __ldg(offsets + j)];
#pragma unroll
        for (int i = 0; i < kSize; ++i) {
            Complex<Real> sum{0, 0};
#pragma unroll
            for (int j = 0; j < kSize; ++j) add_product(sum, m[i * kSize + j], old[j]);
            state[from + __ldg(offsets + i)] = sum;
        }
    }
}

// Any block, to another array.
template <typename Real>
CQT_DEVICE void block_any(Complex<Real>* out, const Complex<Real>* state, const Complex<Real>* matrix, i64 n_out, i64 n_in, const i64* in_offsets, const i64* out_offsets, const i64* segments, i64 n_segments, i64 n_rows) {
    for (i64 k = thread_index(); k < n_rows * n_out; k += thread_count()) {
        const i64 i = quotient(k, n_rows), row = k - i * n_rows;  // neighbours: one row of the matrix
        i64 from, to;
        place(row, segments, n_segments, from, to);
        Complex<Real> sum{0, 0};
        for (i64 j = 0; j < n_in; ++j) {
            add_product(sum, matrix[i * n_in + j], state[from + __ldg(in_offsets + j)]);
        }
        out[to + __ldg(out_offsets + i)] = sum;
    }
}

// state *= factors[joint level of the sites], sites with their strides and levels.
template <typename Real>
CQT_DEVICE void diagonal_of(Complex<Real>* state, i64 size, const Complex<Real>* factors, const i64* strides, const i64* levels, i64 n_sites) {
    for (i64 k = thread_index(); k < size; k += thread_count()) {
        i64 level = 0;
        for (i64 s = 0; s < n_sites; ++s) {
            const i64 n_levels = __ldg(levels + s), digits = quotient(k, __ldg(strides + s));
            level = level * n_levels + (digits - quotient(digits, n_levels) * n_levels);
        }
        state[k] = times(factors[level], state[k]);
    }
}

// A 2x2 matrix for each of some qubits in one pass over the state. A tile holds 2^(low + n_bits)
// amplitudes: all settings of the lowest `low` index bits, so that device memory is met in long
// runs, and of `n_bits` adjacent index bits from `first` on. Matrix b acts on index bit b, if bit b
// of `used` is set.
constexpr int kTileBits = 11;

template <typename Real>
CQT_DEVICE void rotate_tile(Complex<Real>* state, i64 n_index_bits, i64 low, i64 first, i64 n_bits, const Complex<Real>* matrices, i64 used, Complex<Real>* tile) {
    const i64 n_tile_bits = low + n_bits;
    const u32 n_tile = 1u << n_tile_bits, n_low = 1u << low;
    const i64 n_tiles = 1ll << (n_index_bits - n_tile_bits);
    for (i64 index = blockIdx.x; index < n_tiles; index += gridDim.x) {
        // Index bits from the top: what lies above the adjacent bits, those, what lies between, low.
        const i64 n_between = first - low;
        const i64 above = index >> n_between, between = index & ((1ll << n_between) - 1);
        Complex<Real>* base = state + (above << (first + n_bits) | between << low);
        for (u32 i = threadIdx.x; i < n_tile; i += blockDim.x) {
            tile[i] = base[static_cast<i64>(i >> low) << first | (i & (n_low - 1))];
        }
        __syncthreads();
        for (i64 t = 0; t < n_tile_bits; ++t) {
            const i64 bit = t < low ? t : first + t - low;
            if ((used >> bit & 1) == 0) continue;
            const Complex<Real>* m = matrices + 4 * bit;
            for (u32 i = threadIdx.x; i < n_tile / 2; i += blockDim.x) {
                const u32 a = (i >> t << (t + 1)) | (i & ((1u << t) - 1)), b = a | 1u << t;
                const Complex<Real> x = tile[a], y = tile[b];
                Complex<Real> p = times(m[0], x), q = times(m[2], x);
                add_product(p, m[1], y);
                add_product(q, m[3], y);
                tile[a] = p;
                tile[b] = q;
            }
            __syncthreads();
        }
        for (u32 i = threadIdx.x; i < n_tile; i += blockDim.x) {
            base[static_cast<i64>(i >> low) << first | (i & (n_low - 1))] = tile[i];
        }
        __syncthreads();
    }
}

// A matrix for one site, chosen by the sum of two patterns: left[what lies above the site] and
// right[what lies below it]. A thread makes one amplitude of another array.
template <typename Real>
CQT_DEVICE void conditional_of(Complex<Real>* out, const Complex<Real>* state, const Complex<Real>* matrices, i64 n_out, i64 n_in, i64 stride, const i64* left, const i64* right, i64 size) {
    for (i64 k = thread_index(); k < size; k += thread_count()) {
        const i64 row = quotient(k, stride), below = k - row * stride;
        const i64 above = quotient(row, n_out), level = row - above * n_out;
        const i64 pattern = __ldg(left + above) + __ldg(right + below);
        const Complex<Real>* m = matrices + (pattern * n_out + level) * n_in;
        const Complex<Real>* from = state + above * n_in * stride + below;
        Complex<Real> sum{0, 0};
        for (i64 j = 0; j < n_in; ++j) add_product(sum, m[j], from[j * stride]);
        out[k] = sum;
    }
}

template <typename Real>
CQT_DEVICE double square_of(Complex<Real> a) {
    return static_cast<double>(a.re) * a.re + static_cast<double>(a.im) * a.im;
}

// Sum over the threads of a block, in an order that is always the same; thread 0 has it. Ends with
// a barrier, so that `scratch` may be used again.
CQT_DEVICE double block_sum(double value, double* scratch) {
    scratch[threadIdx.x] = value;
    for (u32 width = blockDim.x / 2; width > 0; width /= 2) {
        __syncthreads();
        if (threadIdx.x < width) scratch[threadIdx.x] += scratch[threadIdx.x + width];
    }
    __syncthreads();
    const double sum = scratch[0];
    __syncthreads();
    return sum;
}

// weights[b] = sum of |amplitude|^2 of bucket b.
template <typename Real>
CQT_DEVICE void weights_of(const Complex<Real>* state, i64 size, i64 bucket, double* weights) {
    __shared__ double scratch[256];
    const i64 n_buckets = (size + bucket - 1) / bucket;
    for (i64 b = blockIdx.x; b < n_buckets; b += gridDim.x) {
        double sum = 0.0;
        const i64 end = smaller(size, (b + 1) * bucket);
        for (i64 k = b * bucket + threadIdx.x; k < end; k += blockDim.x) sum += square_of(state[k]);
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) weights[b] = sum;
    }
}

// sums[block, level] of |amplitude|^2 by the level of one site.
template <typename Real>
CQT_DEVICE void populations_of(const Complex<Real>* state, i64 size, i64 stride, i64 n_levels, double* sums) {
    __shared__ double scratch[256];
    for (i64 level = 0; level < n_levels; ++level) {
        double sum = 0.0;
        const i64 n = size / n_levels;
        for (i64 k = thread_index(); k < n; k += thread_count()) {
            const i64 above = quotient(k, stride);
            sum += square_of(state[(above * n_levels + level) * stride + (k - above * stride)]);
        }
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) sums[blockIdx.x * n_levels + level] = sum;
    }
}

// sums[block] of conj(state[k ^ x]) state[k] (-1)^|k & z|, real and imaginary part.
template <typename Real>
CQT_DEVICE void pauli_of(const Complex<Real>* state, i64 size, i64 x_mask, i64 z_mask, double* sums) {
    __shared__ double scratch[256];
    double re = 0.0, im = 0.0;
    for (i64 k = thread_index(); k < size; k += thread_count()) {
        const Complex<Real> a = state[k], b = state[k ^ x_mask];
        const double sign = (__popcll(k & z_mask) & 1) != 0 ? -1.0 : 1.0;
        re += sign * (static_cast<double>(b.re) * a.re + static_cast<double>(b.im) * a.im);
        im += sign * (static_cast<double>(b.re) * a.im - static_cast<double>(b.im) * a.re);
    }
    re = block_sum(re, scratch);
    im = block_sum(im, scratch);
    if (threadIdx.x == 0) {
        sums[2 * blockIdx.x] = re;
        sums[2 * blockIdx.x + 1] = im;
    }
}

#define KERNELS_OF(Real, suffix)                                                                 \
    CQT_KERNEL(256, 2) block2_##suffix(Complex<Real>* state, const Complex<Real>* matrix, const i64* offsets, const i64* segments, i64 n_segments, i64 n_rows) { \
        block_of<Real, 2>(state, matrix, offsets, segments, n_segments, n_rows);                 \
    }                                                                                            \
    CQT_KERNEL(256, 2) block4_##suffix(Complex<Real>* state, const Complex<Real>* matrix, const i64* offsets, const i64* segments, i64 n_segments, i64 n_rows) { \
        block_of<Real, 4>(state, matrix, offsets, segments, n_segments, n_rows);                 \
    }                                                                                            \
    CQT_KERNEL(256, 2) block8_##suffix(Complex<Real>* state, const Complex<Real>* matrix, const i64* offsets, const i64* segments, i64 n_segments, i64 n_rows) { \
        block_of<Real, 8>(state, matrix, offsets, segments, n_segments, n_rows);                 \
    }                                                                                            \
    CQT_KERNEL(256, 2) block_##suffix(Complex<Real>* out, const Complex<Real>* state, const Complex<Real>* matrix, i64 n_out, i64 n_in, const i64* in_offsets, const i64* out_offsets, const i64* segments, i64 n_segments, i64 n_rows) { \
        block_any<Real>(out, state, matrix, n_out, n_in, in_offsets, out_offsets, segments, n_segments, n_rows); \
    }                                                                                            \
    CQT_KERNEL(256, 4) diagonal_##suffix(Complex<Real>* state, i64 size, const Complex<Real>* factors, const i64* strides, const i64* levels, i64 n_sites) { \
        diagonal_of<Real>(state, size, factors, strides, levels, n_sites);                       \
    }                                                                                            \
    CQT_KERNEL(256, 4) rotate_##suffix(Complex<Real>* state, i64 n_index_bits, i64 low, i64 first, i64 n_bits, const Complex<Real>* matrices, i64 used) { \
        __shared__ Complex<Real> tile[1 << kTileBits];                                           \
        rotate_tile<Real>(state, n_index_bits, low, first, n_bits, matrices, used, tile);        \
    }                                                                                            \
    CQT_KERNEL(256, 4) conditional_##suffix(Complex<Real>* out, const Complex<Real>* state, const Complex<Real>* matrices, i64 n_out, i64 n_in, i64 stride, const i64* left, const i64* right, i64 size) { \
        conditional_of<Real>(out, state, matrices, n_out, n_in, stride, left, right, size);      \
    }                                                                                            \
    CQT_KERNEL(256, 4) weights_##suffix(const Complex<Real>* state, i64 size, i64 bucket, double* weights) { \
        weights_of<Real>(state, size, bucket, weights);                                          \
    }                                                                                            \
    CQT_KERNEL(256, 4) populations_##suffix(const Complex<Real>* state, i64 size, i64 stride, i64 n_levels, double* sums) { \
        populations_of<Real>(state, size, stride, n_levels, sums);                               \
    }                                                                                            \
    CQT_KERNEL(256, 4) pauli_##suffix(const Complex<Real>* state, i64 size, i64 x_mask, i64 z_mask, double* sums) { \
        pauli_of<Real>(state, size, x_mask, z_mask, sums);                                       \
    }

KERNELS_OF(float, c64)
KERNELS_OF(double, c128)
