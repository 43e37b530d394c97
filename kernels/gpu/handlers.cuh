// Functions that a persistent dispatcher calls, by all threads of a block together.
//
// A request lies in shared memory at an address of 8 modulo 16, an answer is built there. All
// threads return the same outcome: it depends on values alone that all of them see.
#ifndef CUDAQ_TARGET_HANDLERS_CUH
#define CUDAQ_TARGET_HANDLERS_CUH

#include "bits.cuh"

// Statuses of an answer; `coupler/FORMAT.md`.
constexpr i32 kOk = 0;
constexpr i32 kBadRequest = 2;
constexpr i32 kInternalError = 3;
constexpr i32 kUnknownFunction = -1;
constexpr i32 kBadLength = -2;
constexpr i32 kBadFrame = -3;
constexpr i32 kCancelled = -5;

enum Kind : u32 { kIncrement = 1, kEcho, kOccupation, kLookUp, kParities, kIsingMean };

// A row of the function table, 48 bytes; `kernels/persistent_functions.py` writes it.
struct Function {
    u32 id;
    u32 kind;
    u32 min_arg_bytes;
    u32 max_arg_bytes;
    u64 table;    // device memory: corrections, masks, or the model's numbers
    u64 indices;  // device memory: pairs of qubits
    u32 n_bits;   // of a syndrome, or qubits of a batch
    u32 n_rows;   // bytes of a correction, checks, or pairs
    u32 reserved[2];
};

struct Request {
    const u8* arguments;
    u32 arg_len;
    u8* result;
    u32 max_result_len;
};

struct Outcome {
    i32 status;
    u32 result_len;
};

struct Batch {
    u64 session;
    u64 first_shot_id;
    u32 n_shots;
    u32 n_qubits;
};
static_assert(sizeof(Function) == 48 && sizeof(Batch) == 24, "layouts of the host");

CQT_DEVICE const u64* rows_of(const Request& request) {
    return reinterpret_cast<const u64*>(request.arguments + sizeof(Batch));
}

// Whether the arguments are a whole batch with this header; as `is_whole` of handlers.hpp.
CQT_DEVICE bool is_whole(const Batch& batch, u32 arg_len) {
    if (batch.n_shots == 0) return arg_len == sizeof(Batch);
    const u64 row_bytes = (static_cast<u64>(batch.n_qubits) + 63) / 64 * 8;
    return batch.n_qubits > 0 && row_bytes <= arg_len && batch.n_shots <= arg_len &&
           arg_len == sizeof(Batch) + batch.n_shots * row_bytes;
}

CQT_DEVICE Outcome add_to_bytes(const Request& request, u32 summand) {
    if (request.arg_len > request.max_result_len) return {kBadRequest, 0};
    for (u32 i = threadIdx.x; i < request.arg_len; i += blockDim.x) {
        request.result[i] = static_cast<u8>(request.arguments[i] + summand);
    }
    return {kOk, request.arg_len};
}

// Counts of ones per qubit, u32[n_qubits]: a warp transposes 32 shots of 64 qubits at a time.
CQT_DEVICE Outcome occupation(const Request& request) {
    const Batch batch = *reinterpret_cast<const Batch*>(request.arguments);
    const u64 n_bytes = static_cast<u64>(batch.n_qubits) * 4;
    if (!is_whole(batch, request.arg_len) || n_bytes > request.max_result_len) {
        return {kBadRequest, 0};
    }
    u32* counts = reinterpret_cast<u32*>(request.result);
    for (u32 i = threadIdx.x; i < batch.n_qubits; i += blockDim.x) counts[i] = 0;
    __syncthreads();
    const u64* rows = rows_of(request);
    const u32 n_words = (batch.n_qubits + 63) / 64, n_groups = (batch.n_shots + kWarp - 1) / kWarp;
    const u32 lane = lane_id();
    for (u32 i = threadIdx.x / kWarp; i < n_words * n_groups; i += blockDim.x / kWarp) {
        const u32 word = i % n_words, shot = i / n_words * kWarp + lane;
        const u64 row = shot < batch.n_shots ? rows[static_cast<u64>(shot) * n_words + word] : 0;
        const u32 qubit = word * 64 + lane;
        const u32 low = __popc(transpose32(static_cast<u32>(row), lane));
        const u32 high = __popc(transpose32(static_cast<u32>(row >> 32), lane));
        if (qubit < batch.n_qubits) atomicAdd(counts + qubit, low);
        if (qubit + kWarp < batch.n_qubits) atomicAdd(counts + qubit + kWarp, high);
    }
    return {kOk, static_cast<u32>(n_bytes)};
}

