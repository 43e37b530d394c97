// Splitting steps of driven, interacting atoms. `kernels/splitting.py` defines the results.
//
// A pass takes tiles of the state through shared memory. A tile holds all settings of the lowest
// index bits, so that device memory is met in long runs, and of some adjacent bits from `first` on;
// atoms of these bits lie inside it, the others outside. The phases of a stage are products: one
// factor per tile (atoms outside), one per atom inside (its shift, and what the atoms outside do to
// it), and a table of the interactions inside, the same for all tiles. So stages need the pairs of
// atoms and tables of a tile's size, and no array as large as the state.
//
// A turn exp(-i a X) is cos a (1 - i t X), t = tan a: two fused operations per amplitude; the
// cosines are part of the factor per tile. Turns of four atoms at a time stay in registers.
#include "complex.cuh"

constexpr u32 kMostTileBits = 12;
constexpr u32 kRoundBits = 4;
constexpr u32 kHalfBits = 6;  // a tile's factors are products of two tables of as many bits
constexpr u32 kMostIndexBits = 64;

// Where amplitude i of a tile lies in shared memory: threads that turn any four bits of a round, or
// that copy neighbours, meet different banks.
template <typename Real>
CQT_DEVICE u32 place_of(u32 i) {
    return sizeof(Real) == 8 ? i ^ (i >> 4 & 15) : i ^ (i >> 5 & 15) ^ (i >> 8 & 1) << 4;
}

// What the stages of all tiles of a pass share. Atoms are counted by index bit.
template <typename Real>
struct Pass {
    u32 n_index_bits, low, first, n_tile_bits;
    const double* interactions;      // rad/us, row per bit
    const double* waits;             // us, per stage
    const i64* wait_of;              // number of its wait, per stage
    const Complex<Real>* tables;     // exp(-i w E(i)), a row per wait: interactions inside a tile
    const double* shifts;            // rad, row per stage
    const Real* tangents;            // row per stage
    const double* cosines;           // product over the atoms, per stage
    double half_decay;               // 1/us

    CQT_DEVICE u32 index_bit(u32 tile_bit) const {
        return tile_bit < low ? tile_bit : first + tile_bit - low;
    }
    CQT_DEVICE i64 index_of(u32 i) const {
        return static_cast<i64>(i >> low) << first | (i & ((1u << low) - 1));
    }
};

struct Atoms {
    i64 excited;                     // index bits of the atoms outside that are in r
    double energies[kMostIndexBits]; // rad/us: of each of them with those of higher bits
    double fields[kMostTileBits];    // rad/us that they put on each atom inside
    Complex<double> factors[kMostTileBits + 1];  // of each atom inside; the last one of the tile
};

template <typename Real>
struct Factors {
    Complex<Real> lower[1 << kHalfBits], upper[1 << kHalfBits];
};

// What the atoms outside do, whatever the stage. Ends with a barrier.
template <typename Real>
CQT_DEVICE void look_outside(const Pass<Real>& pass, i64 excited, Atoms& atoms) {
    const u32 n = pass.n_index_bits;
    for (u32 k = threadIdx.x; k < n + pass.n_tile_bits; k += blockDim.x) {
        const u32 bit = k < n ? k : pass.index_bit(k - n);
        const i64 others = k < n ? excited >> k & 1 ? excited >> k >> 1 << k << 1 : 0 : excited;
        double sum = 0.0;
        for (u32 j = 0; j < n; ++j) {
            if (others >> j & 1) sum += __ldg(pass.interactions + bit * n + j);
        }
        (k < n ? atoms.energies[k] : atoms.fields[k - n]) = sum;
    }
    if (threadIdx.x == 0) atoms.excited = excited;
    __syncthreads();
}

CQT_DEVICE Complex<double> factor_of(double size, double angle) {
    double sine, cosine;
    sincos(angle, &sine, &cosine);
    return {size * cosine, size * sine};
}

