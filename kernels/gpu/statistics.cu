// Counts over packed shots. `kernels/reference/statistics.py` defines the results.
#include "bits.cuh"

// Adds the 64 counts of a column of words to `counters`, in shared or in device memory.
template <typename Counter>
CQT_DEVICE void flush(const BitCounter& counter, Counter* counters) {
    const u32 lane = lane_id();
    for (int half = 0; half < 2; ++half) {
#pragma unroll 4
        for (u32 i = 0; i < kWarp; ++i) {
            // Lanes start at different bits: those of one column never meet at one address.
            const u32 bit = (i + lane) & (kWarp - 1);
            const u32 count = counter.count(half, bit);
            if (count != 0) atomicAdd(counters + half * kWarp + bit, static_cast<Counter>(count));
        }
    }
}

CQT_DEVICE void count_word(u64 word, i64 column, i64* counts) {
    if (threadIdx.x < 64 && (word >> threadIdx.x & 1) != 0) add_to(counts + column * 64 + threadIdx.x, 1);
}

// Counts of ones per bit, added to counts i64[64 * n_words].
//
// The words are one stream of pairs, read 16 bytes at a time. A thread steps by a multiple of the
// row, so that it meets the same two columns again and again, and counts them by adders of 64
// one-bit numbers; 4080 rows later it hands its counts over. `n_active` threads take part, a
// multiple of the pairs that the pattern of columns repeats after. `is_shared` says whether the
// counters of a block fit in its shared memory.
CQT_KERNEL(256, 2) occupation(const u64* words, i64 n_total, i64 n_words, i64 n_active, i64 is_shared, i64* counts) {
    CQT_DYNAMIC_SHARED(u32, shared);
    const i64 n_counters = 64 * n_words;
    if (is_shared) {
        for (i64 i = threadIdx.x; i < n_counters; i += blockDim.x) shared[i] = 0;
        __syncthreads();
    }
    // Rows of a view may start between two pairs.
    const i64 head = reinterpret_cast<u64>(words) / sizeof(u64) % 2;
    const ulonglong2* pairs = reinterpret_cast<const ulonglong2*>(words + head);
    const i64 n_pairs = n_total > head ? (n_total - head) / 2 : 0;
    const i64 thread = thread_index();
    const i64 column_a = (head + 2 * thread) % n_words, column_b = (column_a + 1) % n_words;
    BitCounter a, b;
    for (i64 at = thread; at < n_pairs && thread < n_active;) {
        a.clear();
        b.clear();
        int n_groups = 0;
        for (; n_groups < 255 && at + 15 * n_active < n_pairs; ++n_groups) {
            u64 eights_a[2], eights_b[2];
#pragma unroll
            for (int part = 0; part < 2; ++part, at += 8 * n_active) {
                u64 x[8], y[8];
#pragma unroll
                for (int k = 0; k < 8; ++k) {
                    const ulonglong2 pair = __ldcs(pairs + at + k * n_active);
                    x[k] = pair.x;
                    y[k] = pair.y;
                }
                eights_a[part] = a.add8(x);
                eights_b[part] = b.add8(y);
            }
            a.ripple<4>(full_add(a.planes[3], eights_a[0], eights_a[1]));
            b.ripple<4>(full_add(b.planes[3], eights_b[0], eights_b[1]));
        }
        for (; n_groups < 255 && at < n_pairs; at += n_active) {
            const ulonglong2 pair = pairs[at];
            a.ripple<0>(pair.x);
            b.ripple<0>(pair.y);
        }
        if (is_shared) {
            flush(a, shared + column_a * 64);
            flush(b, shared + column_b * 64);
        } else {
            flush(a, reinterpret_cast<u64*>(counts) + column_a * 64);
            flush(b, reinterpret_cast<u64*>(counts) + column_b * 64);
        }
    }
    if (blockIdx.x == 0) {
        if (head == 1 && n_total > 0) count_word(words[0], 0, counts);
        if (head + 2 * n_pairs < n_total) count_word(words[n_total - 1], n_words - 1, counts);
    }
    if (is_shared) {
        __syncthreads();
        for (i64 i = threadIdx.x; i < n_counters; i += blockDim.x) {
            if (shared[i] != 0) add_to(counts + i, shared[i]);
        }
    }
}

