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

// Words of a row that a thread holds; longer rows are read again.
constexpr int kHeld = 4;

struct Row {
    const u64* words;
    u64 held[kHeld];
};

CQT_DEVICE Row row_at(const u64* words, i64 n_words) {
    Row row{words, {}};
    if (n_words == kHeld && reinterpret_cast<u64>(words) % sizeof(ulonglong2) == 0) {
        const ulonglong2 a = __ldg(reinterpret_cast<const ulonglong2*>(words));
        const ulonglong2 b = __ldg(reinterpret_cast<const ulonglong2*>(words) + 1);
        row.held[0] = a.x, row.held[1] = a.y, row.held[2] = b.x, row.held[3] = b.y;
        return row;
    }
#pragma unroll
    for (int k = 0; k < kHeld; ++k) row.held[k] = k < n_words ? __ldg(words + k) : 0;
    return row;
}

// The upper half goes to the lower one before every product, which carries upwards alone.
CQT_DEVICE u64 hash_step(u64 hash, u64 word) {
    return (hash ^ hash >> 32 ^ word) * 0x9E3779B97F4A7C15ull;
}

CQT_DEVICE u64 hash_of(const Row& row, i64 n_words) {
    u64 hash = 0x9E3779B97F4A7C15ull;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
        if (k < n_words) hash = hash_step(hash, row.held[k]);
    }
    for (i64 k = kHeld; k < n_words; ++k) hash = hash_step(hash, row.words[k]);
    return mix(hash);
}

CQT_DEVICE bool is_same_row(const Row& row, const u64* words, i64 n_words) {
    const Row other = row_at(words, n_words);
    u64 difference = 0;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) difference |= row.held[k] ^ other.held[k];
    for (i64 k = kHeld; k < n_words && difference == 0; ++k) difference = row.words[k] ^ words[k];
    return difference == 0;
}

// A place of an open table: 0 while free, then 24 bits of the hash over the row's number plus one.
// Rows are compared in the input, which nobody writes: no key is ever half written. The bits of the
// hash spare the comparison with nearly all other rows, each a trip to memory.
constexpr u32 kNumberBits = 40;
constexpr u64 kNumberMask = (1ull << kNumberBits) - 1;

CQT_DEVICE i64 find_place(const u64* shots, i64 n_words, i64 shot, const Row& row, u64 hash, u64* table, u64 first, u64 n_places, i64 n_tries) {
    const u64 mine = (hash & ~kNumberMask) | static_cast<u64>(shot + 1);
    u64 place = first;
    for (i64 i = 0; i < n_tries; ++i) {
        u64 found = *reinterpret_cast<volatile u64*>(table + place);
        if (found == 0) found = atomicCAS(table + place, 0ull, mine);
        if (found == 0 || found == mine) return static_cast<i64>(place);
        if ((found ^ mine) >> kNumberBits == 0 &&
            is_same_row(row, shots + static_cast<i64>((found & kNumberMask) - 1) * n_words, n_words)) {
            return static_cast<i64>(place);
        }
        place = place + 1 == n_places ? 0 : place + 1;
    }
    return -1;
}

constexpr u32 kNearPlaces = 6144;
constexpr i64 kNearTries = 8;
constexpr i64 kFarTries = 256;

// Adds a count to the table of all blocks; raises `is_full` where it has no place.
CQT_DEVICE void count_far(const u64* shots, i64 n_words, i64 shot, const Row& row, u64 hash, u64 count, u64* table, i64* counts, u64 mask, u32* is_full) {
    const i64 place = find_place(shots, n_words, shot, row, hash, table, hash & mask, mask + 1, kFarTries);
    if (place < 0) {
        atomicOr(is_full, 1u);
    } else {
        add_to(counts + place, count);
    }
}

// Histogram of rows of any width: table u64[mask + 1] and counts i64[mask + 1], zero before.
//
// Each block counts the first some thousand different rows that it meets in a table of its own;
// without it, the strings that most shots show would be added to a few addresses by every thread.
CQT_KERNEL(256, 3) histogram(const u64* shots, i64 n_shots, i64 n_words, i64 mask, u64* table, i64* counts, u32* is_full) {
    CQT_DYNAMIC_SHARED(u64, near_table);
    u32* near_counts = reinterpret_cast<u32*>(near_table + kNearPlaces);
    for (u32 i = threadIdx.x; i < kNearPlaces; i += blockDim.x) {
        near_table[i] = 0;
        near_counts[i] = 0;
    }
    __syncthreads();
    i64 shot = thread_index();
    Row next = row_at(shots + smaller(shot, n_shots - 1) * n_words, n_words);
    for (; shot < n_shots; shot += thread_count()) {
        const Row row = next;
        next = row_at(shots + smaller(shot + thread_count(), n_shots - 1) * n_words, n_words);
        const u64 hash = hash_of(row, n_words);
        const u64 first = (hash & 0xFFFFFFFFu) * kNearPlaces >> 32;
        const i64 place = find_place(shots, n_words, shot, row, hash, near_table, first, kNearPlaces, kNearTries);
        if (place >= 0) {
            atomicAdd(near_counts + place, 1u);
        } else {
            count_far(shots, n_words, shot, row, hash, 1, table, counts, static_cast<u64>(mask), is_full);
        }
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < kNearPlaces; i += blockDim.x) {
        if (near_counts[i] == 0) continue;
        const i64 shot = static_cast<i64>(near_table[i] & kNumberMask) - 1;
        const Row row = row_at(shots + shot * n_words, n_words);
        count_far(shots, n_words, shot, row, hash_of(row, n_words), near_counts[i], table, counts, static_cast<u64>(mask), is_full);
    }
}

// Histogram of rows of few bits, added to counts i64[2^n_bits]: the row is its own place.
CQT_KERNEL(256, 4) histogram_direct(const u64* shots, i64 n_shots, i64 n_bits, i64* counts) {
    CQT_DYNAMIC_SHARED(u32, near_counts);
    const u32 n_places = 1u << n_bits;
    for (u32 i = threadIdx.x; i < n_places; i += blockDim.x) near_counts[i] = 0;
    __syncthreads();
    i64 shot = thread_index();
    for (; shot + 7 * thread_count() < n_shots; shot += 8 * thread_count()) {
        u32 places[8];
#pragma unroll
        for (int k = 0; k < 8; ++k) places[k] = static_cast<u32>(__ldcs(shots + shot + k * thread_count()));
#pragma unroll
        for (int k = 0; k < 8; ++k) atomicAdd(near_counts + (places[k] & (n_places - 1)), 1u);
    }
    for (; shot < n_shots; shot += thread_count()) {
        atomicAdd(near_counts + (static_cast<u32>(shots[shot]) & (n_places - 1)), 1u);
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < n_places; i += blockDim.x) {
        if (near_counts[i] != 0) add_to(counts + i, near_counts[i]);
    }
}