// Writes the factors of a stage in one tile. Ends with a barrier.
template <typename Real>
CQT_DEVICE void prepare(const Pass<Real>& pass, i64 stage, Atoms& atoms, Factors<Real>& factors) {
    const u32 n = pass.n_index_bits, t = threadIdx.x;
    const double wait = __ldg(pass.waits + stage);
    const double* shifts = pass.shifts + stage * n;
    if (t < pass.n_tile_bits) {
        const double angle = __ldg(shifts + pass.index_bit(t)) - wait * atoms.fields[t];
        atoms.factors[t] = factor_of(exp(-pass.half_decay * wait), angle);
    } else if (t == kWarp) {  // of another warp than the atoms inside
        double energy = 0.0, shift = 0.0;
        for (u32 j = 0; j < n; ++j) {
            energy += atoms.energies[j];
            if (atoms.excited >> j & 1) shift += __ldg(shifts + j);
        }
        const double left = exp(-pass.half_decay * wait * __popcll(atoms.excited));
        atoms.factors[kMostTileBits] = factor_of(__ldg(pass.cosines + stage) * left, shift - wait * energy);
    }
    __syncthreads();
    if (t < 2u << kHalfBits) {
        const u32 half = t >> kHalfBits, set = t & ((1u << kHalfBits) - 1);
        Complex<double> product = half == 0 ? Complex<double>{1.0, 0.0} : atoms.factors[kMostTileBits];
        for (u32 b = 0; b < kHalfBits && half * kHalfBits + b < pass.n_tile_bits; ++b) {
            if (set >> b & 1) product = times(product, atoms.factors[half * kHalfBits + b]);
        }
        Complex<Real>* to = half == 0 ? factors.lower : factors.upper;
        to[set] = {static_cast<Real>(product.re), static_cast<Real>(product.im)};
    }
    __syncthreads();
}

// Turns the `kBits` atoms of tile bits from `first_bit` on; before it, where there is a table, the
// phases of the stage act. Ends with a barrier.
template <typename Real, int kBits>
CQT_DEVICE void turn(Real* x, Real* y, u32 n_tile, u32 first_bit, const Real* tangents, const Complex<Real>* table, const Factors<Real>& factors) {
    constexpr int kSize = 1 << kBits;
    for (u32 g = threadIdx.x; g < n_tile >> kBits; g += blockDim.x) {
        const u32 start = (g >> first_bit << (first_bit + kBits)) | (g & ((1u << first_bit) - 1));
        Complex<Real> a[kSize];
#pragma unroll
        for (int j = 0; j < kSize; ++j) {
            const u32 i = start | static_cast<u32>(j) << first_bit, at = place_of<Real>(i);
            a[j] = {x[at], y[at]};
            if (table == nullptr) continue;
            const Complex<Real> outer = times(factors.upper[i >> kHalfBits], factors.lower[i & ((1u << kHalfBits) - 1)]);
            a[j] = times(a[j], times(table[i], outer));
        }
#pragma unroll
        for (int b = 0; b < kBits; ++b) {
            const Real t = __ldg(tangents + b);
#pragma unroll
            for (int j = 0; j < kSize; ++j) {
                if ((j >> b & 1) != 0) continue;
                const Complex<Real> p = a[j], q = a[j | 1 << b];
                a[j] = {p.re + t * q.im, p.im - t * q.re};
                a[j | 1 << b] = {q.re + t * p.im, q.im - t * p.re};
            }
        }
#pragma unroll
        for (int j = 0; j < kSize; ++j) {
            const u32 at = place_of<Real>(start | static_cast<u32>(j) << first_bit);
            x[at] = a[j].re;
            y[at] = a[j].im;
        }
    }
    __syncthreads();
}