// Shots that have bits i and j both set, added to counts i64[n_bits, n_bits].
//
// A block takes 64x64 pairs and every n_splits-th stretch of 32 plane words; a thread takes 4x4
// pairs, so that a word from shared memory serves four of them.
constexpr i64 kPairTile = 64;
constexpr i64 kStretch = 32;

CQT_DEVICE void read_planes(const u64* planes, i64 n_bits, i64 n_groups, i64 first_bit, i64 first_group, u64* tile) {
    for (i64 i = threadIdx.x; i < kPairTile * kStretch; i += blockDim.x) {
        const i64 row = i / kStretch, column = i % kStretch;
        const i64 bit = first_bit + row, group = first_group + column;
        tile[row * (kStretch + 1) + column] =
            bit < n_bits && group < n_groups ? planes[bit * n_groups + group] : 0;
    }
}

CQT_KERNEL(256, 2) pair_correlations(const u64* planes, i64 n_bits, i64 n_groups, i64 n_splits, i64* counts) {
    __shared__ u64 rows[kPairTile * (kStretch + 1)];
    __shared__ u64 columns[kPairTile * (kStretch + 1)];
    const i64 n_tiles = (n_bits + kPairTile - 1) / kPairTile;
    // Tiles of the upper triangle, row by row.
    i64 tile = blockIdx.x / n_splits, tile_i = 0;
    while (tile >= n_tiles - tile_i) tile -= n_tiles - tile_i++;
    const i64 tile_j = tile_i + tile;
    const u32 u = threadIdx.x / 16, v = threadIdx.x % 16;
    u64 sums[4][4] = {};
    for (i64 stretch = blockIdx.x % n_splits; stretch * kStretch < n_groups; stretch += n_splits) {
        read_planes(planes, n_bits, n_groups, tile_i * kPairTile, stretch * kStretch, rows);
        read_planes(planes, n_bits, n_groups, tile_j * kPairTile, stretch * kStretch, columns);
        __syncthreads();
        u32 part[4][4] = {};
#pragma unroll 2
        for (i64 k = 0; k < kStretch; ++k) {
            u64 x[4], y[4];
#pragma unroll
            for (u32 m = 0; m < 4; ++m) {
                x[m] = rows[(u + 16 * m) * (kStretch + 1) + k];
                y[m] = columns[(v + 16 * m) * (kStretch + 1) + k];
            }
#pragma unroll
            for (u32 m = 0; m < 4; ++m) {
#pragma unroll
                for (u32 n = 0; n < 4; ++n) part[m][n] += __popcll(x[m] & y[n]);
            }
        }
        for (u32 m = 0; m < 4; ++m) {
            for (u32 n = 0; n < 4; ++n) sums[m][n] += part[m][n];
        }
        __syncthreads();
    }
    for (u32 m = 0; m < 4; ++m) {
        for (u32 n = 0; n < 4; ++n) {
            const i64 i = tile_i * kPairTile + u + 16 * m, j = tile_j * kPairTile + v + 16 * n;
            if (i >= n_bits || j >= n_bits || sums[m][n] == 0) continue;
            add_to(counts + i * n_bits + j, sums[m][n]);
            if (tile_i != tile_j) add_to(counts + j * n_bits + i, sums[m][n]);
        }
    }
}

CQT_DEVICE u64 hash_row(const u64* row, i64 n_words) {
    u64 hash = 0x9E3779B97F4A7C15ull;
    for (i64 word = 0; word < n_words; ++word) hash = mix(hash ^ row[word]) + 0x9E3779B97F4A7C15ull;
    return hash;
}