// Corrections of packed syndromes, one or many, from a table u8[2^n_bits, n_rows].
CQT_DEVICE Outcome look_up(const Function& function, const Request& request) {
    const u32 row_bytes = (function.n_bits + 7) / 8;
    const u32 n_syndromes = request.arg_len / row_bytes;
    if (request.arg_len % row_bytes != 0 ||
        static_cast<u64>(n_syndromes) * function.n_rows > request.max_result_len) {
        return {kBadRequest, 0};
    }
    const u8* table = reinterpret_cast<const u8*>(function.table);
    bool is_bad = false;
    for (u32 i = threadIdx.x; i < n_syndromes; i += blockDim.x) {
        u32 syndrome = 0;
        for (u32 k = 0; k < row_bytes; ++k) {
            syndrome |= static_cast<u32>(request.arguments[i * row_bytes + k]) << 8 * k;
        }
        if (syndrome >> function.n_bits != 0) {
            is_bad = true;
            continue;
        }
        for (u32 k = 0; k < function.n_rows; ++k) {
            request.result[i * function.n_rows + k] = table[static_cast<u64>(syndrome) * function.n_rows + k];
        }
    }
    if (__syncthreads_or(is_bad)) return {kBadRequest, 0};
    return {kOk, n_syndromes * function.n_rows};
}

// Whether the shots of a batch have the qubits that the function was made for.
CQT_DEVICE bool is_batch_for(const Function& function, const Batch& batch, u32 arg_len) {
    return batch.n_shots > 0 && batch.n_qubits == function.n_bits && is_whole(batch, arg_len);
}

// Parities of a batch under masks u64[n_rows, n_words]: packed rows u64[n_shots, ceil(n_rows / 64)].
CQT_DEVICE Outcome parities(const Function& function, const Request& request) {
    const Batch batch = *reinterpret_cast<const Batch*>(request.arguments);
    const u32 n_words = (function.n_bits + 63) / 64, n_out = (function.n_rows + 63) / 64;
    const u64 n_bytes = static_cast<u64>(batch.n_shots) * n_out * 8;
    if (!is_batch_for(function, batch, request.arg_len) || n_bytes > request.max_result_len) {
        return {kBadRequest, 0};
    }
    const u64* rows = rows_of(request);
    const u64* masks = reinterpret_cast<const u64*>(function.table);
    u32* halves = reinterpret_cast<u32*>(request.result);
    const u32 n_halves = batch.n_shots * n_out * 2;
    for (u32 i = threadIdx.x / kWarp; i < n_halves; i += blockDim.x / kWarp) {
        const u32 shot = i / (2 * n_out), check = (i - shot * 2 * n_out) * kWarp + lane_id();
        u64 word = 0;
        for (u32 k = 0; check < function.n_rows && k < n_words; ++k) {
            word ^= rows[shot * n_words + k] & masks[check * n_words + k];
        }
        const u32 odd = __ballot_sync(kAllLanes, (__popcll(word) & 1) != 0);
        if (lane_id() == 0) halves[i] = odd;
    }
    return {kOk, static_cast<u32>(n_bytes)};
}

CQT_DEVICE u32 bit_of(const u64* row, u32 qubit) {
    return static_cast<u32>(row[qubit / 64] >> qubit % 64) & 1u;
}

// Mean of an Ising energy over a batch, f64: constant + sum of fields z_i + sum of weights z_i z_j
// with z = 1 - 2 bit. `table` holds constant, fields[n_bits], weights[n_rows]; `indices` the pairs.
// Unequal pairs are counted exactly; the terms are added in an order that depends on sizes alone.
CQT_DEVICE Outcome ising_mean(const Function& function, const Request& request, double* sums) {
    const Batch batch = *reinterpret_cast<const Batch*>(request.arguments);
    if (!is_batch_for(function, batch, request.arg_len) || request.max_result_len < sizeof(double)) {
        return {kBadRequest, 0};
    }
    const u64* rows = rows_of(request);
    const u32 n_words = (function.n_bits + 63) / 64;
    const double* numbers = reinterpret_cast<const double*>(function.table);
    const u32* pairs = reinterpret_cast<const u32*>(function.indices);
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < function.n_bits + function.n_rows; i += blockDim.x) {
        const bool is_field = i < function.n_bits;
        const u32 a = is_field ? i : pairs[2 * (i - function.n_bits)];
        const u32 b = is_field ? i : pairs[2 * (i - function.n_bits) + 1];
        u32 n_odd = 0;
        for (u32 shot = 0; shot < batch.n_shots; ++shot) {
            const u64* row = rows + shot * n_words;
            n_odd += bit_of(row, a) ^ (is_field ? 0 : bit_of(row, b));
        }
        const double mean = 1.0 - 2.0 * static_cast<double>(n_odd) / static_cast<double>(batch.n_shots);
        sum = __dadd_rn(sum, __dmul_rn(numbers[1 + i], mean));  // never fused, as on the host
    }
    sums[threadIdx.x] = sum;
    for (u32 width = blockDim.x / 2; width > 0; width /= 2) {
        __syncthreads();
        if (threadIdx.x < width) sums[threadIdx.x] += sums[threadIdx.x + width];
    }
    if (threadIdx.x == 0) *reinterpret_cast<double*>(request.result) = numbers[0] + sums[0];
    return {kOk, sizeof(double)};
}

CQT_DEVICE Outcome call(const Function& function, const Request& request, double* scratch) {
    switch (function.kind) {
        case kIncrement: return add_to_bytes(request, 1);
        case kEcho: return add_to_bytes(request, 0);
        case kOccupation: return occupation(request);
        case kLookUp: return look_up(function, request);
        case kParities: return parities(function, request);
        case kIsingMean: return ising_mean(function, request, scratch);
        default: return {kInternalError, 0};
    }
}

#endif