// One stage in one tile: its phases, where there is a table, and the turns of the atoms inside;
// those of the lowest bits belong to the pass whose other bits follow them. The phases act with the
// highest bits, where threads next to each other read the table next to each other.
template <typename Real>
CQT_DEVICE void act(const Pass<Real>& pass, i64 stage, Real* x, Real* y, const Complex<Real>* table, const Factors<Real>& factors) {
    const u32 n_bits = pass.n_tile_bits, n_tile = 1u << n_bits;
    const u32 lowest = pass.first == pass.low ? 0 : pass.low;
    for (u32 end = n_bits; end > lowest;) {
        const u32 begin = (end - 1) / kRoundBits * kRoundBits;
        const Real* tangents = pass.tangents + stage * pass.n_index_bits + pass.index_bit(begin);
        switch (end - begin) {
            case 4: turn<Real, 4>(x, y, n_tile, begin, tangents, table, factors); break;
            case 3: turn<Real, 3>(x, y, n_tile, begin, tangents, table, factors); break;
            case 2: turn<Real, 2>(x, y, n_tile, begin, tangents, table, factors); break;
            default: turn<Real, 1>(x, y, n_tile, begin, tangents, table, factors);
        }
        table = nullptr;
        end = begin;
    }
}

// Stages `begin` ... `end` - 1 on all tiles; of the first one the turns alone, if it `resumes`.
template <typename Real>
CQT_DEVICE void run(const Pass<Real>& pass, Real* real, Real* imag, i64 begin, i64 end, bool resumes, Real* x) {
    __shared__ Atoms atoms;
    __shared__ Factors<Real> factors;
    const u32 n_tile = 1u << pass.n_tile_bits, n_between = pass.first - pass.low;
    const u32 n_adjacent = pass.n_tile_bits - pass.low;
    const i64 n_tiles = 1ll << (pass.n_index_bits - pass.n_tile_bits);
    Real* y = x + n_tile;
    for (i64 tile = blockIdx.x; tile < n_tiles; tile += gridDim.x) {
        // Index bits from the top: what lies above the adjacent bits, those, what lies between, low.
        const i64 above = tile >> n_between, between = tile & ((1ll << n_between) - 1);
        const i64 base = above << (pass.first + n_adjacent) | between << pass.low;
        for (u32 i = threadIdx.x; i < n_tile; i += blockDim.x) {
            const i64 from = base | pass.index_of(i);
            x[place_of<Real>(i)] = real[from];
            y[place_of<Real>(i)] = imag[from];
        }
        look_outside(pass, base, atoms);
        for (i64 stage = begin; stage < end; ++stage) {
            const bool has_phases = stage > begin || !resumes;
            if (has_phases) prepare(pass, stage, atoms, factors);
            const Complex<Real>* table = pass.tables + __ldg(pass.wait_of + stage) * n_tile;
            act(pass, stage, x, y, has_phases ? table : nullptr, factors);
        }
        for (u32 i = threadIdx.x; i < n_tile; i += blockDim.x) {
            const i64 to = base | pass.index_of(i);
            real[to] = x[place_of<Real>(i)];
            imag[to] = y[place_of<Real>(i)];
        }  // each thread loads what it has stored: no barrier
    }
}

#define KERNELS_OF(Real, suffix)                                                                 \
    CQT_KERNEL(256, 2) stages_##suffix(Real* real, Real* imag, i64 n_index_bits, i64 low, i64 first, i64 n_tile_bits, i64 begin, i64 end, i64 resumes, const double* interactions, const double* waits, const i64* wait_of, const Complex<Real>* tables, const double* shifts, const Real* tangents, const double* cosines, double half_decay) { \
        CQT_DYNAMIC_SHARED(Real, tile);                                                          \
        const Pass<Real> pass{static_cast<u32>(n_index_bits), static_cast<u32>(low), static_cast<u32>(first), static_cast<u32>(n_tile_bits), interactions, waits, wait_of, tables, shifts, tangents, cosines, half_decay}; \
        run<Real>(pass, real, imag, begin, end, resumes != 0, tile);                             \
    }

KERNELS_OF(float, c64)
KERNELS_OF(double, c128)
