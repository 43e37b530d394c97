// Words of bits on a device: no header is included, so that nvcc, NVRTC and a C++ compiler that
// gets the names of CUDA from elsewhere (the tests do that) read the same text.
#ifndef CUDAQ_TARGET_BITS_CUH
#define CUDAQ_TARGET_BITS_CUH

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

#define CQT_DEVICE __device__ __forceinline__
#define CQT_KERNEL(n_threads, n_blocks) extern "C" __global__ void __launch_bounds__(n_threads, n_blocks)

#ifdef __CUDACC__
#define CQT_DYNAMIC_SHARED(Type, name)             \
    extern __shared__ __align__(16) u8 cqt_shared[]; \
    Type* name = reinterpret_cast<Type*>(cqt_shared)
#endif

constexpr u32 kWarp = 32;
constexpr u32 kAllLanes = 0xFFFFFFFFu;

CQT_DEVICE u32 lane_id() { return threadIdx.x & (kWarp - 1); }
CQT_DEVICE i64 thread_index() { return static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; }
CQT_DEVICE i64 thread_count() { return static_cast<i64>(gridDim.x) * blockDim.x; }
CQT_DEVICE i64 smaller(i64 a, i64 b) { return a < b ? a : b; }

// Quotient of numbers that are not negative; 64-bit division takes several times as long.
CQT_DEVICE i64 quotient(i64 a, i64 b) {
    return (a | b) >> 32 == 0 ? static_cast<i64>(static_cast<u32>(a) / static_cast<u32>(b)) : a / b;
}

// Adds to a counter that other blocks add to as well.
CQT_DEVICE void add_to(i64* counter, u64 value) {
    atomicAdd(reinterpret_cast<u64*>(counter), value);
}

// Full adder of 64 one-bit numbers: `sum` takes the parity, the return value is the carry.
CQT_DEVICE u64 full_add(u64& sum, u64 b, u64 c) {
    const u64 u = sum ^ b;
    const u64 carry = (sum & b) | (u & c);
    sum = u ^ c;
    return carry;
}

// 64 counters of `kPlanes` bits, one per bit position: plane p holds their bits of weight 2^p.
constexpr int kPlanes = 12;

struct BitCounter {
    u64 planes[kPlanes];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int p = 0; p < kPlanes; ++p) planes[p] = 0;
    }
    // Adds `carry` at weight 2^kFirst. Straight-line code: a loop that ends with the last carry
    // would index registers at run time, and lanes would wait for each other anyway.
    template <int kFirst>
    __device__ __forceinline__ void ripple(u64 carry) {
#pragma unroll
        for (int p = kFirst; p < kPlanes; ++p) {
            const u64 next = planes[p] & carry;
            planes[p] ^= carry;
            carry = next;
        }
    }
    // Eight words through three levels of adders; returns the carry of weight 8.
    __device__ __forceinline__ u64 add8(const u64* w) {
        const u64 a = full_add(planes[0], w[0], w[1]);
        const u64 b = full_add(planes[0], w[2], w[3]);
        const u64 c = full_add(planes[0], w[4], w[5]);
        const u64 d = full_add(planes[0], w[6], w[7]);
        const u64 e = full_add(planes[1], a, b);
        const u64 f = full_add(planes[1], c, d);
        return full_add(planes[2], e, f);
    }
    __device__ __forceinline__ u32 count(int half, u32 bit) const {
        u32 sum = 0;
#pragma unroll
        for (int p = 0; p < kPlanes; ++p) {
            const u32 word = static_cast<u32>(half ? planes[p] >> 32 : planes[p]);
            sum |= (word >> bit & 1u) << p;
        }
        return sum;
    }
};

// One step of transposing 32x32 bits that lie one row per lane: blocks of `kStep` bits change
// places with the lane that differs in `kStep`. Rotating brings them in place either way.
template <u32 kStep, u32 kLow>
CQT_DEVICE u32 transpose_step(u32 row, u32 lane) {
    const u32 other = __shfl_xor_sync(kAllLanes, row, kStep);
    const bool is_lower = (lane & kStep) == 0;
    const u32 keep = is_lower ? kLow : ~kLow;
    const u32 turned = __funnelshift_l(other, other, is_lower ? kStep : kWarp - kStep);
    return (row & keep) | (turned & ~keep);
}

CQT_DEVICE u32 transpose32(u32 row, u32 lane) {
    row = transpose_step<16, 0x0000FFFFu>(row, lane);
    row = transpose_step<8, 0x00FF00FFu>(row, lane);
    row = transpose_step<4, 0x0F0F0F0Fu>(row, lane);
    row = transpose_step<2, 0x33333333u>(row, lane);
    return transpose_step<1, 0x55555555u>(row, lane);
}

// Transposes 64x64 bits in a warp: lane l holds rows l and l + 32, and columns l and l + 32 after.
CQT_DEVICE void transpose64(u64& low, u64& high, u32 lane) {
    const u32 a = transpose32(static_cast<u32>(low), lane);
    const u32 b = transpose32(static_cast<u32>(low >> 32), lane);
    const u32 c = transpose32(static_cast<u32>(high), lane);
    const u32 d = transpose32(static_cast<u32>(high >> 32), lane);
    low = a | static_cast<u64>(c) << 32;
    high = b | static_cast<u64>(d) << 32;
}

// Eight bits as eight bytes of 0 and 1, the lowest bit in the lowest byte.
CQT_DEVICE u64 bits_to_bytes(u32 bits) {
    // Copies the bits to all bytes and keeps bit k of byte k; adding 0x7F carries it to bit 7.
    const u64 spread = (bits & 0xFFu) * 0x0101010101010101ull & 0x8040201008040201ull;
    return (spread + 0x7F7F7F7F7F7F7F7Full) >> 7 & 0x0101010101010101ull;
}

// Finaliser of MurmurHash3 (public domain): every bit of the input reaches every bit of the output.
CQT_DEVICE u64 mix(u64 h) {
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDull;
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53ull;
    return h ^ h >> 33;
}

#endif