CQT_DEVICE bool is_same_row(const u64* a, const u64* b, i64 n_words) {
    for (i64 word = 0; word < n_words; ++word) {
        if (a[word] != b[word]) return false;
    }
    return true;
}

// Place of a row in an open table of row numbers plus one (0 is free); -1 after `n_tries` places.
// Rows themselves are compared, in the input, which nobody writes: no key is ever half written.
CQT_DEVICE i64 find_place(const u64* shots, i64 n_words, i64 shot, u64 hash, u64* firsts, u64 mask, i64 n_tries) {
    const u64* row = shots + shot * n_words;
    for (i64 i = 0; i < n_tries; ++i) {
        const u64 place = (hash + i) & mask;
        u64 first = *reinterpret_cast<volatile u64*>(firsts + place);
        if (first == 0) first = atomicCAS(firsts + place, 0ull, static_cast<u64>(shot + 1));
        if (first == 0 || first == static_cast<u64>(shot + 1) ||
            is_same_row(shots + (first - 1) * n_words, row, n_words)) {
            return static_cast<i64>(place);
        }
    }
    return -1;
}

constexpr u32 kNearPlaces = 1024;
constexpr i64 kNearTries = 4;
constexpr i64 kFarTries = 256;

// Adds a count to the table of all blocks; raises `is_full` where it has no place.
CQT_DEVICE void count_far(const u64* shots, i64 n_words, i64 shot, u64 hash, u64 count, u64* firsts, i64* counts, u64 mask, u32* is_full) {
    const i64 place = find_place(shots, n_words, shot, hash, firsts, mask, kFarTries);
    if (place < 0) {
        atomicOr(is_full, 1u);
    } else {
        add_to(counts + place, count);
    }
}

// Histogram of rows of any width: firsts u64[mask + 1] and counts i64[mask + 1], zero before.
//
// Each block counts the rows that it meets often in a small table of its own; without it, the
// few strings that most shots show would be added to a few addresses by every thread at once.
CQT_KERNEL(256, 4) histogram(const u64* shots, i64 n_shots, i64 n_words, i64 mask, u64* firsts, i64* counts, u32* is_full) {
    __shared__ u64 near_firsts[kNearPlaces];
    __shared__ u32 near_counts[kNearPlaces];
    for (u32 i = threadIdx.x; i < kNearPlaces; i += blockDim.x) {
        near_firsts[i] = 0;
        near_counts[i] = 0;
    }
    __syncthreads();
    // Whole warps stay together for the vote; a step behind the end takes part without counting.
    const i64 n_steps = quotient(n_shots + thread_count() - 1, thread_count());
    for (i64 step = 0; step < n_steps; ++step) {
        const i64 shot = thread_index() + step * thread_count();
        const bool is_shot = shot < n_shots;
        u64 hash = 0;
        i64 place = -1;
        if (is_shot) {
            hash = hash_row(shots + shot * n_words, n_words);
            place = find_place(shots, n_words, shot, hash >> 32, near_firsts, kNearPlaces - 1, kNearTries);
        }
        int is_one_place = 0;
        __match_all_sync(kAllLanes, static_cast<u32>(is_shot ? place : -1), &is_one_place);
        if (is_one_place && is_shot && place >= 0) {
            if (lane_id() == 0) atomicAdd(near_counts + place, kWarp);
        } else if (place >= 0) {
            atomicAdd(near_counts + place, 1u);
        } else if (is_shot) {
            count_far(shots, n_words, shot, hash, 1, firsts, counts, static_cast<u64>(mask), is_full);
        }
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < kNearPlaces; i += blockDim.x) {
        if (near_counts[i] == 0) continue;
        const i64 shot = static_cast<i64>(near_firsts[i]) - 1;
        const u64 hash = hash_row(shots + shot * n_words, n_words);
        count_far(shots, n_words, shot, hash, near_counts[i], firsts, counts, static_cast<u64>(mask), is_full);
    }
}
